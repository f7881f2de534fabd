import pytest

from jaxrec.checks import InputError
from jaxrec.config.exploration import READ_BY, unread_fields
from jaxrec.config.load import build_section, to_dict
from jaxrec.config.replay_learners import DqnConfig, SlateQConfig


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"exploration": "boltzmann", "epsilon_end": 0.1},
            "learner.epsilon_end: not read with learner.exploration=boltzmann; remove it, or set learner.exploration "
            "to epsilon_greedy.",
        ),
        (
            {"temperature_start": 2.0},
            "learner.temperature_start: not read with learner.exploration=epsilon_greedy; remove it, or set "
            "learner.exploration to boltzmann.",
        ),
        (
            {"exploration": "thompson", "bonus": "spread"},
            "learner.bonus: not read with learner.exploration=thompson; remove it, or set learner.exploration to ucb.",
        ),
        (
            {"exploration": "ucb", "heads": 4},
            "learner.heads: not read with learner.exploration=ucb and learner.bonus=counts; remove it, or set "
            "learner.exploration to thompson, or to ucb with learner.bonus=spread or both.",
        ),
    ],
)
def test_fields_that_the_exploration_does_not_read_are_refused_in_one_line(options: dict, message: str) -> None:
    with pytest.raises(InputError) as caught:
        DqnConfig(**options)
    assert str(caught.value) == message


def test_values_out_of_range_are_refused_with_the_name_of_the_field() -> None:
    for options, name in (
        ({"exploration": "boltzmann", "temperature_end": 0.0}, "temperature_end"),
        ({"exploration": "ucb", "bonus_start": -1.0}, "bonus_start"),
        ({"exploration": "thompson", "heads": 1}, "heads"),
        ({"exploration": "thompson", "head_share": 0.0}, "head_share"),
    ):
        with pytest.raises(InputError, match=rf"learner\.{name}: expected a value"):
            SlateQConfig(**options)
    with pytest.raises(InputError, match=r"exploration: expected epsilon_greedy \| boltzmann .* did you mean"):
        build_section(DqnConfig, {"exploration": "boltzman"}, "learner", "a recipe")


@pytest.mark.parametrize("way", READ_BY)
def test_a_resolved_section_with_all_defaults_is_read_again(way: str) -> None:
    config = DqnConfig(exploration=way)
    assert unread_fields(config) == []
    assert build_section(DqnConfig, to_dict(config), "learner", "a recipe") == config
