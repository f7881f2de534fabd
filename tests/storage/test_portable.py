import json
import random
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from jaxrec.checks import InputError
from jaxrec.storage.portable import VERSION, load_portable, read_description, save_portable
from tests.damage import flip_bit, without_digests

ARRAYS = {
    "params": {"query": {"kernel": jnp.arange(6, dtype=jnp.float32).reshape(2, 3)}, "bias": np.ones(3)},
    "ids": jnp.array([3, 1, 2], jnp.int32),
    "table": jnp.array([1.5, -2.25], jnp.bfloat16),
    "count": jnp.asarray(4),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_portable(tmp_path / "policy", "policy", ARRAYS, {"names": ["liked"], "width": 3})
    return tmp_path / "policy"


def refuses(folder: Path, kind: str = "policy") -> str:
    with pytest.raises(InputError) as caught:
        load_portable(folder, kind)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
    return str(caught.value)


def test_arrays_and_description_come_back_as_they_were(folder: Path) -> None:
    arrays, description = load_portable(folder, "policy")
    assert description == {"kind": "policy", "version": VERSION, "names": ["liked"], "width": 3}
    assert jax.tree.structure(arrays) == jax.tree.structure(ARRAYS)
    for got, want in zip(jax.tree.leaves(arrays), jax.tree.leaves(ARRAYS), strict=True):
        assert isinstance(got, np.ndarray) and got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


def test_the_arrays_open_without_jaxrec_and_without_a_target(folder: Path) -> None:
    with ocp.StandardCheckpointer() as checkpointer:
        arrays = checkpointer.restore(folder.absolute() / "arrays")
    np.testing.assert_array_equal(arrays["params"]["query"]["kernel"], [[0, 1, 2], [3, 4, 5]])


def test_saving_again_replaces_the_folder_and_leaves_nothing_beside_it(folder: Path) -> None:
    save_portable(folder, "policy", {"x": jnp.zeros(2)}, {})
    arrays, _ = load_portable(folder, "policy")
    assert list(arrays) == ["x"] and [path.name for path in folder.parent.iterdir()] == ["policy"]


def test_a_folder_of_the_user_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "text.md").write_text("years of work")
    with pytest.raises(InputError, match="already exists, and jaxrec did not write it"):
        save_portable(tmp_path, "policy", ARRAYS, {})
    assert [path.name for path in tmp_path.iterdir()] == ["text.md"]


def test_a_folder_of_an_earlier_version_loads_after_a_note(folder: Path, capsys: pytest.CaptureFixture) -> None:
    without_digests(folder)
    for _ in range(2):
        load_portable(folder, "policy")
    note = f"{folder}: written by an earlier version without digests; not verified\n"
    assert capsys.readouterr().err == note


def test_a_save_that_fails_leaves_the_old_folder(folder: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_portable(folder, "policy", {"x": jnp.zeros(2)}, {"score": float("nan")})
    assert read_description(folder, "policy")["width"] == 3
    assert [path.name for path in folder.parent.iterdir()] == ["policy"]


def test_another_kind_is_refused(folder: Path) -> None:
    assert "holds a policy, expected a simulator" in refuses(folder, "simulator")


def test_another_version_is_refused(folder: Path) -> None:
    path = without_digests(folder) / "description.json"
    path.write_text(json.dumps({"kind": "policy", "version": VERSION + 1}))
    assert f"version {VERSION + 1} of the format, expected {VERSION}" in refuses(folder)


@pytest.mark.parametrize("text", ["", "{", '{"kind": "policy"}', "[1]", "3", "null", '{"kind":\n "policy",\n oops}'])
def test_a_damaged_description_is_refused(folder: Path, text: str) -> None:
    (without_digests(folder) / "description.json").write_text(text)
    assert "description.json: damaged" in refuses(folder)


def test_a_folder_without_a_description_and_no_folder_are_refused(folder: Path) -> None:
    (folder / "description.json").unlink()
    assert "no saved policy here (description.json is missing)" in refuses(folder)
    assert "no saved policy here" in refuses(folder / "nowhere")


@pytest.mark.parametrize("damage", ["missing", "no manifest", "cut short"])
def test_damaged_arrays_of_an_earlier_version_are_refused(folder: Path, damage: str) -> None:
    arrays = without_digests(folder) / "arrays"
    if damage == "missing":
        arrays.rename(folder / "elsewhere")
    elif damage == "no manifest":
        (arrays / "manifest.ocdbt").unlink()
    else:
        for path in arrays.rglob("d/*"):
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "arrays: unreadable" in refuses(folder)


def test_one_flipped_bit_is_refused_in_any_file(folder: Path) -> None:
    rng = random.Random(0)
    files = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
    assert {"manifest.ocdbt", "_METADATA", "description.json", "digests.xxh128"} <= {path.name for path in files}
    for path in [path for path in files for _ in range(3)]:
        whole = path.read_bytes()
        flip_bit(path, rng)
        assert str(path) in refuses(folder)
        path.write_bytes(whole)
    load_portable(folder, "policy")


def test_a_missing_and_an_added_file_are_refused(folder: Path) -> None:
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        path.unlink()
        assert "missing" in refuses(folder)
        path.write_bytes(whole)
    (folder / "arrays" / "d" / "more").touch()
    assert "arrays/d/more: not among the files of digests.xxh128; remove it, or" in refuses(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    for name, x in {"single": np.array([1.0, value]), "half": jnp.array([value, 1.0], jnp.bfloat16)}.items():
        save_portable(tmp_path / "folder", "vectors", {"deep": {name: x}}, {})
        with pytest.raises(InputError, match=f"deep.{name} holds numbers that are not finite"):
            load_portable(tmp_path / "folder", "vectors")


@pytest.mark.parametrize("name", ["a[1]b", "q?b", "st*r"])
def test_a_path_that_orbax_reads_as_a_pattern_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="arrays cannot be saved under a path with") as caught:
        save_portable(tmp_path / name / "policy", "policy", ARRAYS, {})
    assert "\n" not in str(caught.value) and not list(tmp_path.rglob("*.*"))


def test_a_folder_moved_to_such_a_path_opens(folder: Path, tmp_path: Path) -> None:
    moved = Path(folder.rename(tmp_path / "run [best]"))
    assert load_portable(moved, "policy")[1]["width"] == 3
