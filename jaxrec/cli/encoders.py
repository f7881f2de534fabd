"""`jaxrec embed`, `jaxrec tune` and `jaxrec distill`."""

import argparse
import json

from jaxrec.cli.runtime import prepare
from jaxrec.config.load import config_of
from jaxrec.config.schema import EncoderConfig
from jaxrec.runs.distill import Distilled, distill
from jaxrec.runs.distill_judge import AGREEMENT, Row
from jaxrec.runs.embed import embed_file
from jaxrec.runs.tune import Tuned, tune


def run_embed(options: argparse.Namespace) -> int:
    """Encode every row of a file; running a stopped command again continues it."""
    prompt = [] if options.prompt is None else [f"prompt={json.dumps(options.prompt)}"]
    words = [f"model={json.dumps(options.model)}", *options.overrides, *prompt]
    config = config_of(EncoderConfig, words, "encoder")
    prepare()
    embed_file(config, options.texts, options.output, options.column, options.ids)
    return 0


def run_tune(options: argparse.Namespace) -> int:
    """Tune to the end of the recipe; a stopped command continues from its newest checkpoint with --resume."""
    prepare()
    tuned = tune(options.config, options.run, options.overrides, resume=options.resume)
    if tuned.steps.interrupted:
        return _stopped("tune", tuned)
    print(f"retrieval by the encoder alone (mean vector of the history), {tuned.before['users']:,.0f} test users:")
    for name, value in tuned.before.items():
        if name.startswith(("ndcg", "recall")):
            print(f"  {name:10} {value:.4f} -> {tuned.after[name]:.4f}")
    steps, run = tuned.steps, tuned.run
    print(
        f"done in {tuned.seconds:.0f} s: best step {steps.best} of {steps.step}, validation NDCG@10 {steps.score:.4f}\n"
        f"  encoder  {run.encoder}\n"
        f"  report   {run.account}\n"
        f"next: jaxrec train {options.config} encoder.model={run.encoder}"
    )
    return 0


def run_distill(options: argparse.Namespace) -> int:
    """Prune and distil to the end of the recipe; a stopped command continues from its newest checkpoint."""
    prepare()
    distilled = distill(options.config, options.run, options.overrides, resume=options.resume)
    if distilled.steps.interrupted:
        return _stopped("distill", distilled)
    _print_rows(distilled.rows)
    steps, run = distilled.steps, distilled.run
    print(
        f"done in {distilled.seconds:.0f} s: best step {steps.best} of {steps.step}\n"
        f"  encoder  {run.encoder}\n"
        f"  report   {run.account}\n"
        f"next: jaxrec train {options.config} {' '.join(distilled.words)}"
    )
    return 0


def _stopped(command: str, ended: Tuned | Distilled) -> int:
    """Print the command that continues a stopped training."""
    run = ended.run
    resume = f"jaxrec {command} {run.config} --run {run.path} --resume"
    print(f"stopped at step {ended.steps.step}; continue with: {resume}")
    return 128 + ended.steps.interrupted


def _print_rows(rows: dict[str, Row]) -> None:
    """Print a table of the size and scores of each encoder."""
    metrics = [name for name in rows["teacher"].test if name.startswith("ndcg")]
    print(f"{'':16}{'parameters':>12}  layers  heads  channels  {AGREEMENT}" + "".join(f"{m:>10}" for m in metrics))
    for name, row in rows.items():
        sizes = f"{row.parameters:12,}  {row.layers:6}  {row.heads:5}  {row.channels:8}  {row.agreement:9.4f}"
        print(f"{name:16}{sizes}" + "".join(f"{row.test[m]:10.4f}" for m in metrics))
