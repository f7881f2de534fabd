"""The models of golden/ and how far a function is from what PyTorch gave for them."""

import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrec.encoder import Encoder, load_encoder

GOLDEN = Path(__file__).parent / "golden"
FAMILIES = sorted(path.name for path in GOLDEN.iterdir() if (path / "reference.npz").is_file())


def tolerance(family: str) -> float:
    return 1e-5 if family == "tiny_bert" else 1e-4


@functools.cache
def load_golden(name: str) -> Encoder:
    """A model of golden/ that several tests read."""
    return load_encoder(GOLDEN / name, max_length=24)


@functools.cache
def reference(name: str) -> dict[str, np.ndarray]:
    """ids, mask [3, 24] and hidden [3, 24, 32] of the PyTorch implementation."""
    with np.load(GOLDEN / name / "reference.npz") as stored:
        return dict(stored)


@functools.cache
def quick(apply) -> Any:
    """Compiled without optimisation: twice as fast as compiling well, for programs that run once."""
    return jax.jit(apply, compiler_options={"xla_backend_optimization_level": 0})


def error(name: str, apply, params, key: str = "hidden") -> float:
    """Largest difference to the reference of `name` at tokens; what stands at padding is nobody's business."""
    want = reference(name)
    hidden = quick(apply)(params, want["ids"], want["mask"])
    return float(np.abs((np.asarray(hidden) - want[key])[want["mask"] > 0]).max())
