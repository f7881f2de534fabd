"""Sentences that are made of given pieces of text only: a small grammar, and the automaton of tokens that holds it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from jaxrec.checks import InputError
from jaxrec.language.generate import Automaton
from jaxrec.language.model import LanguageModel

START, END = "start", "end"
MOST_EDGES = 1 << 15


class Piece(NamedTuple):
    """A piece of text that may stand at one place of a sentence and leads to another place."""

    before: str
    text: str
    after: str


Open = frozenset[tuple[tuple[int, ...], str]]  # what may still come: the rest of a piece in tokens, and its place after


def written_at(piece: Piece) -> str:
    """The text of a piece with what parts it from the one before: nothing at the start and before punctuation."""
    return piece.text if piece.before == START or piece.text[0] in ",." else f" {piece.text}"


def automaton(lm: LanguageModel, pieces: Iterable[Piece]) -> Automaton:
    """The tokens that may come next, for sentences from START to END.

    Two pieces may begin with the same tokens, and one may be the beginning of another: a state is the set of all that
    the tokens so far allow. Raises InputError for pieces without a token, and for more than 32,768 edges.
    """
    at: dict[str, list[tuple[tuple[int, ...], str]]] = {}
    for piece in dict.fromkeys(pieces):
        tokens = tuple(lm.encode(written_at(piece), False))
        if not tokens:
            raise InputError(f"{lm.name}: its tokenizer gives no token for a piece of a sentence.")
        at.setdefault(piece.before, []).append((tokens, piece.after))
    states: dict[Open, int] = {frozenset(at.get(START, ())): 0}
    waiting, edges = list(states), []
    for state in waiting:
        for token, after in _steps(state, at).items():
            if after not in states:
                states[after] = len(states)
                waiting.append(after)
            edges.append((states[state], token, states[after]))
        if len(edges) > MOST_EDGES:
            raise InputError(f"{lm.name}: the pieces of a sentence have more than {MOST_EDGES:,} steps; give fewer.")
    source, token, target = zip(*edges, strict=True) if edges else ((), (), ())
    return Automaton(source, token, target)


def _steps(state: Open, at: Mapping[str, Sequence[tuple[tuple[int, ...], str]]]) -> dict[int, Open]:
    """The next tokens after a state, and the states that they lead to."""
    found: dict[int, set[tuple[tuple[int, ...], str]]] = {}
    for (first, *rest), after in sorted(state):
        found.setdefault(first, set()).update([(tuple(rest), after)] if rest else at.get(after, ()))
    return {token: frozenset(one) for token, one in found.items()}
