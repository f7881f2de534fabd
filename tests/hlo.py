"""Collectives of a compiled program, read from its text."""

import re
from itertools import pairwise

Computation = dict[str, str]  # what each instruction does, by its name

HEAD = re.compile(r"(?:ENTRY )?%?([\w.-]+) \(.*->.*\{$")
INSTRUCTION = re.compile(r"\s+(?:ROOT )?%([\w.-]+) = (.*)")


def computations(text: str) -> dict[str, Computation]:
    """The computations of a program, such as the bodies of its loops, by name."""
    found: dict[str, Computation] = {}
    body: Computation = {}
    for line in text.splitlines():
        if head := HEAD.match(line):
            body = found.setdefault(head[1], {})
        elif one := INSTRUCTION.match(line):
            body[one[1]] = one[2].split(", metadata=")[0]
    return found


def all_reduces(body: Computation) -> list[str]:
    """Names of the all-reduces of a computation, in its order."""
    return [name for name, does in body.items() if re.search(r" all-reduce(-start)?\(", does)]


def reads(body: Computation, name: str) -> set[str]:
    """Names of all instructions whose results an instruction needs, through others as well."""
    seen, ahead = set(), [name]
    while ahead:
        for operand in re.findall(r"%([\w.-]+)", body[ahead.pop()]):
            if operand in body and operand not in seen:
                seen.add(operand)
                ahead.append(operand)
    return seen


def could_be_one(body: Computation) -> list[tuple[str, str]]:
    """Pairs of all-reduces that follow each other although the later one does not need the earlier one."""
    return [(one, other) for one, other in pairwise(all_reduces(body)) if one not in reads(body, other)]
