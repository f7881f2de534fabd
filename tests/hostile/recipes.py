"""Hostile recipes and overrides: YAML that grows, nests, lies about types or holds what cannot be printed."""

from collections.abc import Callable

from tests.hostile.frame import Hostile, Place

TRAIN = "train {recipe} --run {out}/run"
ENV = "env: {name: interest_evolution}\n"


def recipe(content: str | bytes) -> Callable[[Place], None]:
    return lambda place: place.write("in/recipe.yaml", content) and None


def _bomb(levels: int, width: int = 9) -> str:
    """Aliases of aliases: a few hundred bytes that stand for width ** levels values."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * width)}]" for n in range(levels)]
    return "\n".join(lines) + "\n"


def _merges(levels: int) -> str:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n + 1}: &a{n + 1} {{<<: [{', '.join([f'*a{n}'] * 9)}]}}" for n in range(levels)]
    return "\n".join(lines) + "\n"


def _bad(name: str, content: str | bytes, *wants: str) -> Hostile:
    return Hostile(f"YAML: {name}", TRAIN, recipe(content), ("recipe.yaml", *wants))


def _field(name: str, value: str, *wants: str) -> Hostile:
    """A value of a field, in a recipe that is fine otherwise."""
    section, _, field = name.partition(".")
    text = f"{section}: {value}\n" if not field else f"{section}: {{{field}: {value}}}\n"
    return Hostile(f"YAML: {name}={value[:40]!r}", TRAIN, recipe(ENV + text), (name, *wants))


def _override(name: str, word: str, *wants: str) -> Hostile:
    return Hostile(f"override: {name}", ("train", "{recipe}", "--run", "{out}/run", word), recipe(ENV), wants)


GROWTH = (
    _bad("aliases of aliases, ten to the eighth values", _bomb(8), "values"),
    _bad("aliases of aliases, ten to the thirtieth values", _bomb(31), "values"),
    _bad("aliases just within the depth of nothing", ENV + "train: &a {updates: *a}\n", "stands for something"),
    _bad("a list that holds itself", "env: &a [*a]\n", "stands for something"),
    _bad("merges of merges", _merges(7), "values"),
    _bad("an alias of nothing", "env: *nowhere\n", "not valid YAML"),
    _bad("100,000 open lists", "[" * 100_000, "levels"),
    _bad("100,000 open sections", "{a: " * 60_000, "levels"),
    _bad("levels by indentation", "\n".join(" " * n + "a:" for n in range(600)), "levels"),
    _bad("100,000 dashes", "- " * 100_000, "levels"),
    _bad("30,000 keys", "".join(f"k{n}: 1\n" for n in range(30_000))[:250_000], ""),
    _bad("a value of 100,000 letters", "env: " + "x" * 100_000, "characters"),
    _bad("a key of 100,000 letters", "x" * 100_000 + ": 1\n", ""),
    _bad("a quoted key of 15,000 letters", '"' + "x" * 15_000 + '": 1\n', ""),
    _bad("a megabyte of comments", "# nothing\n" * 120_000, "bytes"),
    _bad("a megabyte without a line break", "a" * 1_200_000, "bytes"),
    _bad("a number of 5,000 digits", ENV + f"seed: {'9' * 5000}\n", "a number of 5,000 characters"),
    _bad("a number of 5,000 digits in base 16", ENV + f"seed: 0x{'f' * 5000}\n", "a number of"),
    _bad("a number in base 60", ENV + f"seed: {'1:' + '59:' * 2000}59\n", "a number of"),
    _bad("a fraction of 5,000 digits", ENV + f"learner: {{learning_rate: 0.{'1' * 5000}}}\n", "a number of"),
)
TYPES = (
    _bad("!!int abc", ENV + "seed: !!int abc\n", "line 2", "'abc' is no int"),
    _bad("!!float abc", ENV + "seed: !!float abc\n", "line 2", "is no float"),
    _bad("!!bool maybe", ENV + "seed: !!bool maybe\n", "is no bool"),
    _bad("!!timestamp 2024-99-99", ENV + "seed: !!timestamp 2024-99-99\n", "is no timestamp"),
    _bad("!!timestamp abc", ENV + "seed: !!timestamp abc\n", "is no timestamp"),
    _bad("!!binary ???", ENV + "seed: !!binary '???'\n", "seed"),
    _bad("!!set", ENV + "train: !!set {updates}\n", "train"),
    _bad("!!omap", ENV + "train: !!omap [updates: 3]\n", "train"),
    _bad("!!pairs", ENV + "train: !!pairs [updates: 3]\n", "train"),
    _bad("!!omap of a word", ENV + "train: !!omap x\n", ""),
    _bad("!!python/object", "env: !!python/object/apply:os.system ['touch pwned']\n", "not valid YAML"),
    _bad("!!python/name", "env: !!python/name:os.system\n", "not valid YAML"),
    _bad("a tag of somebody", "env: !mine x\n", "not valid YAML"),
    _bad("a list as a key", "? [a, b]\n: 1\n", ""),
    _bad("a mapping as a key", "{{a: 1}: 2}\n", ""),
    _bad("a number as a key", "1: 2\n", "no field 1"),
    _bad("null as a key", "null: 2\n", "no field None"),
    _bad("a date as a key", "2024-01-01: 2\n", "no field '2024-01-01'"),
    _bad("a huge number as a key", f"{'9' * 60}: 2\n", "no field"),
    _bad("the same key twice", "env: {name: logged, name: sardine}\n", "'name' is given twice"),
    _bad("two documents", ENV + "---\n" + ENV, "not valid YAML"),
    _bad("a list at the top", "- env\n", "expected sections"),
    _bad("a word at the top", "hello\n", "expected sections"),
    _bad("a tab for indentation", "env:\n\tname: logged\n", "line 2", "not valid YAML"),
    _bad("a quote that never ends", 'env: "logged\n', "not valid YAML"),
    _bad("a directive of another version", "%YAML 9.9\n---\nenv: 1\n", ""),
    _bad("text in UTF-16", ENV.encode("utf-16"), "cannot be read as text"),
    _bad("half of a UTF-8 character", b"env: {name: \xc3}\n", "cannot be read as text"),
    _bad("a NUL", b"env: {name: a\x00b}\n", "not valid YAML"),
    _bad("an escape sequence", b"env: {name: \x1b[2Jx}\n", "not valid YAML"),
    _bad("an escaped escape sequence", 'env: {name: "\\e[2J\\a"}\n', "\\x1b[2J\\x07"),
    _bad("an escaped NUL in a path", ENV + 'encoder: {model: "a\\0b"}\n', "encoder.model"),
    _bad("half of an escaped character", ENV + 'encoder: {model: "\\ud800"}\n', "encoder.model"),
    _bad("an override of direction", 'env: {name: "\\u202egol"}\n', "\\u202e"),
    _bad("20 levels of a field", ENV + "train: " + "[" * 20 + "1" + "]" * 20 + "\n", "train"),
    Hostile("YAML: a folder as recipe", "train {near} --run {out}/run", recipe(ENV), ("cannot be read as text",)),
    Hostile("YAML: a device as recipe", "train /dev/zero --run {out}/run", recipe(ENV), ("pipe or a device",)),
    Hostile("YAML: random bytes", "train /dev/urandom --run {out}/run", recipe(ENV), ("pipe or a device",)),
    Hostile("YAML: a recipe of a long name", f"train {'x' * 300}.yaml --run {{out}}/run", recipe(ENV), ("too long",)),
    Hostile(
        "YAML: a recipe in a long path", f"train {'d/' * 3000}x.yaml --run {{out}}/run", recipe(ENV), ("too long",)
    ),
)
VALUES = (
    _field("seed", "2024-01-01", "'2024-01-01'"),
    _field("seed", "100000000000000000000000000000", "at most"),
    _field("seed", "-99999999999999999999999", "at most"),
    _field("seed", "1.5", "a whole number"),
    _field("seed", "[1, 2]", "a whole number"),
    _field("seed", "yes", "a whole number"),
    _field("seed", "{a: {b: {c: {d: 1}}}}", "a whole number"),
    _field("seed", "'" + "9" * 3000 + "'", "3,000 characters"),
    _field("seed", "[" + "1, " * 9000 + "1]", "a whole number"),
    _field("train.updates", ".inf", "a whole number"),
    _field("train.updates", ".nan", "a whole number"),
    _field("train.updates", "-1", "at least"),
    _field("learner.learning_rate", "1e999", "above 0"),
    _field("learner.gamma", "-.inf", "at least 0"),
    _field("learner.policy", "{layers: 1000000000}", "at most"),
    _field("learner.policy", "{width: 1000000000000}", "at most"),
    _field("learner.policy", "{hidden: [1000000000000]}", "at most"),
    _field("learner.policy", f"{{hidden: [{'1, ' * 5000}1]}}", "at most 100 layers"),
    _field("env", "3", "env"),
    _field("encoder.model", "{a: 1}", "text"),
)
OVERRIDES = (
    _override("aliases", "train=&a [*a]", "stands for something"),
    _override("nesting", "train.updates=" + "[" * 5000, "levels"),
    _override("a tag", "seed=!!int abc", "is no int"),
    _override("python", "seed=!!python/object/apply:os.system [id]", "not valid YAML"),
    _override("a long number", "seed=" + "9" * 5000, "number of 5,000 characters"),
    _override("a long name", "x" * 50_000 + "=1", "characters"),
    _override("many parts", "a." * 20_000 + "b=1", ""),
    _override("no name", "=1", "expected section.key=value"),
    _override("an escape sequence", "seed=\x1b]0;owned\x07", "not valid YAML"),
    _override("a section of a value", "seed.a.b=1", ""),
)
RECIPES = (*GROWTH, *TYPES, *VALUES, *OVERRIDES)
