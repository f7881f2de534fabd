"""Reasons in the words of a language model, which chooses among sentences that say what is known and nothing else.

The prompt has the evidence of a reason: items of the history that moved the score, and what they share with the item.
The model's choice of tokens is held to a small grammar of pieces (`sentence_pieces`), which contain these titles and
facts. What comes out is checked again (`words_check.fault`); a sentence that fails leaves the one of `reasons.py`.
"""

import dataclasses
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

from jaxrec.foreign import HIDDEN
from jaxrec.language import Decoding, LanguageModel, generate
from jaxrec.language.pieces import END, START, Piece, automaton
from jaxrec.serve.reasons import LANGUAGE_MODEL, Influence, Reason
from jaxrec.serve.words_check import FUNCTION_WORDS, Evidence, fault, normalised, shared_words

LONGEST_TITLE, LONGEST_FACT = 80, 30  # characters of what is named
MOST_FACTS, FACT_WORDS = 2, 3
NEW_TOKENS = 128  # of a sentence; two titles of 80 characters are about 60 in English
SHORTER = "take a model that reads more"
_ARTICLE = re.compile(r"(.+), (The|A|An)((?: \([^()]*\))*)")
_REMARKS = re.compile(r"(?: \([^()]*\))+$")
_NUMBER = re.compile(r"[\d\W_]+")

INSTRUCTION = "You tell a user in one short sentence why something is recommended. Use only the facts that are given."
# Made-up cases of several kinds of shops. Their titles and facts cannot come into a sentence, which has its own.
EXAMPLES = (
    (
        Evidence("Abbey Road", (("Rumours",), ("Hotel California",)), True, (), ()),
        "You liked Rumours and Hotel California, so this may be for you.",
    ),
    (
        Evidence("Dracula", (("Frankenstein",),), True, ("horror",), ()),
        "Because you liked Frankenstein, you may enjoy this for more horror.",
    ),
    (
        Evidence("Trail Boots", (("Summit Rain Jacket",),), True, ("hiking",), ()),
        "You may like this because you liked Summit Rain Jacket, another hiking pick.",
    ),
)


def in_words(lm: LanguageModel, reasons: Sequence[Reason], texts: Mapping[str, str]) -> list[Reason]:
    """Reasons with sentences by a language model where it has something to say and the check finds no fault.

    `texts` are those of the items by their ids. The others keep the sentence of the template, and `sentence_by` says
    which it is. Raises InputError for prompts that are longer than the model reads.
    """
    known = [evidence(reason, texts, special_texts(lm)) for reason in reasons]
    rows = [row for row, one in enumerate(known) if one is not None]
    cases = [one for one in known if one is not None]
    found = list(reasons)
    if not cases:
        return found
    automata = [automaton(lm, sentence_pieces(one)) for one in cases]
    prompts = [prompt(lm, one) for one in cases]
    written = generate(lm, prompts, Decoding(new_tokens=NEW_TOKENS), stop=(), automata=automata, advice=SHORTER)
    for row, one, text in zip(rows, cases, written, strict=True):
        sentence = " ".join(lm.decode(text.ids).split())
        if text.whole and fault(sentence, one) is None:
            found[row] = dataclasses.replace(found[row], sentence=sentence, sentence_by=LANGUAGE_MODEL)
    return found


def evidence(reason: Reason, texts: Mapping[str, str], hidden: Sequence[str] = ()) -> Evidence | None:
    """What a sentence may say; None if nothing that can be named moved the score, or the title is too long.

    Of two items, only liked ones are named if there are any, and only the first with a fact if they share none.
    `hidden` are texts that have a meaning of their own for the model.
    """
    able = [one for one in reason.because if 0 < len(clean(one.title, hidden)) <= LONGEST_TITLE]
    able = [one for one in able if one.positive] or able
    if not able or len(clean(reason.title, hidden)) > LONGEST_TITLE:
        return None
    own = f"{reason.title}\n{texts.get(reason.id, '')}"

    def case(named: Sequence[Influence]) -> Evidence:
        read = (own, *(f"{one.title}\n{texts.get(one.id, '')}" for one in named))
        seen = shared_words([reason.title, *(one.title for one in named)])
        facts = [one for one in _facts(named, read) if not set(normalised(one)) <= seen]
        titles = tuple(ways(clean(one.title, hidden)) for one in named)
        return Evidence(clean(reason.title, hidden), titles, named[0].positive, tuple(facts[:MOST_FACTS]), read)

    cases = [case(able), *(case([one]) for one in able)]
    return next((one for one in cases if one.facts), cases[0])


def clean(title: str, hidden: Sequence[str] = ()) -> str:
    """A title as one line of visible characters, with its article in front: 'Matrix, The (1999)' is 'The Matrix'."""
    for one in hidden:
        title = title.replace(one, " ")
    title = " ".join(HIDDEN.sub(" ", title).split())
    found = _ARTICLE.fullmatch(title)
    return f"{found[2]} {found[1]}{found[3]}" if found else title


def ways(title: str) -> tuple[str, ...]:
    """A title, and the title without remarks in brackets at its end."""
    return tuple(dict.fromkeys((title, _REMARKS.sub("", title))))


def special_texts(lm: LanguageModel) -> list[str]:
    """Texts that a tokenizer reads as signs of its own, such as the end of a message."""
    return [one.content for one in lm.tokenizer.get_added_tokens_decoder().values() if one.special]


def _facts(named: Sequence[Influence], texts: Sequence[str]) -> Iterator[str]:
    """Words and categories that all named items share with the recommended one, neighbours as one phrase."""
    words = [word for word in named[0].words if all(_has(one.words, word) for one in named)]
    read = [" ".join(unicodedata.normalize("NFC", text).casefold().split()) for text in texts]
    while words:
        phrase = words.pop(0)
        for other in (*words, *words):
            pairs = (f"{phrase} {other}", f"{other} {phrase}")
            joined = next((one for one in pairs if all(_contains(text, one.casefold()) for text in read)), None)
            if joined and other in words:
                words.remove(other)
                phrase = joined
        if _sayable(phrase) and any(_is_entry(text, phrase) for text in texts):
            yield phrase
    for category in named[0].categories:
        value = " ".join(category.rpartition(" (")[0].split())
        if all(category in one.categories for one in named) and _sayable(value):
            yield value


def _contains(text: str, phrase: str) -> bool:
    """Whether the words of a phrase are in a text next to each other, with nothing but a space between them."""
    return re.search(rf"(?<![^\W_]){re.escape(phrase)}(?![^\W_])", text) is not None


def _is_entry(text: str, phrase: str) -> bool:
    """Whether a phrase is an entry of its own in a list, as in tags: “black” of “black hole” may mean anything."""
    entries = re.split(r"[,.;:|/()\n]+", unicodedata.normalize("NFC", text).casefold())
    return phrase.casefold() in (entry.strip() for entry in entries)


def _has(words: Sequence[str], word: str) -> bool:
    return word.casefold() in (one.casefold() for one in words)


def _sayable(fact: str) -> bool:
    """A few plain words that are no number, and say more than the words of every sentence."""
    words = normalised(fact)
    short = 0 < len(words) <= FACT_WORDS and len(fact) <= LONGEST_FACT and fact.split() == re.findall(r"[\w'’-]+", fact)
    return short and not any(_NUMBER.fullmatch(word) for word in words) and not set(words) <= FUNCTION_WORDS


def sentence_pieces(known: Evidence) -> list[Piece]:
    """The grammar of the sentences about one item; with a fact, a sentence has one."""
    lists = [" and ".join(titles) for titles in zip(*((one[0], one[-1]) for one in known.named), strict=True)]
    lists = list(dict.fromkeys(lists))
    if known.liked:
        past = [f"you {verb} {names}" for verb in ("liked", "enjoyed") for names in lists]
    else:
        past = [f"you have {names} in your history" for names in lists]
    adverbs = ("", "also ")
    table = [
        (START, ("Because", "Since", "As"), "front"),
        ("front", past, "front past"),
        ("front past", (",",), "claim"),
        (START, [one[0].upper() + one[1:] for one in past], "past"),
        ("past", (", so",), "claim"),
        ("claim", ("you may", "you might"), "verb"),
        ("claim", ("this may suit you", "this may be for you"), "last claim"),
        ("verb", [f"{also}{verb} this" for also in adverbs for verb in ("like", "enjoy")], "last claim"),
        (START, ("You may like this", "You may enjoy this", "This may suit you", "This may be for you"), "first claim"),
        ("first claim", ("because", "since", "as"), "back"),
        ("back", past, "last past"),
        ("done", (".",), END),
    ]
    facts = _written(known.facts)
    if not facts:
        table += [("last claim", (".",), END), ("last past", (".",), END)]
    another = [f", another {fact} pick" for fact in facts]
    more = [frame.format(fact) for fact in facts for frame in ("for more {}", "for its {}", "with {} in common")]
    table += [("last claim", [*more, *another], "done"), ("last past", another, "done")]
    return [Piece(before, text, after) for before, texts, after in table for text in texts]


def _written(facts: Sequence[str]) -> list[str]:
    """Ways to write the facts: each as it is and in small letters, and two of them together."""
    small = [fact.lower() if fact[1:].islower() else fact for fact in facts]
    return list(dict.fromkeys([*facts, *small, *([" and ".join(small)] if len(small) > 1 else [])]))


def prompt(lm: LanguageModel, known: Evidence) -> list[int]:
    """Token ids of the instruction, the examples and the case, by the chat template if the model has one."""
    if not lm.has_chat:
        cases = [f"{asked(one)}\nSentence:\n{answer}\n\n" for one, answer in EXAMPLES]
        return lm.encode(f"{INSTRUCTION}\n\n{''.join(cases)}{asked(known)}\nSentence:\n")
    messages = []
    for one, answer in EXAMPLES:
        messages += [{"role": "user", "content": asked(one)}, {"role": "assistant", "content": answer}]
    messages.append({"role": "user", "content": asked(known)})
    messages[0]["content"] = f"{INSTRUCTION}\n\n{messages[0]['content']}"  # not every template has a system's message
    return lm.encode(lm.chat(messages), False)


def asked(known: Evidence) -> str:
    """The evidence as lines of a prompt."""
    names = " and ".join(one[0] for one in known.named)
    lines = [f"Recommended: {known.item}", f"{'The user liked' if known.liked else 'In the history'}: {names}"]
    return "\n".join([*lines, *([f"In common: {', '.join(known.facts)}"] if known.facts else [])])
