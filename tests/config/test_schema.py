import subprocess
import sys

import pytest

from jaxrec.checks import InputError
from jaxrec.config.data import Columns, DataConfig, FeedbackKind, GeneratedLog
from jaxrec.config.learners import LEARNER_CONFIGS
from jaxrec.config.logged import LoggedConfig, ResponseConfig
from jaxrec.config.on_policy import PpoConfig
from jaxrec.config.policy import PolicyConfig
from jaxrec.config.pretrain import PretrainConfig
from jaxrec.config.recsim import InterestEvolutionConfig
from jaxrec.config.schema import Config, EncoderConfig, EvaluateConfig, TrainConfig
from jaxrec.config.users import ENV_CONFIGS


@pytest.mark.parametrize(("users", "shards"), [(256, 64), (512, 64), (96, 32), (48, 16), (20, 4), (7, 1)])
def test_shards_are_the_largest_power_of_two_up_to_64_that_divides_the_users(users: int, shards: int) -> None:
    assert PpoConfig(num_users=users, minibatches=1).shards == shards


def test_an_error_about_minibatches_names_the_shards_that_were_derived() -> None:
    with pytest.raises(InputError, match=r"x 10 steps of a shard; learner\.num_users=32 gives 32 shards; change"):
        PpoConfig(num_users=32, horizon=10, minibatches=4)


def test_a_given_number_of_shards_counts() -> None:
    assert PpoConfig(num_users=24, num_shards=3).shards == 3


@pytest.mark.parametrize(
    ("build", "want"),
    [
        (lambda: PpoConfig(num_users=10, num_shards=4), "learner.num_shards: 4 shards do not divide learner.num_users"),
        (lambda: PpoConfig(num_users=64, horizon=3, minibatches=2), "learner.minibatches: 2 do not divide the 1 users"),
        (lambda: PpoConfig(gae_lambda=1.01), "learner.gae_lambda: expected a value at least 0 and at most 1, got 1.01"),
        (lambda: PpoConfig(learning_rate=0.0), "learner.learning_rate: expected a value above 0, got 0"),
        (lambda: PolicyConfig(hidden=(8, 0)), "learner.policy.hidden: expected a value at least 1 and at most"),
        (lambda: PolicyConfig(width=0), "learner.policy.width: expected a value at least 1"),
        (lambda: PolicyConfig(encoder="transformer", heads=5), "width: expected a multiple of 5 heads, got 64"),
        (lambda: PolicyConfig(history=-1), "learner.policy.history: expected a value at least 0, got -1"),
        (lambda: PolicyConfig(layers=0), "learner.policy.layers: expected a value at least 1 and at most"),
        (lambda: PretrainConfig(epochs=0), "pretrain.epochs: expected a value at least 1, got 0"),
        (lambda: PretrainConfig(window=1), "pretrain.window: expected a value at least 2, got 1"),
        (lambda: PretrainConfig(crop=1.5), "pretrain.crop: expected a value at least 0 and at most 1, got 1.5"),
        (lambda: PretrainConfig(dropout=0.95), "pretrain.dropout: expected a value at least 0 and at most 0.9"),
        (lambda: PretrainConfig(negatives=-1), "pretrain.negatives: expected a value at least 0, got -1"),
        (lambda: PretrainConfig(learning_rate=0.0), "pretrain.learning_rate: expected a value above 0, got 0"),
        (lambda: TrainConfig(updates=15), "train.updates: expected a multiple of train.updates_per_call=10, got 15"),
        (lambda: TrainConfig(checkpoint_every=5), "train.checkpoint_every: expected a multiple of train.updates_per"),
        (lambda: TrainConfig(devices=-1), "train.devices: expected a value at least 0, got -1"),
        (lambda: TrainConfig(grace_seconds=0), "train.grace_seconds: expected a value above 0 and at most 1e+06"),
        (lambda: TrainConfig(grace_seconds=1e9), "at most 1e+06, got 1000000000.0"),
        (lambda: EvaluateConfig(users=1), "evaluate.users: expected a value at least 2, got 1"),
        (lambda: EvaluateConfig(cutoffs=(5, 0)), "evaluate.cutoffs: expected a value at least 1, got 0"),
        (lambda: EvaluateConfig(baselines=("item_kn",)), "evaluate.baselines: no 'item_kn'; did you mean 'item_knn'?"),
        (lambda: EvaluateConfig(ensemble=("als", "alss")), "evaluate.ensemble: no 'alss'; did you mean 'als'?"),
        (lambda: EvaluateConfig(ensemble=("als", "als")), "evaluate.ensemble: 'als' is given twice"),
        (lambda: InterestEvolutionConfig(slate_size=11), "env.slate_size: expected a value at least 1 and at most 10"),
        (lambda: LoggedConfig(requests=0), "env.requests: expected a value at least 1, got 0"),
        (lambda: ResponseConfig(width=10, heads=4), "response.width: expected a multiple of response.heads=4, got 10"),
        (lambda: ResponseConfig(recent=(0.1, 0.0)), "response.recent: expected a value above 0"),
        (lambda: EncoderConfig(max_length=512, batch_tokens=256), "encoder.batch_tokens: expected a value at least"),
        (lambda: GeneratedLog(topics=3, topics_liked=4), "data.generated.topics: expected a value at least 4"),
        (
            lambda: Config(
                data=DataConfig(columns=Columns(request="slate")),
                pretrain=PretrainConfig(file_order=True),
                env=LoggedConfig(),
            ),
            "pretrain.file_order: rows of one data.columns.request were shown together",
        ),
        (lambda: DataConfig(feedback={}), "data.feedback: expected at least one kind of feedback, got none"),
        (lambda: DataConfig(test_share=1.0), "data.test_share: expected a value at least 0.01 and at most 0.9"),
        (
            lambda: DataConfig(source="files", feedback={"liked": FeedbackKind(at_least=4)}),
            "data.feedback.liked.at_least: set without a column; set data.feedback.liked.column",
        ),
    ],
)  # fmt: skip
def test_a_config_that_cannot_work_is_refused_when_it_is_built(build, want: str) -> None:
    with pytest.raises(InputError) as caught:
        build()
    assert want in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("variants", [ENV_CONFIGS, LEARNER_CONFIGS])
def test_variants_are_registered_under_their_own_name(variants: dict) -> None:
    assert all(cls().name == name for name, cls in variants.items())


def test_reading_a_recipe_needs_no_jax() -> None:
    code = "import sys, jaxrec.config.load, jaxrec.config.schema; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
