import dataclasses
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.nets.policy import catalogue_scores
from jaxrec.serve import load_policy
from jaxrec.serve.export import export_policy
from jaxrec.storage.run import RunFolder
from jaxrec.types import Observation
from tests.serve.small_policy import save, small_policy

PROGRAM = """\
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from load import scores
given = np.load(sys.argv[2])
np.save(sys.argv[3], scores(given["items"], given["feedback"]))
assert "jaxrec" not in sys.modules
"""


@pytest.mark.parametrize("encoder", ["profile", pytest.param("transformer", marks=pytest.mark.slow)])
def test_an_exported_policy_has_the_same_scores_in_a_process_without_jaxrec(encoder: str, tmp_path: Path) -> None:
    saved = small_policy(40, list(range(0, 40, 3)), encoder=encoder)
    export_policy(saved, tmp_path / "out")
    draw = np.random.default_rng(0)
    items = draw.integers(-1, 40, (5, 6)).astype(np.int32)
    items = np.sort(items >= 0, axis=1) * (np.abs(items) + 1) - 1  # what is missing comes first
    feedback = (draw.integers(0, 2, (5, 6, 1)) * (items >= 0)[..., None]).astype(np.float32)
    np.savez(tmp_path / "given.npz", items=items, feedback=feedback)
    words = ["-I", "-c", PROGRAM, tmp_path / "out", tmp_path / "given.npz", tmp_path / "got.npy"]
    subprocess.run([sys.executable, *map(str, words)], check=True, cwd=tmp_path)
    obs = Observation(history_items=jnp.asarray(items), history_feedback=jnp.asarray(feedback))
    want = catalogue_scores(saved.policy, saved.params, saved.items, obs, saved.world)
    got = np.load(tmp_path / "got.npy")
    assert got.shape == (5, 40) and np.isinf(got).sum() == np.isinf(want).sum() > 100
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)


def test_policies_that_read_more_than_a_history_are_refused(tmp_path: Path) -> None:
    saved = small_policy(12)
    more = dataclasses.replace(saved, spec=dataclasses.replace(saved.spec, user_size=3))
    with pytest.raises(InputError, match="also read a simulated user's state"):
        export_policy(more, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_export_replaces_an_export_or_an_empty_folder_and_never_a_run(tmp_path: Path) -> None:
    saved = small_policy(12)
    policy = save(saved, tmp_path / "run" / "policy")
    RunFolder(tmp_path / "run").config.write_text("seed: 0\n")
    for target in (policy, policy.parent):
        with pytest.raises(InputError, match="holds something else than an exported policy; name another folder"):
            export_policy(saved, target)
    assert load_policy(policy).ids == saved.ids
    (tmp_path / "out").mkdir()
    for _ in range(2):
        export_policy(saved, tmp_path / "out")
    assert (tmp_path / "out" / "scores.bin").stat().st_size > 0
