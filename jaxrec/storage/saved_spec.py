"""The environment's sizes in `policy/description.json`, as any version wrote them. Imports no JAX."""

from typing import Any


def saved_spec(description: dict[str, Any]) -> dict[str, Any]:
    """The spec of a saved policy, with its `action`; earlier versions had slates only, and a `slate_size`."""
    spec = dict(description["spec"])
    if "slate_size" in spec:
        spec["action"] = {"name": "slate", "size": spec.pop("slate_size")}
    return spec
