"""Open what a run holds, be it a policy or a generator."""

from pathlib import Path

from jaxrec.checks import InputError
from jaxrec.generate.saved import GENERATOR, load_generator
from jaxrec.serve import SavedPolicy, load_policy
from jaxrec.serve.generator import GenerativePolicy
from jaxrec.storage.files import read_json_object


def generator_in(path: str | Path) -> GenerativePolicy | None:
    """The generator in a run folder or its `policy/` folder; None if it holds something else."""
    folder = Path(path)
    folder = folder / "policy" if (folder / "policy").is_dir() else folder
    description = folder / "description.json"
    try:
        kind = read_json_object(description, "train it again").get("kind") if description.is_file() else None
    except InputError:  # damaged: whoever opens the folder as a policy says how
        return None
    return GenerativePolicy(load_generator(folder)) if kind == GENERATOR else None


def open_policy(path: str | Path) -> SavedPolicy | GenerativePolicy:
    """The policy or the generator of a run; raises InputError if there is none or it is damaged."""
    return generator_in(path) or load_policy(path)
