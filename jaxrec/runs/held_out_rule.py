"""Which checkpoints may become the policy, by how they rank held-out rows of the log (`train.held_out_share`)."""

from jaxrec.checks import InputError
from jaxrec.config.schema import Config
from jaxrec.nets.policy import make_policy
from jaxrec.runs.host_loop import NOTHING_FURTHER, Further
from jaxrec.runs.pretrain import SCORE
from jaxrec.runs.pretrain_judge import PretrainJudge
from jaxrec.runs.read_log import Corpus
from jaxrec.storage.run import RunFolder, rows_of
from jaxrec.types import Env, Params


def check(config: Config) -> None:
    """Raise InputError if the share is of nothing."""
    if config.train.held_out_share and not (config.learner.start_from or config.train.continue_from):
        raise InputError(
            "train.held_out_share: there is no start to compare with; set learner.start_from or train.continue_from, "
            "or set it to 0."
        )


def make_rule(config: Config, env: Env, corpus: Corpus | None, run: RunFolder) -> Further:
    """Measure parameters on validation rows, and allow those that reach their share of the start's figure."""
    if not config.train.held_out_share:
        return NOTHING_FURTHER
    assert corpus is not None, "only users fitted to a log have something to start from"
    judge = PretrainJudge(config, corpus, make_policy(env.spec, config.learner.policy), env.spec, env.world)

    def further(params: Params, step: int) -> tuple[dict[str, float], bool]:
        ndcg = judge.validation(params)
        return {SCORE: ndcg}, step == 0 or ndcg >= config.train.held_out_share * _of_start(run)

    return Further((SCORE,), further)


def _of_start(run: RunFolder) -> float:
    """The figure of update 0, which the run has recorded; a resumed run no longer has the start itself."""
    _, first = next(rows_of(run.metrics), ("", {}))
    if not isinstance(first.get(SCORE), float):
        raise InputError(f"{run.metrics}: the first row has no {SCORE}; restore it, or start another run with --run.")
    return first[SCORE]
