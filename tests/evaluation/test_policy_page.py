import dataclasses
import math
import re

import numpy as np

from jaxrec.evaluation.people import Person, Shown
from jaxrec.evaluation.pictures import behaviour_picture, learning_picture
from jaxrec.evaluation.policy_page import PageInputs, lead, policy_page
from jaxrec.evaluation.report import simulated_section
from jaxrec.evaluation.simulate import Simulated
from jaxrec.evaluation.verdict import verdict
from jaxrec.types import EnvSpec, SlateAction
from tests.evaluation.test_page import Page

SPEC = EnvSpec(
    name="logged", action=SlateAction(size=1), num_items=3, feedback=("liked", "sold"), reward_weights=(1.0, 0.0)
)
EVIL = "<script>alert(1)</script> & 'more'"
RETURNS = {"policy": [4.0, 6.0, 8.0], "most_popular": [3.0, 4.0, 5.5], "random": [5.0, 5.0, 9.0]}
MEASURED = {
    "return_95": 0.5,
    "per_item": 0.1,
    "length": 2.0,
    "coverage": 0.5,
    "diversity": math.nan,
    "novelty": 1.0,
}


def outcome(returns: list[float], known: int) -> Simulated:
    values = np.array(returns)
    sizes = {"known": np.array([0, 1, known]), "shown": None, "slate_size": 1, "num_recommendable": 3}
    measured = {"return": float(values.mean())} | MEASURED
    return Simulated(returns=values, lengths=np.full(3, 2), rewards=values[:2], measured=measured, **sizes)


def inputs(*, log: bool = True, use: bool | None = True) -> PageInputs:
    results = {name: outcome(values, 2 if log else 0) for name, values in RETURNS.items()}
    simulators = {name: simulated_section(results) for name in (("train", "judge") if log else ("train",))}
    if not log:
        simulators["train"]["by_known_rows"] = {}
    account: dict = {"step": 20, "users": 3, "seed": 7, "simulators": simulators}
    if log:
        row = {f"{kind}@{k}": 0.25 for kind in ("hit_rate", "ndcg") for k in (5, 10)} | {"users": 7.0}
        liked = {"policy": row, "most_popular": row | {"ndcg@10": 0.5}}
        account |= {"target": "liked", "held_out": dict.fromkeys(liked, row), "held_out_liked": liked, "lift_kept": 0.9}
        account |= {"held_out_minus": {"most_popular": (-0.25, 0.125)}}
        leads = {"most_popular": (0.25, 0.125)}
        answers = {"users": 2, "rows": 9, "auc": {"policy": 0.75, "most_popular": 0.5}, "policy_minus": leads}
        account |= {"answers": answers}
        account |= {"held_out_feedback": {EVIL: {"bias": {"mae": 0.1, "rmse": 0.2}}}}
    account["verdict"] = verdict(account) | ({} if use is None and not log else {"use": use})
    person = Person(3, (EVIL, "Second"), 9, (Shown(EVIL, 0.875, "Near <b>", 0.5), Shown("X", 0.5, "", 0.0)), 0.25, 0.75)
    return PageInputs(
        title="run <i>",
        account=account,
        titles={name: f"{name}: users <u>" for name in simulators},
        held_out_title="held-out log (leave_one_out)",
        cutoffs=(5, 10),
        behaviour=behaviour_picture(dict.fromkeys(simulators, results)),
        metrics=[{"step": 1, "episode_return": None, "loss": 2.0}, {"step": 2, "episode_return": 1.0, "loss": 1.0}],
        people=(person,) if log else (),
        people_of="judge" if log else "",
        spec=SPEC,
        links={"the recipe": "config.yaml"},
        recipe=f"title: {EVIL}\n",
        facts=["Seed 7.", "jaxrec <1>"],
    )


def read(given: PageInputs) -> tuple[Page, str]:
    text = policy_page(given)
    seen = Page()
    seen.feed(text)
    assert not seen.open
    return seen, text


def test_the_verdict_comes_first_and_every_table_has_a_caption() -> None:
    seen, _ = read(inputs())
    assert seen.text.index("Verdict: use it") < seen.text.index("Better than") < seen.text.index("policy's lead")
    assert seen.tags.index("section") < seen.tags.index("table") < seen.tags.index("svg")
    assert seen.tags.count("table") == seen.tags.count("caption") == 10
    assert seen.tags.count("svg") == 2 == [name for name, _ in seen.attributes].count("aria-label") - 10 - 2
    assert seen.tags.count("h1") == 1 and "Evaluation of run <i>" in seen.text


def test_figures_are_those_of_the_account() -> None:
    seen, _ = read(inputs())
    text = " ".join(seen.text.split())
    assert text.index("judge: users <u>") < text.index("train: users <u>")  # the one that decides comes first
    # Leads over most popular: 1, 2, 2.5 -> 1.83, half width 1.96 x .7638 / sqrt(3); its other measures from above.
    assert "most_popular4.167±0.5000.10002.050.0%-1.00+1.83 ±0.86" in text
    # Over random: -1, 1, -1 -> -.33, half width 1.96 x 1.1547 / sqrt(3); it is no rival, so nothing is said.
    assert "random6.333±0.5000.10002.050.0%-1.00-0.33 ±1.31policy6.000" in text
    assert "0-4 rows (3 users)" in text and "6.00 ±2.26" in text  # 1.96 x 2 / sqrt(3)
    assert "confirms 90% of the policy's lift" in text
    assert "most_popular0.25000.25000.25000.5000-0.2500 ±0.1250, worse" in text
    assert "bias0.1000.200" in text and "Held-out log (leave_one_out). This" in text


def test_people_are_shown_with_titles_and_without_ids() -> None:
    text = " ".join(read(inputs())[0].text.split())
    assert "Person 1: 3 known rows, 9 liked" in text
    assert f"Latest liked: {EVIL}; Second; and 7 earlier. Chance of 'liked', mean over the slate: 69%;" in text
    assert "random slate: 25%; best slate: 75%." in text
    assert f"{EVIL}88%Near <b> (0.50)" in text and "X50%nothing liked yet" in text


def test_texts_from_data_are_escaped_and_nothing_is_loaded() -> None:
    seen, text = read(inputs())
    assert not {"script", "link", "img", "iframe", "object", "b", "i", "u"} & set(seen.tags)
    assert f"title: {EVIL}" in seen.text and "Errors of predicted '" + EVIL in seen.text
    loads = [value for name, value in seen.attributes if name in ("src", "href", "xlink:href") and value]
    assert {value for value in loads if not value.startswith("#")} == {"config.yaml"}
    assert {value[1:] for value in loads if value.startswith("#")} <= {v for n, v in seen.attributes if n == "id"}
    assert all(value.startswith("#") for value in re.findall(r"url\(([^)]*)\)", text))
    assert "@import" not in text and "jaxrec <1>" in seen.text


def test_without_a_log_only_what_applies_is_shown() -> None:
    seen, text = read(inputs(log=False, use=None))
    assert "Verdict: undecided" in seen.text and 'class="verdict wait"' in text
    assert seen.tags.count("table") == 1 and seen.tags.count("svg") == 2
    for absent in ("Held-out", "five people", "known of a user", "confirms", "Better than"):
        assert absent not in seen.text
    assert 'class="verdict not"' in policy_page(inputs(use=False))
    assert "Verdict: do not use it" in policy_page(inputs(use=False))


def test_a_lead_says_where_a_rival_is_not_beaten() -> None:
    leads = {"content": (1.0, 0.5), "als": (0.5, 1.0), "item_knn": (-2.0, 0.5), "greedy_response": (-2.0, 0.5)}
    said = [lead(name, leads, 1) for name in (*leads, "policy")]
    assert said == ["+1.0 ±0.5", "+0.5 ±1.0, no different", "-2.0 ±0.5, worse", "-2.0 ±0.5", "-"]


def test_rewards_that_are_no_probability_are_plain_numbers() -> None:
    spec = dataclasses.replace(SPEC, reward_weights=(1.0, 0.5))
    text = policy_page(dataclasses.replace(inputs(), spec=spec))
    assert "expected reward" in text and "0.88" in text and "88%" not in text


def test_learning_curves_omit_what_was_not_measured() -> None:
    rows = [{"step": n, "episode_return": float(n), "loss": 1.0} for n in range(1, 2001)]
    whole = learning_picture(rows)
    assert len(whole) < 30_000 and "return per user" in whole and ">loss<" in whole
    assert ">loss<" not in learning_picture([{"step": 1, "episode_return": 2.0}])
    assert learning_picture([]).startswith("<svg")
