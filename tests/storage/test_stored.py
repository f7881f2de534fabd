import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from jaxrec.storage.stored import Stored, stored_arrays

STATE = {
    "params": {"query": {"kernel": jnp.zeros((3, 2)), "bias": jnp.zeros(2, jnp.bfloat16)}},
    "moments": [None, {"count": jnp.asarray(1, jnp.int32)}],
    "seen": jnp.zeros((4, 1), bool),
    "keys": jax.random.split(jax.random.key(0), 5),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("arrays") / "state"
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, STATE)
    return path


def test_names_shapes_and_types_are_those_of_the_arrays(folder: Path) -> None:
    assert stored_arrays(folder) == {
        "params.query.kernel": Stored((3, 2), np.dtype("float32")),
        "params.query.bias": Stored((2,), np.dtype("bfloat16")),
        "moments.1.count": Stored((), np.dtype("int32")),
        "seen": Stored((4, 1), np.dtype("bool")),
        "keys": Stored((5, 2), np.dtype("uint32")),
    }


def test_sizes_by_hand() -> None:
    assert Stored((3, 2), np.dtype("float32")).size == 6 and Stored((3, 2), np.dtype("float32")).nbytes == 24
    assert Stored((), np.dtype("bfloat16")).nbytes == 2


def test_a_folder_without_arrays_is_an_error_not_an_empty_answer(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no arrays here"):
        stored_arrays(tmp_path)


def test_jax_is_not_imported(folder: Path) -> None:
    code = (
        "import sys, pathlib; from jaxrec.storage.stored import stored_arrays; "
        f"stored_arrays(pathlib.Path({str(folder)!r})); sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
