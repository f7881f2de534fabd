import dataclasses
from pathlib import Path

import pytest
import yaml

from jaxrec.checks import InputError
from jaxrec.config.data import DataConfig, FeedbackKind
from jaxrec.config.load import build_section, config_of, load_config, to_dict, to_yaml
from jaxrec.config.logged import LoggedConfig
from jaxrec.config.on_policy import PpoConfig
from jaxrec.config.policy import PolicyConfig
from jaxrec.config.recsim import InterestEvolutionConfig
from jaxrec.config.replay_learners import DqnConfig
from jaxrec.config.schema import Config, EvaluateConfig, TrainConfig

ENV = "env: {name: interest_evolution}\n"
RECIPES = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.fixture
def recipe(tmp_path: Path):
    """Write a recipe and load it."""

    def load(text: str, *overrides: str) -> Config:
        path = tmp_path / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return load_config(Config, path, overrides)

    return load


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_loads_and_survives_being_written_and_read(path: Path, tmp_path: Path) -> None:
    config = load_config(Config, path)
    (tmp_path / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
    assert load_config(Config, tmp_path / "config.yaml") == config


def test_there_are_recipes() -> None:
    assert len(RECIPES) >= 3


def test_an_empty_section_is_all_defaults(recipe) -> None:
    config = recipe(ENV + "train: {}\n")
    assert config == Config(env=InterestEvolutionConfig())
    assert config.train == TrainConfig() and config.learner == PpoConfig()


def test_scientific_notation_and_whole_numbers_fill_float_fields(recipe) -> None:
    learner = recipe(ENV + "learner: {name: ppo, learning_rate: 1e-3, gamma: 1, clip: .5, value_clip: 2}\n").learner
    assert (learner.learning_rate, learner.gamma, learner.clip, learner.value_clip) == (0.001, 1.0, 0.5, 2.0)
    assert all(isinstance(x, float) for x in (learner.learning_rate, learner.gamma, learner.value_clip))


def test_lists_become_tuples_and_mappings_keep_their_names(recipe) -> None:
    config = recipe(
        "env: {name: logged, reward: {liked: 1, seen: -0.5}}\n"
        "evaluate: {cutoffs: [1, 3]}\n"
        "learner: {policy: {hidden: [8, 4]}}\n"
        "data: {feedback: {liked: {column: rating, at_least: 4}, seen: {column: seen}}}\n"
    )
    assert config.evaluate.cutoffs == (1, 3) and config.learner.policy.hidden == (8, 4)
    assert isinstance(config.env, LoggedConfig) and config.env.reward == {"liked": 1.0, "seen": -0.5}
    assert config.data is not None
    assert config.data.feedback == {
        "liked": FeedbackKind(column="rating", at_least=4.0),
        "seen": FeedbackKind(column="seen"),
    }


def test_the_name_chooses_the_variant_of_a_section(recipe) -> None:
    assert isinstance(recipe("env: {name: logged, requests: 3}\n").env, LoggedConfig)
    assert isinstance(recipe(ENV).env, InterestEvolutionConfig)


def test_a_section_that_does_not_name_its_variant_is_the_default_one(recipe) -> None:
    assert isinstance(recipe(ENV + "learner: {name: dqn}\n").learner, DqnConfig)
    assert recipe(ENV + "learner: {clip: 0.3}\n").learner == PpoConfig(clip=0.3)


def test_a_section_of_the_default_variant_keeps_the_defaults_values(recipe) -> None:
    ours = recipe("env: {name: interest_exploration, choice: {name: logit, decay: 0.5}}\n").env.choice
    assert (ours.name, ours.none, ours.decay) == ("logit", 5.0, 0.5)
    other = recipe("env: {name: interest_exploration, choice: {name: proportional}}\n").env.choice
    assert (other.name, other.none) == ("proportional", 1.0)


def test_overrides_replace_values_and_create_sections(recipe) -> None:
    config = recipe(
        ENV + "train: {updates: 20}\n",
        "train.updates=40",
        "train.checkpoint_every=10",
        "learner.policy.hidden=[16, 16]",
        "learner.learning_rate=3e-4",
        "data.source=files",
        "data.path=a=b.csv",
        "env.slate_size=2",
        "env.slate_size=4",
    )
    assert (config.train.updates, config.train.checkpoint_every) == (40, 10)
    assert config.learner.policy.hidden == (16, 16) and config.learner.learning_rate == 3e-4
    assert config.data is not None and (config.data.source, config.data.path) == ("files", "a=b.csv")
    assert isinstance(config.env, InterestEvolutionConfig) and config.env.slate_size == 4  # the last one counts


@pytest.mark.parametrize("text", ["{title}", "{title}. {genres}", "{class:token_seq}", "{a} {b}", "%Y", ","])
def test_texts_that_look_like_yaml_need_no_second_quotes(text: str) -> None:
    assert config_of(DataConfig, [f"text={text}"], "data").text == text


def test_mappings_stay_mappings() -> None:
    assert config_of(DataConfig, ["feedback={bought: {}}"], "data").feedback == {"bought": FeedbackKind()}
    assert config_of(DataConfig, ["text="], "data").text == ""
    with pytest.raises(InputError, match="not valid YAML"):
        config_of(DataConfig, ["feedback={bought: {}"], "data")


def test_an_override_fills_a_section_that_is_empty_in_the_file(recipe) -> None:
    assert recipe(ENV + "train:\n", "train.updates=50").train.updates == 50


def test_an_override_can_build_the_whole_recipe(recipe) -> None:
    assert recipe("", "env.name=logged", "env.requests=2").env == LoggedConfig(requests=2)


def test_a_resolved_config_is_plain_data_and_reads_back_equal(recipe, tmp_path: Path) -> None:
    config = recipe(
        ENV + "seed: 7\ndata: {text: 'Größe: {title}'}\nlearner: {value_clip: 0.3, policy: {hidden: []}}\n"
        "evaluate: {cutoffs: [2]}\n"
    )
    text = to_yaml(config)
    assert "Größe" in text and yaml.safe_load(text) == to_dict(config)
    assert recipe(text) == config
    assert to_dict(config)["learner"]["policy"]["hidden"] == []


def test_a_section_built_in_python_may_be_passed_as_an_option() -> None:
    policy = PolicyConfig(width=8)
    assert build_section(PpoConfig, {"policy": policy}, "learner", "here").policy is policy


WRONG = {
    "unknown key": ("learner: {learnig_rate: 1}", "learner has no field 'learnig_rate'; did you mean 'learning_rate'"),
    "unknown section": ("lerner: {}", "the recipe has no field 'lerner'; did you mean 'learner'?"),
    "unknown key without a neighbour": ("train: {zzz: 1}", "train has no field 'zzz'"),
    "key that is a number": ("3: 4", "the recipe has no field 3"),
    "key deep down": ("learner: {policy: {widht: 3}}", "learner.policy has no field 'widht'; did you mean 'width'?"),
    "text for a whole number": ("seed: many", "seed: expected a whole number, got 'many'"),
    "fraction for a whole number": ("train: {updates: 1.5}", "train.updates: expected a whole number, got 1.5"),
    "flag for a whole number": ("seed: true", "seed: expected a whole number, got True"),
    "text for a number": ("learner: {gamma: high}", "learner.gamma: expected a number, got 'high'"),
    "flag for a number": ("learner: {gamma: true}", "learner.gamma: expected a number, got True"),
    "number for a flag": ("learner: {policy: {item_residual: 1}}", "item_residual: expected true or false, got 1"),
    "flag for text": ("encoder: {model: true}", "encoder.model: expected text, got True"),
    "nothing for a number": ("seed:", "seed: expected a whole number, got None"),
    "value for a section": ("train: 3", "train: expected a section of keys, got 3"),
    "value for a list": ("evaluate: {cutoffs: 5}", "evaluate.cutoffs: expected a list such as [1, 2], got 5"),
    "bad value in a list": ("evaluate: {cutoffs: [1, x]}", "evaluate.cutoffs[1]: expected a whole number, got 'x'"),
    "out of range": ("learner: {gamma: 1.5}", "learner.gamma: expected a value at least 0 and at most 1, got 1.5"),
    "not a number": ("learner: {clip: .nan}", "learner.clip: expected a value above 0, got nan"),
    "unknown choice": ("encoder: {dtype: float16}", "encoder.dtype: expected float32 | bfloat16, got 'float16'"),
    "unknown learner": ("learner: {name: pppo}", "learner.name: no 'pppo'; did you mean 'ppo'?"),
    "key given twice": ("seed: 1\nseed: 2", "line 3: key 'seed' is given twice"),
    "key given twice inside": ("train:\n  updates: 1\n  updates: 2", "line 4: key 'updates' is given twice"),
    "bad indentation": ("train:\n  updates: 1\n devices: 1", "line 4: not valid YAML"),
    "unclosed bracket": ("evaluate: {cutoffs: [1", "not valid YAML"),
    "list as a key": ("? [1, 2]\n: 3", "line 2: not valid YAML (found unhashable key)"),
    "control character": ("seed: \x00", "not valid YAML (unacceptable character"),
    "code": ("seed: !!python/object/apply:os.getpid []", "line 2: not valid YAML (could not determine a constructor"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "want"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_one_line_with_file_and_key(recipe, tmp_path: Path, text: str, want: str) -> None:
    with pytest.raises(InputError) as caught:
        recipe(ENV + text + "\n")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'recipe.yaml'}: ") and "\n" not in message
    assert want in message


WRONG_WHOLE = {
    "no environment": ("seed: 3", "env is missing; give it a value"),
    "empty": ("", "env is missing"),
    "unknown environment": (
        "env: {name: interest_evolutoin}",
        "env.name: no 'interest_evolutoin'; did you mean 'interest_evolution'?",
    ),
    "environment without a name": ("env: {slate_size: 3}", "env: expected a section with name: interest_evolution | l"),
    "environment as a word": ("env: logged", "env: expected a section with name: interest_evolution | logged"),
    "environment named by a list": ("env: {name: [logged]}", "env.name: no "),
    "key of the other environment": ("env: {name: logged, num_candidates: 3}", "env has no field 'num_candidates'"),
    "value for names": ("env: {name: logged, reward: 1}", "env.reward: expected names with values, got 1"),
    "bad value of a name": ("env: {name: logged, reward: {liked: x}}", "env.reward.liked: expected a number, got 'x'"),
    "a list": ("- 1\n- 2", "expected sections such as 'train:' at the top, got list"),
    "a word": ("ppo", "expected sections such as 'train:' at the top, got str"),
}


@pytest.mark.parametrize(("text", "want"), WRONG_WHOLE.values(), ids=WRONG_WHOLE)
def test_a_recipe_wrong_as_a_whole_is_one_line_with_the_file(recipe, tmp_path: Path, text: str, want: str) -> None:
    with pytest.raises(InputError) as caught:
        recipe(text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'recipe.yaml'}: ") and "\n" not in message
    assert want in message


@pytest.mark.parametrize(
    ("override", "want"),
    [
        ("train.updates", "override 'train.updates': expected section.key=value, such as train.updates=100"),
        ("=3", "override '=3': expected section.key=value"),
        ("evaluate.cutoffs=[1", "override 'evaluate.cutoffs=[1': the value is not valid YAML"),
        ("env={name: logged, name: logged}", "the value is not valid YAML"),
        ("seed.more=3", "override 'seed.more=3': 'seed' is a value, not a section"),
        ("train.updats=3", "train has no field 'updats'; did you mean 'updates'?"),
        ("train.updates=", "train.updates: expected a whole number, got None"),
        ("train.updates=0", "train.updates: expected a value at least 1, got 0"),
    ],
)
def test_a_bad_override_is_one_line_that_names_it(recipe, override: str, want: str) -> None:
    with pytest.raises(InputError) as caught:
        recipe(ENV + "seed: 1\n", override)
    assert want in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_points_to_the_recipes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml: no such file; .*configs/"):
        load_config(Config, tmp_path / "nowhere.yaml")


def test_folders_and_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"seed: \xff\n")
    for path in (tmp_path, tmp_path / "latin.yaml"):
        with pytest.raises(InputError, match="cannot be read as text") as caught:
            load_config(Config, path)
        assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_configs_are_frozen_and_keyword_only() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().updates = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        EvaluateConfig(3)  # type: ignore[misc]


def test_the_old_name_of_the_comeback_model_is_translated(recipe) -> None:
    with pytest.raises(InputError, match=r"env: 'return_model' is now called 'comeback_model'; rename it\."):
        recipe("env: {name: logged, return_model: {}}\n")
