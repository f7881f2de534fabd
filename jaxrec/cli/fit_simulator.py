"""`jaxrec fit-simulator`: users fitted to a log, in a folder whose name is what they were fitted to."""

import datetime
import time
from pathlib import Path

import jax

import jaxrec
from jaxrec.checks import InputError
from jaxrec.cli import experiment, runtime, simulators
from jaxrec.config.load import load_config, to_dict, to_yaml
from jaxrec.config.logged import LoggedConfig
from jaxrec.config.schema import Config
from jaxrec.data.pseudonyms import check_key_outside
from jaxrec.envs import logged
from jaxrec.storage.files import write_json, write_text

ABOUT, FORMAT = "simulator.json", "jaxrec.simulators.1"


def fit_simulator(config_path: str, overrides: list[str], output: str | None) -> int:
    """Fit the simulators of a recipe, or find them fitted already."""
    config = load_config(Config, config_path, overrides)
    check_recipe(config)
    if output is not None and Path(output).exists() and not Path(output).is_dir():
        raise InputError(f"-o: {output} is a file; name a folder.")
    if output is not None:
        check_key_outside(experiment.log_config(config), Path(output))
    started = time.perf_counter()
    runtime.prepare()
    corpus = experiment.read_corpus(config)
    mark = fingerprint(config, corpus)
    folder = Path(output or f"simulators/{Path(config_path).stem}-{mark[:12]}")
    begin(folder, mark, config, corpus)
    if all((folder / part).exists() for part in simulators.PARTS):
        print(f"{folder}: already there, fitted to the same log by the same recipe")
        simulators.print_validity(simulators.read_validity(folder))
    else:
        print(f"{folder} on {runtime.describe_devices()}")
        simulators.fit_simulators(config, corpus, folder, compare_text=True)
        print(f"fitted in {time.perf_counter() - started:.0f} s")
    print(
        f"  how far to believe it  {folder / simulators.PAGE}\n"
        f"next: jaxrec train {config_path} {' '.join([*overrides, f'env.path={folder}'])}\n"
        f'  or: jaxrec.make_env("logged", path="{folder}")'
    )
    return 0


def check_recipe(config: Config) -> None:
    """Raise InputError for recipes without users to fit."""
    if not isinstance(config.env, LoggedConfig):
        raise InputError(f"env.name: {config.env.name} reads no log, so there is nothing to fit; set it to logged.")
    if config.env.path:
        raise InputError("env.path: `jaxrec fit-simulator` fits its own; remove it, and name its folder with -o.")
    logged.check_users(config.env, tuple(experiment.log_config(config).feedback), config.response.members)


def fingerprint(config: Config, corpus: experiment.Corpus) -> str:
    """SHA-256 of everything the folder follows from: the log, its texts, and what of the recipe fits and reports.

    Where the log lies, how it is cached and what a learner would do with the users are not part of it.
    """
    encoder = {n: v for n, v in to_dict(config.encoder).items() if n not in ("batch_tokens", "cache_dir")}
    recipe = {
        "seed": config.seed,
        "encoder": encoder,
        "response": to_dict(config.response),
        "env": to_dict(config.env),
        "min_item_ratings": experiment.log_config(config).min_item_ratings,
    }
    return simulators.digest([simulators.log_identity(corpus), corpus.dataset.catalogue.texts, recipe])


def begin(folder: Path, mark: str, config: Config, corpus: experiment.Corpus) -> None:
    """Make `folder` the one of this fingerprint; raises InputError where it is another's."""
    about = folder / ABOUT
    if about.is_file():
        found = simulators.read_object(about).get("fingerprint")
        if found != mark:
            raise InputError(
                f"{folder}: holds simulators of another log or recipe (fingerprint {str(found)[:12]}, expected "
                f"{mark[:12]}); name another folder with -o."
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder}: holds something else ({ABOUT} is missing); name an empty or new folder with -o.")
    else:
        log = corpus.dataset.log
        description = {
            "format": FORMAT,
            "fingerprint": mark,
            "rows": len(log),
            "users": log.num_users,
            "items": log.num_items,
            "feedback": list(log.feedback_names),
            "jaxrec": jaxrec.__version__,
            "jax": jax.__version__,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        try:
            write_json(about, description)
        except OSError as error:
            raise InputError(f"{folder}: cannot be written ({error.strerror}); name another with -o.") from None
    if not (folder / "config.yaml").is_file():
        write_text(folder / "config.yaml", to_yaml(config))
