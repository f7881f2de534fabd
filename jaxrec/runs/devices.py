"""A description of the devices of a run."""

import jax


def describe_devices() -> str:
    """For instance '1 x cpu, jax 0.10.2'."""
    devices = jax.devices()
    several = f" in {jax.process_count()} processes" if jax.process_count() > 1 else ""
    return f"{len(devices)} x {devices[0].device_kind}{several}, jax {jax.__version__}"
