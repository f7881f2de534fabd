"""Logs and item texts: reading, cleaning, splitting, and a generated log to start with."""

from jaxrec.config.completed import completed
from jaxrec.config.data import DataConfig
from jaxrec.config.presets import PRESETS, check_found
from jaxrec.data.generated import read_generated
from jaxrec.data.log import Catalogue, Dataset, Log, Split
from jaxrec.data.readers import read_files, read_movielens
from jaxrec.data.split import global_time, leave_one_out, leave_positive_out, make_split, split_users
from jaxrec.data.tfds import read_tfds

READERS = {
    **dict.fromkeys(PRESETS, read_files),
    "movielens": read_movielens,
    "files": read_files,
    "tfds": read_tfds,
    "generated": read_generated,
}


def load_dataset(config: DataConfig, seed: int) -> Dataset:
    """Read and clean the log that `data.source` names; only the generated log uses `seed`.

    Raises InputError, with file, line or key, for everything in the data that a person can fix.
    """
    if config.source in PRESETS:
        config = completed(config)
        check_found(config.source, config.path, config.log_file)
    return READERS[config.source](config, seed)


__all__ = [
    "READERS",
    "Catalogue",
    "Dataset",
    "Log",
    "Split",
    "global_time",
    "leave_one_out",
    "leave_positive_out",
    "load_dataset",
    "make_split",
    "split_users",
]
