"""`jaxrec train`, `jaxrec pretrain` and `jaxrec fit-simulator`."""

import argparse

from jaxrec.cli.runtime import prepare
from jaxrec.config.load import load_config
from jaxrec.config.schema import Config
from jaxrec.evaluation import report
from jaxrec.processes import is_first, join
from jaxrec.runs.fit_simulator import fit_simulator
from jaxrec.runs.inspect import next_of_pretraining
from jaxrec.runs.pretrain import KINDS, pretrain
from jaxrec.runs.train import train


def run_train(options: argparse.Namespace) -> int:
    """Train to the end of the recipe or until a signal; returns 0 if done, else 128 + the signal."""
    overrides = list(options.overrides)
    if options.continue_from is not None:
        overrides.append(f"train.continue_from={options.continue_from}")
    prepare()
    join(options.coordinator, options.processes, options.process, options.join_seconds)
    run = train(options.config, options.run, overrides, resume=options.resume)
    ended, folder = run.ended, run.folder
    assert ended is not None
    if not is_first():
        return 128 + ended.interrupted if ended.interrupted else 0
    if ended.interrupted:
        resume = f"jaxrec train {folder.config} --run {folder.path} --resume"
        print(f"stopped at update {ended.step}; continue with: {resume}")
        return 128 + ended.interrupted
    if ended.comparison is not None:
        ended.comparison.show(run.config.evaluate.cutoffs)
    print(
        f"done in {ended.seconds:.0f} s: best evaluated return {ended.best_score:.3f}\n"
        f"  policy       {folder.policy}\n"
        f"  metrics      {folder.metrics}\n"
        f"  checkpoints  {folder.checkpoints}\n"
        f"next: jaxrec evaluate {folder.path}"
    )
    return 0


def run_pretrain(options: argparse.Namespace) -> int:
    """Pretrain to the end of the recipe; a stopped command continues from its newest checkpoint with --resume."""
    overrides = list(options.overrides)
    if options.start_from is not None:
        overrides.append(f"pretrain.start_from={options.start_from}")
    prepare()
    done = pretrain(options.config, options.run, overrides, resume=options.resume)
    folder = done.run
    if done.interrupted:
        resume = f"jaxrec pretrain {folder.config} --run {folder.path} --resume"
        print(f"stopped at step {done.step}; continue with: {resume}")
        return 128 + done.interrupted
    for kind, metrics in done.test.items():
        report.print_held_out(KINDS[kind], metrics, done.cutoffs)
    print(
        f"done in {done.seconds:.0f} s: best step {done.best} of {done.step}, validation NDCG@10 {done.score:.4f}\n"
        f"  policy   {folder.policy}\n"
        f"  report   {folder.evaluation}\n"
        f"next: {next_of_pretraining(load_config(Config, folder.config), folder)}"
    )
    return 0


def run_fit_simulator(options: argparse.Namespace) -> int:
    """Fit the simulators of a recipe, or reuse them if they are already fitted."""
    prepare()
    fitted = fit_simulator(options.config, options.output, options.overrides)
    print(
        f"  validity report  {fitted.page}\n"
        f"next: jaxrec train {options.config} {' '.join([*options.overrides, f'env.path={fitted.path}'])}\n"
        f'  or: jaxrec.make_env("logged", path="{fitted.path}")'
    )
    return 0
