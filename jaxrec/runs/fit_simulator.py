"""Fit simulated users to a log, in a folder named after the fingerprint of its inputs."""

import datetime
import time
from pathlib import Path
from typing import NamedTuple

import jax

from jaxrec.checks import InputError
from jaxrec.config.load import Overrides, to_dict, to_yaml
from jaxrec.config.schema import Config
from jaxrec.config.users import fitted_simulators
from jaxrec.data.pseudonyms import check_key_outside
from jaxrec.progress import note, quiet
from jaxrec.runs.devices import describe_devices
from jaxrec.runs.read_log import Corpus, read_corpus
from jaxrec.runs.recipe import Recipe, default_folder, log_config, read_recipe
from jaxrec.runs.users.fit import fit_simulators
from jaxrec.runs.users.fitted_folder import PAGE, PARTS, RESTORE, digest, log_identity, read_validity
from jaxrec.runs.users.registry import user_kind
from jaxrec.runs.users.validity_lines import validity_lines
from jaxrec.storage.files import check_orbax_path, read_json_object, write_json, write_text
from jaxrec.storage.inside import check_folder
from jaxrec.storage.lock import LOCK, hold, is_ours, one_command
from jaxrec.version import __version__

ABOUT, FORMAT = "simulator.json", "jaxrec.simulators.1"


class FittedUsers(NamedTuple):
    """A folder of simulated users."""

    path: Path
    page: Path  # the validity report, for a browser


def fit_simulator(
    recipe: Recipe, output: str | Path | None = None, overrides: Overrides = (), *, silent: bool = False
) -> FittedUsers:
    """Fit the simulators of a recipe, or reuse them if they are already fitted.

    `output` is the folder. By default it is in `simulators/`, named after the recipe and a fingerprint of the log and
    the settings.
    """
    with quiet(silent), one_command():
        config = read_recipe(recipe, overrides)
        check_fittable(config)
        if output is not None:
            if Path(output).exists() and not Path(output).is_dir():
                raise InputError(f"-o: {output} is a file; name a folder.")
            check_key_outside(log_config(config), Path(output))
        started = time.perf_counter()
        corpus = read_corpus(config)
        mark = fingerprint(config, corpus)
        folder = Path(output or f"{default_folder(recipe, 'simulators')}-{mark[:12]}")
        begin(folder, mark, config, corpus)
        if all((folder / part).exists() for part in PARTS):
            note(f"{folder}: already there, fitted to the same log with the same recipe")
            for line in validity_lines(read_validity(folder)):
                note(line)
        else:
            note(f"fitting {folder} on {describe_devices()}")
            fit_simulators(config, corpus, folder, compare_text=True)
            note(f"fitted in {time.perf_counter() - started:.0f} s")
        return FittedUsers(folder, folder / PAGE)


def check_fittable(config: Config) -> None:
    """Raise InputError for recipes that fit no users."""
    if not fitted_simulators(config.env):
        raise InputError(f"env.name: {config.env.name} reads no log, so there is nothing to fit; set it to logged.")
    if config.env.path:
        raise InputError("env.path: `jaxrec fit-simulator` fits new users; remove it and name a folder with -o.")
    user_kind(config.env.name).check(config)


def fingerprint(config: Config, corpus: Corpus) -> str:
    """SHA-256 of all inputs of the folder: the log, its texts, and the settings for fitting and reporting.

    The path of the log, caches and the learner's settings are not part of it.
    """
    encoder = {n: v for n, v in to_dict(config.encoder).items() if n not in ("batch_tokens", "cache_dir")}
    tastes = config.env.response == "tastes"
    recipe = {
        "seed": config.seed,
        "encoder": encoder,
        **({"tastes": to_dict(config.tastes)} if tastes else {"response": to_dict(config.response)}),
        "env": to_dict(config.env),
        "min_item_ratings": log_config(config).min_item_ratings,
    }
    return digest([log_identity(corpus), corpus.dataset.catalogue.texts, recipe])


def begin(folder: Path, mark: str, config: Config, corpus: Corpus) -> None:
    """Claim `folder` for this fingerprint; raises InputError if it holds something else."""
    check_orbax_path(folder)
    about = folder / ABOUT
    if folder.is_dir():
        check_folder(folder)
    if about.is_file() or is_ours(folder):
        hold(folder, "fit-simulator")
    if about.is_file():
        found = read_json_object(about, RESTORE).get("fingerprint")
        if found != mark:
            raise InputError(
                f"{folder}: holds simulators of another log or recipe (fingerprint {str(found)[:12]}, expected "
                f"{mark[:12]}); name another folder with -o."
            )
    elif folder.is_dir() and {path.name for path in folder.iterdir()} - {LOCK}:
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
            "jaxrec": __version__,
            "jax": jax.__version__,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        try:
            hold(folder, "fit-simulator")
            write_json(about, description)
        except OSError as error:
            raise InputError(f"{folder}: cannot be written ({error.strerror}); name another folder with -o.") from None
    if not (folder / "config.yaml").is_file():
        write_text(folder / "config.yaml", to_yaml(config))
