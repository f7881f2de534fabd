"""The verdict of an evaluation: whether to use the policy, in words that follow from paired intervals.

A rival is any recommender that a person could use instead: a baseline, the best fixed ranking, the supervised start,
an earlier policy. Oracles and random slates are none.
"""

import textwrap
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxrec.evaluation.report import GREEDY, POLICY, POSTERIOR, leads_of

# Oracles, what the fitted tastes expect, random slates, and `bias`, which predicts answers and ranks as one list.
NO_RIVALS = (POLICY, GREEDY, POSTERIOR, "random", "greedy_matrix", "greedy_staying", "bias")
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

    True needs the policy to beat every rival where the answer counts most: in truth if it is known, else in the second
    simulator. That also has to confirm most of the lift, unless the policy orders people's real answers better than
    every rival. No rival may order them better. None also follows where they show a gain that the simulator does not.
    If the level of a rewarded feedback is assumed (`account["assumed"]`), the policy also has to rank the held-out rows
    best, unless the truth is known.
    """
    simulators, liked = account["simulators"], f"'{account.get('target', 'liked')}'"
    asked = {
        "held_out": compare(f"next rows with {liked} in the log (NDCG@10)", account.get("held_out_minus", {})),
        "judge": compare("reward from users it was not trained on (second simulator)", _leads(simulators, "judge")),
        "answers": compare(
            "order of real answers of people it was not trained on (AUC within users)",
            account.get("answers", {}).get("policy_minus", {}),
        ),
        "truth": compare("reward from the people who wrote the log (truth)", _leads(simulators, "truth")),
    }
    questions = {name: question for name, question in asked.items() if question is not None}
    kept = account.get("lift_kept")
    return {
        "questions": {name: question._asdict() for name, question in questions.items()},
        **_conclusion(questions, kept, tuple(account.get("assumed", ()))),
    }


def _leads(simulators: Mapping[str, Any], name: str) -> Leads:
    return leads_of(simulators[name]) if name in simulators else {}


class Evidence(NamedTuple):
    """What the rules of the verdict look at."""

    deciding: Question  # truth if it is known, else the second simulator
    known: bool  # whether the truth decides
    answers: Question | None  # order of real answers; None if the truth decides
    ranked: Question | None  # next successes in the log
    kept: float | None  # share of the lift over most popular that the second simulator confirms
    assumed: tuple[str, ...]  # rewarded feedback whose level is assumed; empty if the truth decides

    @property
    def where(self) -> str:
        """Where the deciding question compares, as part of a sentence."""
        return "in truth" if self.known else "with users it was not trained on"

    @property
    def understated(self) -> bool:
        """Whether the second simulator confirms too little of the lift."""
        return not self.known and self.kept is not None and self.kept < KEPT

    @property
    def share(self) -> str:
        """The clause about a lift that is `understated`."""
        return f"The second simulator confirms only {self.kept:.0%} of its lift over most popular"


def _real_gain_alone(seen: Evidence) -> str | None:
    doubted = seen.deciding.worse + seen.deciding.equal
    if seen.answers is None or not doubted or not set(doubted) <= set(seen.answers.better):
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
    return f"Do not use this policy: it does not earn more than {_names(equal)} {seen.where}." if equal else None


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
    text = f"This policy earns more than every rival {seen.where} ({deciding.lead:+.2f} ±{deciding.half_width:.2f} "
    text += f"over {deciding.closest}, the closest)."
    if seen.understated:
        text += f" It also orders real answers better than every rival. {seen.share}: expect less than the first says."
    if ranked is not None and (rivals := ranked.worse + ranked.equal):
        text += (
            f" It does not predict the next success in the log better than {_names(rivals)}: use it to recommend, "
            "not to predict."
        )
    return text


# The first rule that says something decides; the last one always does.
RULES: tuple[tuple[bool | None, Callable[[Evidence], str | None]], ...] = (
    (None, _real_gain_alone),
    (False, _earns_less),
    (False, _earns_no_more),
    (False, _ranks_no_better),
    (False, _orders_worse),
    (False, _artefact),
    (True, _earns_more),
)


def _conclusion(questions: Mapping[str, Question], kept: float | None, assumed: tuple[str, ...]) -> dict[str, Any]:
    known = "truth" in questions
    deciding = questions.get("truth") or questions.get("judge")
    if deciding is None:
        text = (
            "No second simulator and no truth judge this policy: its figures are those of the users it was trained on."
        )
        return {"use": None, "text": text}
    seen = Evidence(
        deciding=deciding,
        known=known,
        answers=None if known else questions.get("answers"),
        ranked=questions.get("held_out"),
        kept=kept,
        assumed=() if known else assumed,
    )
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
