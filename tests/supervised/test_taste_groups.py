"""Item vectors made of groups of texts: where texts fall into subjects, what reads alike pleases alike."""

import dataclasses

import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.nets.tastes import all_logits, probabilities
from jaxrec.supervised import taste_strengths
from jaxrec.supervised.taste_strengths import Strengths, base_strengths, made_of
from jaxrec.supervised.tastes_fit import fit_tastes
from jaxrec.supervised.validity import validity_of_tastes
from tests.supervised.test_doubt import PER_TOPIC, SMALL, TOPICS, USERS, topics_log


def test_groups_have_fewer_chance_differences_within_a_subject(monkeypatch: pytest.MonkeyPatch) -> None:
    """Held-out rows choose groups, and P comes nearer to the truth, which is one number for each person and topic."""
    monkeypatch.setattr(taste_strengths, "SEARCHED", {})
    log, texts, truth = topics_log(0)
    chosen, errors, within = {}, {}, {}
    for groups in (0, None):
        tastes, report = fit_tastes(log, texts, dataclasses.replace(SMALL, search=True, groups=groups), 0)
        p = np.asarray(probabilities(tastes, all_logits(tastes, tastes.means))[..., 0])
        chosen[groups] = report["strengths"]["groups"], report["made_of"]
        errors[groups] = np.sqrt(np.mean((p - truth) ** 2))
        within[groups] = p.reshape(USERS, PER_TOPIC, TOPICS).std(1).mean()  # items n, n + TOPICS, ... share a topic
    assert chosen[0] == (0, "24 components of the features")
    assert chosen[None] == (8, "8 groups of the features")
    assert within[None] < 0.6 * within[0]
    assert errors[None] < 0.9 * errors[0]


def test_groups_of_the_recipe_are_taken_and_too_many_are_refused() -> None:
    log, texts, _ = topics_log(1)
    few = dataclasses.replace(SMALL, steps=2, rounds=0, groups=6)
    _, report = fit_tastes(log, texts, few, 0)
    assert report["strengths"] == base_strengths(few)._asdict()
    assert (report["strengths"]["groups"], report["strengths"]["components"]) == (6, False)
    with pytest.raises(InputError, match=r"groups: 90 groups are too many for 180 items .* make at most 45; lower"):
        fit_tastes(log, texts, dataclasses.replace(few, groups=90), 0)
    with pytest.raises(InputError, match=r"tastes\.groups: 6 groups are too many .* at most 0"):
        fit_tastes(log, None, few, 0)


def test_the_fit_without_texts_has_no_groups_of_them() -> None:
    log, texts, _ = topics_log(1)
    few = dataclasses.replace(SMALL, steps=2, rounds=0, groups=6)
    report = validity_of_tastes(log, texts, few, 0, compare_text=True).report
    assert report["fit"]["made_of"] == "6 groups of the features"
    assert "auc_without_text" in report["rare_items"]


@pytest.mark.parametrize(
    ("groups", "components", "given", "words"),
    [
        (0, True, 64, "64 components of the features"),
        (8, False, 64, "8 groups of the features"),
        (8, True, 64, "8 groups and 64 components of the features"),
        (0, True, 0, "the log alone"),
    ],
)
def test_what_vectors_are_made_of_in_words(groups: int, components: bool, given: int, words: str) -> None:
    strengths = Strengths(1.0, 1.0, 1.0, 1.0, 1.0, groups=groups, components=components)
    assert made_of(strengths, given) == words
