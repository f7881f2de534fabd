"""The commands and their options."""

import argparse
from collections.abc import Sequence

from jaxrec.cli import examples


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
    for add in (_add_serve, _add_serve_report, _add_export, _add_tokens, _add_rank, _add_embed):
        add(commands)
    for add in (_add_tune, _add_distill, _add_inspect, _add_bench):
        add(commands)
    return parser


def _add_check_data(commands: argparse._SubParsersAction) -> None:
    summary = "show how a recipe's log is read, and what is suspicious in it"
    parser = _command(commands, "check-data", summary, examples.CHECK_DATA, ("check_data", "run_check_data"))
    parser.add_argument("config", metavar="CONFIG", help="recipe with a data section")
    _overrides(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def _add_train(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "train", "train a policy from a recipe", examples.TRAIN, ("train", "run_train"))
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
    several = parser.add_argument_group("several processes (docs/launch.md)")
    several.add_argument("--coordinator", metavar="HOST:PORT", default="", help="address of process 0")
    several.add_argument(
        "--processes",
        metavar="N",
        default="",
        help="how many there are; auto: ask Slurm, Open MPI, the TPU slice or Kubernetes",
    )
    several.add_argument("--process", metavar="I", default="", help="which one this is, from 0")
    several.add_argument(
        "--join-seconds", type=float, metavar="S", default=300.0, help="how long to wait for the others (default: 300)"
    )


def _add_sweep(commands: argparse._SubParsersAction) -> None:
    summary = "train every combination of settings with several seeds, and compare them"
    parser = _command(commands, "sweep", summary, examples.SWEEP, ("sweep", "run_sweep"))
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
    parser = _command(commands, "pretrain", summary, examples.PRETRAIN, ("train", "run_pretrain"))
    _fit_options(parser)
    parser.add_argument(
        "--from",
        dest="start_from",
        metavar="RUN",
        help="start from the policy of a run over another catalogue, which reads the same texts and features; with "
        "pretrain.loss=grpo, from the generator of a run over the same log",
    )


def _add_fit(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands,
        "fit-simulator",
        "fit simulated users to a log and report how far to trust them",
        examples.FIT_SIMULATOR,
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
        examples.EVALUATE,
        ("evaluate", "run_evaluate"),
    )
    parser.add_argument("run", metavar="RUN", help="run folder")
    _overrides(parser)


def _add_recommend(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands,
        "recommend",
        "recommend a slate for a history or a user",
        examples.RECOMMEND,
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
    parser.add_argument("--explain", action="store_true", help="say of each item what in the history raised its score")
    parser.add_argument(
        "--words",
        metavar="MODEL",
        help="language model that words the sentences of --explain: GGUF file, folder or name",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _add_serve(commands: argparse._SubParsersAction) -> None:
    summary = "answer requests for slates over HTTP, and log the feedback"
    parser = _command(commands, "serve", summary, examples.SERVE, ("serve", "run_serve"))
    parser.add_argument("run", metavar="RUN", help="run folder, or its policy/ folder")
    _overrides(parser, "values that replace those of the run's recipe: serve.explore=softmax serve.temperature=0.5")
    parser.add_argument("--host", metavar="ADDRESS", help="address to listen at (default: 127.0.0.1)")
    parser.add_argument("--port", metavar="N", help="port to listen at (default: 8000; 0: any free one)")
    parser.add_argument("--state", metavar="DIR", help="folder of log, users and keys (default: RUN-serve)")
    parser.add_argument("--new-key", metavar="NAME", help="make an API key, print it, and end")
    parser.add_argument(
        "--scopes", metavar="A,B", help="of the new key: recommend, feedback, admin (default: the first two)"
    )


def _add_serve_report(commands: argparse._SubParsersAction) -> None:
    summary = "compare the policies that a service answered with, by the feedback of its users"
    parser = _command(commands, "serve-report", summary, examples.SERVE_REPORT, ("serve", "run_serve_report"))
    parser.add_argument("run", metavar="RUN", help="run folder that was served, or its policy/ folder")
    _overrides(parser, "values that replace those of the run's recipe, as they were given to `jaxrec serve`")
    parser.add_argument("--state", metavar="DIR", help="folder of the service's logs (default: RUN-serve)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def _add_export(commands: argparse._SubParsersAction) -> None:
    summary = "write a policy as StableHLO, which needs no jaxrec"
    parser = _command(commands, "export", summary, examples.EXPORT, ("serve", "run_export"))
    parser.add_argument("run", metavar="RUN", help="run folder, or its policy/ folder")
    parser.add_argument("-o", dest="output", metavar="FOLDER", required=True, help="folder of the result")


def _add_tokens(commands: argparse._SubParsersAction) -> None:
    summary = "give every item of a recipe's catalogue a short code (semantic id)"
    parser = _command(commands, "tokens", summary, examples.TOKENS, ("tokens", "run_tokens"))
    parser.add_argument("config", metavar="CONFIG", help="recipe with a data section")
    _overrides(parser)
    parser.add_argument("-o", dest="output", metavar="FOLDER", required=True, help="folder of the result")
    parser.add_argument("--json", action="store_true", help="print the report as JSON instead of a table")


def _add_rank(commands: argparse._SubParsersAction) -> None:
    summary = "rank items by a language model that was never trained on the log"
    parser = _command(commands, "rank-with-lm", summary, examples.RANK_WITH_LM, ("language", "run_rank"))
    parser.add_argument("model", metavar="MODEL", help="GGUF file, folder, installed package or Hugging Face name")
    parser.add_argument("config", metavar="CONFIG", help="recipe with a data section")
    _overrides(parser)
    parser.add_argument("--history", metavar="ID,ID", help="rank for this history, not for held-out users")
    parser.add_argument("-k", type=int, default=10, help="items to show for --history (default: 10)")
    parser.add_argument("--users", type=int, default=200, metavar="N", help="held-out users (default: 200)")
    parser.add_argument("--candidates", type=int, default=20, metavar="N", help="items to rank (default: 20)")
    parser.add_argument(
        "--history-length", type=int, default=10, metavar="N", help="latest liked titles in the prompt (default: 10)"
    )
    parser.add_argument("--chat", action="store_true", help="ask in the model's chat template")
    parser.add_argument("--prior", action="store_true", help="subtract the likelihood of a title without a history")
    parser.add_argument("--prompt", metavar="TEXT", default="", help="prompt with {history}, which is a numbered list")
    parser.add_argument("--dtype", default="float32", help="of matrix products: float32 or bfloat16 (default: float32)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of users and candidates (default: 0)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _add_embed(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "embed", "encode the texts of a file", examples.EMBED, ("encoders", "run_embed"))
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
        _command(commands, "tune", "fit a recipe's encoder to the log", examples.TUNE, ("encoders", "run_tune"))
    )


def _add_distill(commands: argparse._SubParsersAction) -> None:
    summary = "distil a recipe's encoder into a smaller one"
    _fit_options(_command(commands, "distill", summary, examples.DISTILL, ("encoders", "run_distill")))


def _fit_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="recipe with a data section")
    _overrides(parser)
    parser.add_argument("--run", metavar="DIR", help="folder of the result (default: runs/ and the recipe's name)")
    parser.add_argument("--resume", action="store_true", help="continue a stopped command from its newest checkpoint")


def _add_inspect(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands,
        "inspect",
        "show what a folder holds and what comes next",
        examples.INSPECT,
        ("inspect", "run_inspect"),
    )
    parser.add_argument(
        "path", metavar="RUN", help="folder of a run, policy, simulator, encoder or sweep, finished or not"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def _add_bench(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "bench", "measure one device at hand", examples.BENCH, ("bench", "run_bench"))
    parser.add_argument("--calls", type=int, default=7, metavar="N", help="timed calls per figure (default: 7)")
    parser.add_argument("--json", action="store_true", help="print one JSON line instead of a table")


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
