"""How Orbax works when several processes train together."""

from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint._src.futures.synchronization import OperationIdGenerator

from jaxrec import processes


def alone() -> ocp.StandardCheckpointer:
    """A checkpointer of this process alone, which waits for no other one."""
    if processes.count() == 1:
        return ocp.StandardCheckpointer()
    mine = processes.number()
    options = ocp.options.MultiprocessingOptions(primary_host=mine, active_processes={mine})
    return ocp.StandardCheckpointer(multiprocessing_options=options)


def of_all() -> dict[str, Any]:
    """Options of a manager in which all processes take part; its barriers are not on the devices, which are busy."""
    if processes.count() == 1:
        return {}
    everyone = set(range(jax.process_count()))
    return {
        "create": False,
        "multiprocessing_options": ocp.options.MultiprocessingOptions(active_processes=everyone),
    }


def same_number() -> None:
    """Give the next save the same number in all processes: the first one has saved policies and users alone.

    By this number the threads of a save find each other.
    """
    if processes.count() == 1:
        return
    wanted = processes.from_first(lambda: int(OperationIdGenerator.get_current_operation_id()))
    while int(OperationIdGenerator.get_current_operation_id()) < wanted:
        OperationIdGenerator.next_operation_id()
