"""The verdict of an evaluation: whether to use the policy, in words that follow from paired intervals.

A rival is any recommender that a person could use instead: a baseline, the best fixed ranking, the supervised start,
an earlier policy. Oracles and random slates are none.
"""

import textwrap
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxrec.evaluation.report import GREEDY, POLICY

NO_RIVALS = (
    POLICY,
    GREEDY,
    "random",
    "greedy_matrix",
    "greedy_staying",
    "bias",
)  # bias predicts, and ranks as one list
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
    simulators = account["simulators"]
    asked = {
        "held_out": compare("next liked items of the log (NDCG@10)", account.get("held_out_minus", {})),
        "judge": compare("likes from users it was not trained on (second simulator)", _leads(simulators, "judge")),
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
    return simulators[name]["policy_minus"] if name in simulators else {}


def _conclusion(questions: Mapping[str, Question], kept: float | None, assumed: tuple[str, ...]) -> dict[str, Any]:
    deciding = questions.get("truth") or questions.get("judge")
    if deciding is None:
        text = (
            "No second simulator and no truth judge this policy: its figures are those of the users it was trained on."
        )
        return {"use": None, "text": text}
    where = "in truth" if "truth" in questions else "with users it was not trained on"
    real = None if "truth" in questions else questions.get("answers")
    doubted = deciding.worse + deciding.equal
    if real is not None and doubted and set(doubted) <= set(real.better):
        text = (
            f"Undecided: the second simulator sees no gain over {_names(doubted)}, but the policy orders the real "
            "answers of people it was not trained on better. Tastes of simulated users are estimates and hide part of "
            "what a policy wins by knowing a person. Try it on a small share of real traffic."
        )
        return {"use": None, "text": text}
    if deciding.worse:
        return {"use": False, "text": f"Do not use this policy: {_names(deciding.worse)} earns more {where}."}
    if deciding.equal:
        text = f"Do not use this policy: it does not earn more than {_names(deciding.equal)} {where}."
        return {"use": False, "text": text}
    ranked = questions.get("held_out")
    if "truth" not in questions and assumed and ranked is not None and (rivals := ranked.worse or ranked.equal):
        text = (
            f"Do not use this policy yet: it does not predict the next row of the log better than {_names(rivals)}, "
            f"and a log in which '{_names(assumed)}' never differs confirms such ranks alone."
        )
        return {"use": False, "text": text}
    if real is not None and real.worse:
        text = (
            f"Do not use this policy: {_names(real.worse)} orders the real answers of people it was not trained on "
            "better."
        )
        return {"use": False, "text": text}
    small = "truth" not in questions and kept is not None and kept < KEPT
    share = "" if kept is None else f"The second simulator confirms only {kept:.0%} of its lift over most popular"
    if small and (real is None or real.equal):
        text = f"Do not use this policy yet. {share}, so part of it is an artefact of the first."
        return {"use": False, "text": text}
    text = f"This policy earns more than every rival {where} ({deciding.lead:+.2f} ±{deciding.half_width:.2f} over "
    text += f"{deciding.closest}, the closest)."
    if small:
        text += f" It also orders real answers better than every rival. {share}: expect less than the first one says."
    if ranked is not None and (ranked.worse or ranked.equal):
        text += (
            f" It does not predict the next liked row of the log better than {_names(ranked.worse + ranked.equal)}: "
            "use it to recommend, not to predict."
        )
    return {"use": True, "text": text}


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
