"""Folders of the stages other than training: tuned encoders, pretrained policies, sweeps."""

from pathlib import Path

from jaxrec.storage.run import SWEEP, RunFolder

DIVERGED = "diverged.json"  # in the folder of a run: why it ended
TOKENS, GENERATOR = "tokens", "generator"  # kinds of folders of arrays, in their description.json


class TuneFolder(RunFolder):
    """The folder of `jaxrec tune`; its recipe has another name, so that it is not mistaken for a run with a policy.

    tune.yaml       the resolved recipe
    metrics.jsonl   one row per step
    checkpoints/    the latest and the best state
    encoder/        the best encoder, in the format of transformers
    adapters/       the same as adapters, in the format of PEFT (tune.mode: lora)
    tuning.json     the account: test metrics before and after, sizes, digests of the weights
    """

    made_by = "tune"

    def __init__(self, path: str | Path):
        """Point at `path`; nothing is read or written yet."""
        super().__init__(path)
        self.config = self.path / "tune.yaml"
        self.encoder = self.path / "encoder"
        self.adapters = self.path / "adapters"
        self.account = self.path / "tuning.json"


class DistillFolder(RunFolder):
    """The folder of `jaxrec distill`.

    distill.yaml        the resolved recipe
    pruned/             the student before its first step, if it is a pruned copy of the encoder
    metrics.jsonl       one row per step
    checkpoints/        the latest and the best state
    encoder/            the best student
    distillation.json   the account: sizes, agreement with the teacher, test metrics, digests of the weights
    """

    made_by = "distill"

    def __init__(self, path: str | Path):
        """Point at `path`; nothing is read or written yet."""
        super().__init__(path)
        self.config = self.path / "distill.yaml"
        self.pruned = self.path / "pruned"
        self.encoder = self.path / "encoder"
        self.account = self.path / "distillation.json"


class PretrainFolder(RunFolder):
    """The folder of `jaxrec pretrain`, or the part of a run of `jaxrec train` that starts from it.

    config.yaml      the resolved recipe
    pretraining.json the account: steps, digests of the log
    metrics.jsonl    one row per step
    checkpoints/     the latest and the best state
    policy/          the best policy
    encoder/         the encoder of its item table, if that was tuned (encoder.train)
    adapters/        the same as adapters, in the format of PEFT (encoder.train: lora)
    evaluation.json  ranking of the test rows, of the policy and of simple recommenders
    tokens/          the codes of the items, if the policy is a generator
    simulators/, simulated.json  simulated users and what they did, once `jaxrec evaluate` has judged a generator
    """

    made_by = "pretrain"

    def __init__(self, path: str | Path):
        """Point at `path`; nothing is read or written yet."""
        super().__init__(path)
        self.account = self.path / "pretraining.json"
        self.encoder = self.path / "encoder"
        self.adapters = self.path / "adapters"


class SweepFolder(RunFolder):
    """The folder of `jaxrec sweep`.

    sweep.yaml     the grid, the seeds and the resolved recipe of the first run
    runs/NAME/     a run folder for each run, as `jaxrec train` writes it
    results.json   the figures of every setting and every run, once all runs have ended
    curves.png     returns over the updates, with intervals over the seeds
    """

    made_by = "sweep"

    def __init__(self, path: str | Path):
        """Point at `path`; nothing is read or written yet."""
        super().__init__(path)
        self.config = self.path / SWEEP
        self.runs = self.path / "runs"
        self.results = self.path / "results.json"
        self.picture = self.path / "curves.png"
