"""A description of the devices of a run."""

import jax


def describe_devices() -> str:
    """For instance '1 x cpu, jax 0.10.2'."""
    devices = jax.devices()
    return f"{len(devices)} x {devices[0].device_kind}, jax {jax.__version__}"
