"""Describe folders of semantic ids and of generators. Reads no arrays and imports no JAX."""

from pathlib import Path
from typing import Any

from jaxrec.runs.half_written import folder_bytes
from jaxrec.storage.array_headers import array_headers
from jaxrec.storage.stage_folders import GENERATOR, TOKENS


def describe_tokens(folder: Path, description: dict[str, Any]) -> dict[str, Any]:
    """Describe a folder of `jaxrec tokens`."""
    report, settings = description["report"], description["settings"]
    return {
        "kind": TOKENS,
        "path": str(folder),
        "version": description["version"],
        "method": settings["method"],
        "sizes": list(description["sizes"]),
        "items": report["items"],
        "error": report["error"],
        "levels": report["levels"],
        "collisions": report["collisions"],
        "bytes_on_disk": folder_bytes(folder),
    }


def describe_generator(folder: Path, description: dict[str, Any]) -> dict[str, Any]:
    """Describe the `policy/` folder of a run of `jaxrec pretrain` with `pretrain.model: generative`."""
    arrays = array_headers(folder / "arrays")
    params = {name.removeprefix("params."): x for name, x in arrays.items() if name.startswith("params.")}
    return {
        "kind": GENERATOR,
        "path": str(folder),
        "version": description["version"],
        "step": description["step"],
        "network": description["network"],
        "rows": description["rows"],
        "beams": description["beams"],
        "items": arrays["codes"].shape[0],
        "recommendable": arrays["recommendable"].size,
        "parameters": sum(x.size for x in params.values()),
        "arrays": {name: {"shape": list(x.shape), "dtype": x.dtype.name} for name, x in params.items()},
        "bytes_on_disk": folder_bytes(folder),
    }
