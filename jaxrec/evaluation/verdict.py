"""The verdict of an evaluation: whether to use the policy, in words that follow from paired intervals.

A rival is any recommender that a person could use instead: a baseline, the best fixed ranking, the supervised start,
an earlier policy. Oracles and random slates are none. Nor is what the fitted tastes alone expect (`posterior_mean`),
from which a policy may start; the text says where learning added nothing to it.
"""

import textwrap
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxrec.evaluation.report import GREEDY, POLICY, POSTERIOR, TRUE_TASTES, leads_of

# Oracles, what the fitted and the true tastes expect, and random slates.
NO_RIVALS = (POLICY, GREEDY, POSTERIOR, TRUE_TASTES, "random", "greedy_matrix", "greedy_staying")
WIDTH = 120  # of printed lines, as of the tables
KEPT = 0.85  # share of the lift over most popular that the second simulator has to confirm

Leads = Mapping[str, tuple[float, float]]  # mean lead of the policy over a rival, and half its 95% interval


class Question(NamedTuple):
    """One comparison of the policy with its rivals."""

    about: str  # where they are compared
    better: tuple[str, ...]  # rivals that the policy beats: the whole interval is above 0
    equal: tuple[str, ...]  # the interval holds 0
    worse: tuple[str, ...]  # rivals that beat the policy
    closest: str  # the rival over which the lead is smallest
    lead: float
    half_width: float


def compare(about: str, leads: Leads) -> Question | None:
    """Sort rivals by what the intervals say; None without rivals."""
    rivals = {name: lead for name, lead in leads.items() if name not in NO_RIVALS}
    if not rivals:
        return None
    better = tuple(name for name, (mean, half) in rivals.items() if mean > half)
    worse = tuple(name for name, (mean, half) in rivals.items() if mean < -half)
    equal = tuple(name for name in rivals if name not in better and name not in worse)
    closest = min(rivals, key=lambda name: rivals[name][0])
    return Question(about, better, equal, worse, closest, *rivals[closest])


def verdict(account: Mapping[str, Any]) -> dict[str, Any]:
    """The questions of an evaluation and what follows: `use` is True, False, or None if nothing independent judges.

    Where the truth is known, True needs the policy to beat every rival there. Else people decide whom nothing was
    trained on. If returns are sums of single answers, each rival has to be beaten in the order of their real answers or
    in the second simulator, and none may win in either; None follows where the two contradict each other. If they are
    not (visits end early), the second simulator decides: it also has to confirm most of the lift, unless the policy
    orders the real answers better than every rival, and no rival may order them better.

    If the level of a rewarded feedback is assumed (`account["assumed"]`), the policy also has to rank the held-out rows
    best, unless the truth is known.
    """
    simulators, liked = account["simulators"], f"'{account.get('target', 'liked')}'"
    answers = account.get("answers", {})
    asked = {
        "held_out": compare(f"next rows with {liked} in the log (NDCG@10)", account.get("held_out_minus", {})),
        "judge": compare("reward from users it was not trained on (second simulator)", _leads(simulators, "judge")),
        "answers": compare(
            "order of real answers of people it was not trained on (AUC within users)", answers.get("policy_minus", {})
        ),
        "truth": compare("reward from the people who wrote the log (truth)", _leads(simulators, "truth")),
    }
    questions = {name: question for name, question in asked.items() if question is not None}
    picks = answers.get("picks", {})
    seen = _evidence(
        questions,
        sums="corrected_minus" in simulators.get("judge", {}),
        kept=account.get("lift_kept"),
        real=(picks["lift_real"], picks["lift_real_95"]) if "lift_real" in picks else None,
        assumed=tuple(account.get("assumed", ())),
        learned=_leads(simulators, "truth" if "truth" in questions else "judge").get(POSTERIOR),
    )
    return {"questions": {name: question._asdict() for name, question in questions.items()}, **_conclusion(seen)}


def _leads(simulators: Mapping[str, Any], name: str) -> Leads:
    return leads_of(simulators[name]) if name in simulators else {}


class Evidence(NamedTuple):
    """What the rules of the verdict look at."""

    deciding: Question  # truth if it is known, else the second simulator
    known: bool  # whether the truth decides
    answers: Question | None  # order of real answers; None if the truth decides
    both: bool  # whether real answers and the second simulator decide together
    ranked: Question | None  # next successes in the log
    kept: float | None  # share of the lift over most popular that the second simulator confirms
    real: tuple[float, float] | None  # share of the promised lift that is real, and half its interval
    assumed: tuple[str, ...]  # rewarded feedback whose level is assumed; empty if the truth decides
    learned: tuple[float, float] | None = None  # lead over what the fitted tastes alone expect, half its interval

    @property
    def where(self) -> str:
        """Where the deciding question compares, as part of a sentence."""
        return "in truth" if self.known else "with users it was not trained on"

    @property
    def understated(self) -> bool:
        """Whether the second simulator, which decides alone, confirms too little of the lift."""
        return not self.known and not self.both and self.kept is not None and self.kept < KEPT

    @property
    def share(self) -> str:
        """The clause about a lift that is `understated`."""
        return f"The second simulator confirms only {self.kept:.0%} of its lift over most popular"


def _evidence(
    questions: Mapping[str, Question],
    *,
    sums: bool,
    kept: float | None,
    real: tuple[float, float] | None,
    assumed: tuple[str, ...],
    learned: tuple[float, float] | None,
) -> Evidence | None:
    """Evidence from the questions; None if nothing independent judges. `sums`: returns are sums of single answers."""
    known = "truth" in questions
    deciding = questions.get("truth") or questions.get("judge")
    if deciding is None:
        return None
    answers = None if known else questions.get("answers")
    return Evidence(
        deciding=deciding,
        known=known,
        answers=answers,
        both=sums and answers is not None,
        ranked=questions.get("held_out"),
        kept=kept,
        real=None if known else real,
        assumed=() if known else assumed,
        learned=learned,
    )


def _contradicted(seen: Evidence) -> str | None:
    if not seen.both or seen.answers is None:
        return None
    one, other = seen.answers, seen.deciding
    split = tuple(name for name in one.better if name in other.worse) + tuple(
        name for name in one.worse if name in other.better
    )
    if not split or set(one.worse + other.worse) - set(split):
        return None
    return (
        f"Undecided: real answers of people it was not trained on and the second simulator contradict each other about "
        f"{_names(split)}. Try the policy on a small share of real traffic."
    )


def _real_gain_alone(seen: Evidence) -> str | None:
    doubted = seen.deciding.worse + seen.deciding.equal
    if seen.both or seen.answers is None or not doubted or not set(doubted) <= set(seen.answers.better):
        return None
    return (
        f"Undecided: the second simulator sees no gain over {_names(doubted)}, but the policy orders the real "
        "answers of people it was not trained on better. Tastes of simulated users are estimates and hide part of "
        "what a policy wins by knowing a person. Try it on a small share of real traffic."
    )


def _earns_less(seen: Evidence) -> str | None:
    worse = seen.deciding.worse
    return f"Do not use this policy: {_names(worse)} earns more {seen.where}." if worse else None


def _earns_no_more(seen: Evidence) -> str | None:
    equal = seen.deciding.equal
    if not seen.both or seen.answers is None:
        return f"Do not use this policy: it does not earn more than {_names(equal)} {seen.where}." if equal else None
    unproved = tuple(name for name in equal if name not in seen.answers.better)
    if not unproved:
        return None
    return (
        f"Do not use this policy: neither the real answers of people it was not trained on nor the second simulator "
        f"show a gain over {_names(unproved)}."
    )


def _ranks_no_better(seen: Evidence) -> str | None:
    rivals = () if seen.ranked is None else seen.ranked.worse or seen.ranked.equal
    if not seen.assumed or not rivals:
        return None
    return (
        f"Do not use this policy yet: it does not predict the next row of the log better than {_names(rivals)}, "
        f"and a log in which '{_names(seen.assumed)}' never differs confirms such ranks alone."
    )


def _orders_worse(seen: Evidence) -> str | None:
    worse = () if seen.answers is None else seen.answers.worse
    if not worse:
        return None
    return f"Do not use this policy: {_names(worse)} orders the real answers of people it was not trained on better."


def _artefact(seen: Evidence) -> str | None:
    if not seen.understated or (seen.answers is not None and not seen.answers.equal):
        return None
    return f"Do not use this policy yet. {seen.share}, so part of it is an artefact of the first."


def _earns_more(seen: Evidence) -> str | None:
    deciding, ranked = seen.deciding, seen.ranked
    if seen.both and seen.answers is not None and deciding.equal:
        text = (
            f"This policy orders the real answers of people it was not trained on better than {_names(deciding.equal)} "
            f"({seen.answers.lead:+.3f} ±{seen.answers.half_width:.3f} AUC over {seen.answers.closest}, the closest)"
        )
        also = f" and earns more than {_names(deciding.better)} in the second simulator" if deciding.better else ""
        text += f"{also}. No rival wins in either."
    else:
        text = f"This policy earns more than every rival {seen.where} ({deciding.lead:+.2f} "
        text += f"±{deciding.half_width:.2f} over {deciding.closest}, the closest)."
    if seen.understated:
        text += f" It also orders real answers better than every rival. {seen.share}: expect less than the first says."
    if seen.real is not None:
        share, half_width = seen.real
        text += f" {share:.0%} ±{half_width:.0%} of the lift over random picks that its own simulator promises is real."
    if seen.learned is not None and (gain := seen.learned)[0] <= gain[1]:
        than = "as much" if gain[0] >= -gain[1] else "more"
        text += (
            f" What the fitted tastes alone expect of a person ({POSTERIOR}) earns {than} {seen.where} (the policy "
            f"{gain[0]:+.2f} ±{gain[1]:.2f}): learning added nothing to it."
        )
    if ranked is not None and (rivals := ranked.worse + ranked.equal):
        text += (
            f" It does not predict the next success in the log better than {_names(rivals)}: use it to recommend, "
            "not to predict."
        )
    return text


# The first rule that says something decides; the last one always does.
RULES: tuple[tuple[bool | None, Callable[[Evidence], str | None]], ...] = (
    (None, _contradicted),
    (None, _real_gain_alone),
    (False, _earns_less),
    (False, _orders_worse),
    (False, _earns_no_more),
    (False, _ranks_no_better),
    (False, _artefact),
    (True, _earns_more),
)


def _conclusion(seen: Evidence | None) -> dict[str, Any]:
    if seen is None:
        text = (
            "No second simulator and no truth judge this policy: its figures are those of the users it was trained on."
        )
        return {"use": None, "text": text}
    return next({"use": use, "text": text} for use, rule in RULES if (text := rule(seen)) is not None)


def verdict_lines(account: Mapping[str, Any]) -> list[str]:
    """The verdict as lines for the terminal."""
    lines = ["Verdict"]
    for question in account["questions"].values():
        parts = [
            f"{what} {_names(question[key])}"
            for key, what in (("better", "better than"), ("equal", "no different from"), ("worse", "worse than"))
            if question[key]
        ]
        lead = f"closest: {question['closest']} {question['lead']:+.4g} ±{question['half_width']:.2g}"
        lines += _wrapped(f"{question['about']}: {'; '.join(parts)} ({lead})")
    return [*lines, *_wrapped(account["text"])]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ")


def _names(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
