"""The folders of single checkpoints, without JAX: which there are, whether they are whole, and their scores."""

from pathlib import Path
from typing import Any

from jaxrec.checks import InputError
from jaxrec.storage.digests import DIGESTS, Damaged, check_digests, is_sealed, note_unverified
from jaxrec.storage.files import read_json_object

METRIC, STEP = "return", "step"
SEALED = "sealed"  # in the metrics of a step that is not whole without its digests; earlier versions wrote none
ROWS = "rows"  # in the same metrics: digest of the run's measurements up to the step
UNJUDGED = -1e30  # return of a step that was not evaluated, or not to a number
ASIDE = ".damaged"  # ends the names of what was damaged and is kept
ARRAYS, METRICS = "default", "metrics/metrics"  # in the folder of a step, as Orbax names them
FIX = "delete this checkpoint, or continue from the one before"


def steps_in(folder: Path) -> list[int]:
    """The steps in a folder of checkpoints, oldest first, whole or not."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(int(path.name) for path in found if path.name.isdigit() and path.is_dir())


def read_metrics(where: Path) -> dict[str, Any]:
    """What Orbax's metrics of the step in `where` hold; raises Damaged if it is not whole."""
    if is_sealed(where):
        check_digests(where, FIX)
    try:
        metrics = read_json_object(where / METRICS, FIX)
        float(metrics[METRIC])
    except (InputError, KeyError, TypeError, ValueError) as error:
        raise Damaged(str(error) if isinstance(error, InputError) else f"{where / METRICS}: damaged; {FIX}.") from None
    if not is_sealed(where):
        if SEALED in metrics:
            raise Damaged(f"{where}: not finished, or its {DIGESTS} is missing; {FIX}.")
        note_unverified(where.parent)
    return metrics
