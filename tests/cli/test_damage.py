"""Forty ways to damage a run: `--resume` recovers every byte, or says in one line what is wrong and what to do."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from jaxrec.cli import main
from tests.damage import without_digests
from tests.quick import slow_unless

Damage = Callable[[Path], object]


def cut(name: str) -> Damage:
    return lambda run: _write(run / name, lambda content: content[: len(content) // 2])


def emptied(name: str) -> Damage:
    return lambda run: _write(run / name, lambda content: b"")


def flipped(name: str) -> Damage:
    return lambda run: _write(run / name, lambda content: content[:9] + bytes([content[9] ^ 4]) + content[10:])


def gone(name: str) -> Damage:
    def remove(run: Path) -> None:
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return remove


def moved(name: str, to: str) -> Damage:
    return lambda run: (run / name).rename(run / to)


def added(name: str) -> Damage:
    return lambda run: (run / name).write_text("more")


def row(number: int, text: str) -> Damage:
    def change(content: bytes) -> bytes:
        lines = content.splitlines(keepends=True)
        return b"".join([*lines[: number - 1], text.encode(), *lines[number:]])

    return lambda run: _write(run / "metrics.jsonl", change)


def both(*damages: Damage) -> Damage:
    return lambda run: [damage(run) for damage in damages]


def arrays(folder: str, damage: Callable[[str], Damage]) -> Damage:
    """Damage the largest file of a folder of arrays."""

    def change(run: Path) -> None:
        largest = max((run / folder).glob("d/*"), key=lambda path: path.stat().st_size)
        damage(str(largest.relative_to(run)))(run)

    return change


def _write(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


NEWEST, POLICY, USERS = "checkpoints/8", "policy", "simulators"

# A resumed run writes the same bytes as before.
RECOVERED: dict[str, Damage] = {
    "newest checkpoint: arrays cut": arrays(f"{NEWEST}/default", cut),
    "newest checkpoint: arrays flipped": arrays(f"{NEWEST}/default", flipped),
    "newest checkpoint: arrays gone": arrays(f"{NEWEST}/default", gone),
    "newest checkpoint: arrays empty": arrays(f"{NEWEST}/default", emptied),
    "newest checkpoint: no manifest": gone(f"{NEWEST}/default/manifest.ocdbt"),
    "newest checkpoint: no structure": gone(f"{NEWEST}/default/_METADATA"),
    "newest checkpoint: score flipped": flipped(f"{NEWEST}/metrics/metrics"),
    "newest checkpoint: score gone": gone(f"{NEWEST}/metrics"),
    "newest checkpoint: digests gone": gone(f"{NEWEST}/digests.xxh128"),
    "newest checkpoint: digests cut": cut(f"{NEWEST}/digests.xxh128"),
    "newest checkpoint: empty": both(gone(NEWEST), lambda run: (run / NEWEST).mkdir()),
    "newest checkpoint: gone": gone(NEWEST),
    "newest checkpoint: a file added": added(f"{NEWEST}/more"),
    "newest checkpoint: still under its temporary name": moved(NEWEST, "checkpoints/8.orbax-checkpoint-tmp"),
    "checkpoint before: arrays flipped": arrays("checkpoints/4/default", flipped),
    "checkpoint before: gone": gone("checkpoints/4"),
    "policy: gone": gone(POLICY),
    "policy: half": gone(f"{POLICY}/items.json"),
    "policy: arrays gone": gone(f"{POLICY}/arrays"),
    "policy: arrays flipped": arrays(f"{POLICY}/arrays", flipped),
    "policy: arrays cut": arrays(f"{POLICY}/arrays", cut),
    "policy: description flipped": flipped(f"{POLICY}/description.json"),
    "policy: description cut": cut(f"{POLICY}/description.json"),
    "policy: items cut": cut(f"{POLICY}/items.json"),
    "policy: digests gone": gone(f"{POLICY}/digests.xxh128"),
    "policy: a file added": added(f"{POLICY}/more"),
    "policy: between two renames": moved(POLICY, ".policy.old.1.tmp"),
    "policy and newest checkpoint: gone": both(gone(POLICY), gone(NEWEST)),
    "metrics: last row cut": lambda run: _write(run / "metrics.jsonl", lambda content: content + b'{"step": 9, "re'),
    "metrics: rows of a killed process": lambda run: _write(run / "metrics.jsonl", lambda x: x + b'{"step": 9}\n'),
    "simulators: gone": gone(USERS),
    "events: gone": lambda run: [path.unlink() for path in run.glob("events.*")],
}
# One line on standard error, exit code 2.
REFUSED: dict[str, tuple[Damage, str]] = {
    "checkpoints: gone": (gone("checkpoints"), "no whole checkpoint, but timings.jsonl says that one was saved"),
    "checkpoints: all damaged": (
        both(cut("checkpoints/4/metrics/metrics"), cut(f"{NEWEST}/metrics/metrics")),
        "no whole",
    ),
    "simulators: arrays flipped": (arrays(f"{USERS}/train/arrays", flipped), "train/arrays/d/"),
    "simulators: log cut": (cut(f"{USERS}/log.json"), "log.json: damaged"),
    "simulators: split flipped": (flipped(f"{USERS}/users.json"), "users.json: damaged"),
    "simulators: validity flipped": (flipped(f"{USERS}/validity.json"), "validity.json: damaged"),
    "simulators: one gone": (gone(f"{USERS}/judge"), "judge/digests.xxh128: missing"),
    "simulators: digests cut": (cut(f"{USERS}/digests.xxh128"), "digests.xxh128: damaged"),
    "config: gone": (gone("config.yaml"), "config.yaml is missing"),
    "config: cut": (cut("config.yaml"), "config.yaml"),
}
QUICK = {"newest checkpoint: arrays flipped", "policy: gone", "policy: arrays flipped", "policy: between two renames"}


def resumed(run: Path, config: Path) -> int:
    return main(["train", str(config), "--run", str(run), "--resume"])


def content(run: Path) -> dict[str, bytes]:
    """Bytes of what must be as before; Orbax gives files of arrays random names."""
    arrays = [path.read_bytes() for path in run.glob("policy/arrays/_METADATA")]
    names = ("metrics.jsonl", "policy/items.json", "policy/description.json")
    return {name: (run / name).read_bytes() for name in names} | {"arrays": b"".join(arrays)}


def parameters(run: Path) -> list[bytes]:
    import jax
    import numpy as np

    from jaxrec.serve import load_policy

    policy = load_policy(run)
    return [np.asarray(x).tobytes() for x in jax.tree.leaves((policy.params, policy.world))]


@pytest.mark.parametrize("name", slow_unless(QUICK, RECOVERED))
def test_a_damaged_run_recovers_every_byte(name: str, tiny_run: Path, recipe: Path, tmp_path: Path, capsys) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    RECOVERED[name](run)
    assert resumed(run, recipe) == 0
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err + printed.out
    assert content(run) == content(tiny_run) and parameters(run) == parameters(tiny_run)
    if "newest checkpoint: a" in name:  # arrays, and an added file
        assert "warning: checkpoint 8 is not used: " in printed.err and "Checkpoint 4 is used instead." in printed.err
    assert (run / NEWEST).is_dir()


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_recovered_is_one_line(name: str, tiny_run: Path, recipe: Path, tmp_path: Path, capsys) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    damage, says = REFUSED[name]
    damage(run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert resumed(run, recipe) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning: ")]
    assert len(errors) == 1 and says in errors[0], errors
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_there_are_forty_ways() -> None:
    assert len(RECOVERED) + len(REFUSED) >= 40


@pytest.mark.parametrize("damage", slow_unless(["policy: arrays flipped"], ["policy: gone", "policy: arrays flipped"]))
def test_evaluation_makes_a_damaged_policy_again(damage: str, tiny_run: Path, tmp_path: Path, capsys) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    RECOVERED[damage](run)
    assert main(["recommend", str(run), "--history", "1"]) == 2  # it only reads
    assert main(["evaluate", str(run), "evaluate.users=20", "evaluate.baselines=[bias]"]) == 0
    printed = capsys.readouterr()
    assert "It was made again from the best checkpoint." in printed.err
    assert content(run) == content(tiny_run) and parameters(run) == parameters(tiny_run)


def test_evaluation_says_that_no_policy_can_be_made(tiny_run: Path, tmp_path: Path, capsys) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    both(gone("policy"), gone("checkpoints"))(run)
    assert main(["evaluate", str(run)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_a_gap_in_the_metrics_is_named_and_training_continues(tiny_run: Path, recipe: Path, tmp_path: Path, capsys):
    for text in ("", '{"step": 3, "re\n'):
        run = Path(shutil.copytree(tiny_run, tmp_path / f"run{len(text)}"))
        row(3, text)(run)
        assert resumed(run, recipe) == 0
        assert "1 of the rows 1 to 8 are missing or damaged, the first is 3" in capsys.readouterr().err
        steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert steps == [1, 2, 4, 5, 6, 7, 8] and (run / "metrics.jsonl.damaged").is_file()


@pytest.mark.slow
def test_a_run_of_an_earlier_version_resumes_without_digests(tiny_run: Path, recipe: Path, tmp_path: Path) -> None:
    run = without_digests(Path(shutil.copytree(tiny_run, tmp_path / "run")))
    assert resumed(run, recipe) == 0 and parameters(run) == parameters(tiny_run)
