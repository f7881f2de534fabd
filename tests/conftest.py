"""Strict arithmetic and eight virtual devices for every test."""

import fcntl
import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Tests compile for most of their time and then compute little, so XLA's optimisation is off. Workers and the processes
# that tests start inherit it.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")

import jax
import pytest

from jaxrec.cli import main
from tests.recipes import TINY, TINY_LAST_ROWS

# Programs that several tests compile are compiled once per run: the workers and the processes that tests start share
# one cache. It is gone afterwards, unless JAXREC_TEST_CACHE names a folder to keep.
CACHE = None if "JAXREC_TEST_CACHE" in os.environ else tempfile.TemporaryDirectory(prefix="jaxrec-compiled-")
if CACHE is not None:
    os.environ["JAXREC_TEST_CACHE"] = CACHE.name  # workers start after this, and inherit it
os.environ["JAX_COMPILATION_CACHE_DIR"] = os.environ["JAXREC_TEST_CACHE"]
os.environ["JAXREC_USER_KEY"] = "of tests only: nobody is hidden by it"  # else the first test would make one at home
jax.config.update("jax_compilation_cache_dir", os.environ["JAXREC_TEST_CACHE"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

MANY_MAPPINGS = 15_000  # of 65,530; one test can add several thousand


LONG_FIRST = ("cli", "runs")  # folders whose files take longest: neither worker is alone with one of them at the end


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files of LONG_FIRST before the others."""
    items.sort(key=lambda item: item.path.parent.name not in LONG_FIRST)


@pytest.fixture(autouse=True)
def few_programs() -> Iterator[None]:
    """Drop the compiled programs after a test, once there are many.

    Each of them holds several memory mappings, and Linux grants a process 65,530 (`vm.max_map_count`). The whole suite
    needs more, and XLA aborts the worker when they run out. The folder of compiled programs makes a new start cheap.
    """
    yield
    mappings = Path("/proc/self/maps")
    if mappings.exists() and mappings.read_text().count("\n") > MANY_MAPPINGS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets, or a skip that says how to provide it."""
    folder = Path(os.environ.get("JAXREC_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; set JAXREC_DATA to the folder that holds ml-latest-small/")
    return folder


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the smallest recipe."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def last_rows_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the smallest recipe of users who answer by the last rows of their history."""
    path = tmp_path_factory.mktemp("recipe") / "last_rows.yaml"
    path.write_text(TINY_LAST_ROWS)
    return path


@pytest.fixture(scope="session")
def tiny_run(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests that change it copy it first. One worker trains it, and each has a copy of its own."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "trained"
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "tiny").exists():
            assert main(["train", str(recipe), "--run", str(shared / "begun")]) == 0
            (shared / "begun").rename(shared / "tiny")
    return Path(shutil.copytree(shared / "tiny", tmp_path_factory.mktemp("runs") / "tiny"))
