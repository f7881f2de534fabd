"""The command line; heavy imports wait until a command runs."""

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from jaxrec.checks import InputError
from jaxrec.cli.faults import REPORT, TRACEBACK, fault_line, report_in_background
from jaxrec.terminal import safe_output, silence
from jaxrec.version import __version__

TRAIN_EXAMPLE = """\
example:
  jaxrec train configs/demo.yaml --run runs/demo
  jaxrec train configs/ml_latest_small.yaml data.path=ml-latest-small train.updates=300
  jaxrec train configs/demo.yaml --run runs/demo --resume    (after a stop, crash or kill)
  jaxrec train my.yaml --continue runs/spring data.path=summer-log --run runs/summer
"""
SWEEP_EXAMPLE = """\
example:
  jaxrec sweep configs/ppo_interest_evolution.yaml learner.learning_rate=1e-3,3e-3 seeds=8
  jaxrec sweep my.yaml 'learner.policy.hidden=[64],[64,64]' learner.gamma=0.9,0.99 seed=3,5 --run runs/grid
  jaxrec sweep configs/ppo_interest_evolution.yaml learner.learning_rate=1e-3,3e-3 seeds=8 --resume

Values between commas are swept over; texts with commas need quotes. Each run is that of `jaxrec train` with its seed.
"""
CHECK_DATA_EXAMPLE = """\
example:
  jaxrec check-data my.yaml data.path=FOLDER
  jaxrec check-data my.yaml --json

It reads the log as `jaxrec train` would. Nothing is encoded, fitted or written.
"""
FIT_SIMULATOR_EXAMPLE = """\
example:
  jaxrec fit-simulator configs/demo.yaml
  jaxrec fit-simulator configs/ml_latest_small.yaml data.path=ml-latest-small -o simulators/small
  jaxrec train configs/ml_latest_small.yaml data.path=ml-latest-small env.path=simulators/small
"""
EVALUATE_EXAMPLE = """\
example:
  jaxrec evaluate runs/demo
  jaxrec evaluate runs/demo evaluate.users=10000
"""
RECOMMEND_EXAMPLE = """\
example:
  jaxrec recommend runs/demo --history 318,296 -k 10
  jaxrec recommend runs/demo --history 318:4.5,296:2    (ratings; an item without one counts as a success)
  jaxrec recommend runs/shop --user alice@example.org   (history from the log of the recipe)
"""
EMBED_EXAMPLE = """\
example:
  jaxrec embed all-MiniLM-L6-v2 items.csv --column title -o titles.npy
  jaxrec embed models/my-encoder reviews.jsonl.gz --column text --ids review_id -o reviews.parquet max_length=256
  jaxrec embed Qwen/Qwen3-Embedding-0.6B queries.txt -o queries dtype=bfloat16 prompt_name=query    (Orbax folder)

Run a stopped command again to continue it. key=value sets fields of `encoder:` in a recipe. Rows have unit length.
"""
TUNE_EXAMPLE = """\
example:
  jaxrec tune configs/tune_beauty.yaml --run runs/tuned
  jaxrec tune my.yaml tune.mode=lora tune.learning_rate=1e-3 --run runs/lora
  jaxrec train my.yaml encoder.model=runs/tuned/encoder

With --resume, a stopped command continues from its newest checkpoint.
"""
DISTILL_EXAMPLE = """\
example:
  jaxrec distill my.yaml distill.layers=3 --run runs/small    (half of MiniLM's layers)
  jaxrec distill my.yaml encoder.model=runs/tuned/encoder distill.layers=3 distill.channels=768 --run runs/small
  jaxrec distill my.yaml distill.student=models/tiny distill.objective=relations --run runs/tiny
  jaxrec train my.yaml encoder.model=runs/small/encoder

With --resume, a stopped command continues from its newest checkpoint.
"""
PRETRAIN_EXAMPLE = """\
example:
  jaxrec pretrain configs/pretrain_ml_latest_small.yaml data.path=ml-latest-small --run runs/start
  jaxrec recommend runs/start --history 318,296
  jaxrec pretrain my_recipe.yaml --from runs/start --run runs/mine
  jaxrec train configs/pretrain_ml_latest_small.yaml data.path=ml-latest-small learner.start_from=runs/start
  jaxrec train configs/pretrain_ml_latest_small.yaml data.path=ml-latest-small learner.start_from=pretrain    (both)

With --resume, a stopped command continues from its newest checkpoint.
"""
INSPECT_EXAMPLE = """\
example:
  jaxrec inspect runs/demo
  jaxrec inspect runs/demo --json
  jaxrec inspect runs/demo/policy
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its status.

    0: done. 1: a defect of ours (a traceback). 2: bad input, or the system failed (one line on stderr).
    130: interrupted.
    """
    if arguments is None:  # as a program
        sys.excepthook = sys.unraisablehook = report_in_background
    with safe_output() as output:
        status = _run(arguments)
        output.flush()
        if output.lost is not None and not isinstance(output.lost, BrokenPipeError):
            # Who leaves has seen enough. A full disk has not.
            print(f"jaxrec: standard output: {fault_line(output.lost)}", file=sys.stderr)
            status = status or 2
        sys.stderr.flush()
        if status and arguments is None:  # libraries that close down have nothing to add
            silence(2)
        return status


def _run(arguments: Sequence[str] | None) -> int:
    try:
        options = parse(arguments)
        module, function = options.command
        return getattr(importlib.import_module(f"jaxrec.cli.{module}"), function)(options)
    except InputError as error:
        print(f"jaxrec: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("jaxrec: stopped; nothing is half-written.", file=sys.stderr)
        return 130
    except Exception as error:
        line = fault_line(error)
        if line is None or os.environ.get(TRACEBACK):
            traceback.print_exc()
        message = line or REPORT.format(version=__version__)
        print(f"jaxrec: {message}", file=sys.stderr)
        return 2 if line else 1


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse a command line; overrides may come anywhere after the command, also after options."""
    parser = make_parser()
    options, rest = parser.parse_known_args(arguments)
    unknown = [word for word in rest if word.startswith("-") or "=" not in word or not hasattr(options, "overrides")]
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if rest:
        options.overrides = [*options.overrides, *rest]
    return options


def make_parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    parser = argparse.ArgumentParser(
        prog="jaxrec",
        description="Recommenders that read text with a language model and learn by reinforcement.",
        epilog="`jaxrec COMMAND --help` shows options and examples.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    for add in (_add_check_data, _add_train, _add_sweep, _add_pretrain, _add_fit, _add_evaluate, _add_recommend):
        add(commands)
    for add in (_add_embed, _add_tune, _add_distill, _add_inspect):
        add(commands)
    return parser


def _add_check_data(commands: argparse._SubParsersAction) -> None:
    summary = "show how a recipe's log is read, and what is suspicious in it"
    parser = _command(commands, "check-data", summary, CHECK_DATA_EXAMPLE, ("check_data", "run_check_data"))
    parser.add_argument("config", metavar="CONFIG", help="recipe with a data section")
    _overrides(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def _add_train(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "train", "train a policy from a recipe", TRAIN_EXAMPLE, ("train", "run_train"))
    parser.add_argument("config", metavar="CONFIG", help="recipe, for instance configs/demo.yaml")
    _overrides(parser)
    parser.add_argument("--run", metavar="DIR", help="run folder (default: runs/ and the recipe's name)")
    parser.add_argument("--resume", action="store_true", help="continue a stopped run from its newest checkpoint")
    parser.add_argument(
        "--continue",
        dest="continue_from",
        metavar="RUN",
        help="start from the policy of a finished run, with a later log (data.path=FOLDER)",
    )


def _add_sweep(commands: argparse._SubParsersAction) -> None:
    summary = "train every combination of settings with several seeds, and compare them"
    parser = _command(commands, "sweep", summary, SWEEP_EXAMPLE, ("sweep", "run_sweep"))
    parser.add_argument("config", metavar="CONFIG", help="recipe, for instance configs/ppo_interest_evolution.yaml")
    _overrides(parser, "values to sweep over (section.key=A,B), the number of seeds (seeds=8), other values")
    parser.add_argument("--run", metavar="DIR", help="folder (default: runs/, the recipe's name and -sweep)")
    parser.add_argument("--resume", action="store_true", help="continue a stopped sweep")
    parser.add_argument("--limit", type=int, default=256, metavar="N", help="refuse more than N runs (default: 256)")
    parser.add_argument(
        "--mode",
        choices=("auto", "threads", "vmap"),
        default="auto",
        help="how runs share a program: in turns on threads, or mapped in one call (default: threads on CPU and with "
        "several devices, vmap on one accelerator)",
    )
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="runs at a time on threads (0: all cores)")


def _add_pretrain(commands: argparse._SubParsersAction) -> None:
    summary = "fit a recipe's policy to what users did next, as a start for train"
    parser = _command(commands, "pretrain", summary, PRETRAIN_EXAMPLE, ("train", "run_pretrain"))
    _fit_options(parser)
    parser.add_argument(
        "--from",
        dest="start_from",
        metavar="RUN",
        help="start from the policy of a run over another catalogue, which reads the same texts and features",
    )


def _add_fit(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands,
        "fit-simulator",
        "fit simulated users to a log and report how far to trust them",
        FIT_SIMULATOR_EXAMPLE,
        ("train", "run_fit_simulator"),
    )
    parser.add_argument("config", metavar="CONFIG", help="recipe with a data section, for instance configs/demo.yaml")
    _overrides(parser)
    parser.add_argument("-o", dest="output", metavar="DIR", help="folder (default: a unique name in simulators/)")


def _add_evaluate(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands,
        "evaluate",
        "compare a run's policy with simple recommenders",
        EVALUATE_EXAMPLE,
        ("evaluate", "run_evaluate"),
    )
    parser.add_argument("run", metavar="RUN", help="run folder")
    _overrides(parser)


def _add_recommend(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands,
        "recommend",
        "recommend a slate for a history or a user",
        RECOMMEND_EXAMPLE,
        ("evaluate", "run_recommend"),
    )
    parser.add_argument("run", metavar="RUN", help="run folder, or its policy/ folder")
    parser.add_argument(
        "--history",
        metavar="ID,ID",
        default="",
        help="item ids as in the log, oldest first; ID:4.5 or ID:rating=4.5:clicked=1 say what the user thought of it",
    )
    parser.add_argument(
        "--history-json", metavar="JSON", help='the same as a JSON list: [318, {"item": "296", "rating": 2}]'
    )
    parser.add_argument("--user", metavar="ID", help="user id as in the log, instead of a history")
    parser.add_argument("--data", metavar="FOLDER", help="log folder for --user (default: data.path of the recipe)")
    parser.add_argument("-k", type=int, default=10, help="slate size (default: 10)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _add_embed(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "embed", "encode the texts of a file", EMBED_EXAMPLE, ("encoders", "run_embed"))
    parser.add_argument("model", metavar="MODEL", help="folder, installed package or Hugging Face name")
    parser.add_argument("texts", metavar="TEXTS", help="table (.csv .tsv .parquet .jsonl) or .txt, one text per line")
    parser.add_argument("overrides", metavar="key=value", nargs="*", help="encoder settings, as in max_length=256")
    parser.add_argument(
        "-o", dest="output", metavar="OUT", required=True, help="NAME.npy, NAME.parquet or an Orbax folder"
    )
    parser.add_argument(
        "--column", metavar="NAME", default="", help="column of the texts (default: text, or the only one)"
    )
    parser.add_argument("--prompt", metavar="TEXT", help="prefix of every text, as in 'query: '")
    parser.add_argument("--ids", metavar="NAME", default="", help="column to keep next to the vectors (.parquet)")


def _add_tune(commands: argparse._SubParsersAction) -> None:
    _fit_options(
        _command(commands, "tune", "fit a recipe's encoder to the log", TUNE_EXAMPLE, ("encoders", "run_tune"))
    )


def _add_distill(commands: argparse._SubParsersAction) -> None:
    summary = "distil a recipe's encoder into a smaller one"
    _fit_options(_command(commands, "distill", summary, DISTILL_EXAMPLE, ("encoders", "run_distill")))


def _fit_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="recipe with a data section")
    _overrides(parser)
    parser.add_argument("--run", metavar="DIR", help="folder of the result (default: runs/ and the recipe's name)")
    parser.add_argument("--resume", action="store_true", help="continue a stopped command from its newest checkpoint")


def _add_inspect(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands, "inspect", "show what a folder holds and what comes next", INSPECT_EXAMPLE, ("inspect", "run_inspect")
    )
    parser.add_argument("path", metavar="RUN", help="run, policy, simulator or encoder folder, finished or not")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def _command(
    commands: argparse._SubParsersAction, name: str, summary: str, example: str, command: tuple[str, str]
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=example,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=command)  # module and function, imported when it runs
    return parser


def _overrides(
    parser: argparse.ArgumentParser,
    text: str = "values that replace the recipe's: train.updates=100 'data.text={title}. {genres}' data.item_file=",
) -> None:
    parser.add_argument("overrides", metavar="section.key=value", nargs="*", help=text)
