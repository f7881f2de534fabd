import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from jaxrec.storage.array_headers import ArrayHeader, array_headers

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
    assert array_headers(folder) == {
        "params.query.kernel": ArrayHeader((3, 2), np.dtype("float32")),
        "params.query.bias": ArrayHeader((2,), np.dtype("bfloat16")),
        "moments.1.count": ArrayHeader((), np.dtype("int32")),
        "seen": ArrayHeader((4, 1), np.dtype("bool")),
        "keys": ArrayHeader((5, 2), np.dtype("uint32")),
    }


def test_sizes_by_hand() -> None:
    assert ArrayHeader((3, 2), np.dtype("float32")).size == 6 and ArrayHeader((3, 2), np.dtype("float32")).nbytes == 24
    assert ArrayHeader((), np.dtype("bfloat16")).nbytes == 2


def test_a_folder_without_arrays_is_an_error_not_an_empty_answer(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no arrays here"):
        array_headers(tmp_path)


def test_jax_is_not_imported(folder: Path) -> None:
    code = (
        "import sys, pathlib; from jaxrec.storage.array_headers import array_headers; "
        f"array_headers(pathlib.Path({str(folder)!r})); sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
