"""Commands in the documentation and the help: all are accepted as written, and those of the quick start run."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from jaxrec.cli import examples, main, parse
from jaxrec.config.load import config_of, load_config
from jaxrec.config.schema import Config, EncoderConfig
from jaxrec.runs.sweep_grid import members_of, read_words
from tests.recipes import TINY

ROOT = Path(__file__).parents[2]
PAGES = {
    path.name: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
HELP = {f"{name.lower()} --help": text for name, text in vars(examples).items() if name.isupper()}
# Words that stand for others. The page about pretraining says what its G is.
GRU = '"learner={name: ppo, policy: {encoder: gru, history: 20}}" pretrain.epochs=10 pretrain.dropout=0.3'
STANDS_FOR = {" G ": f" {GRU} "}
OF_PEOPLE = dict.fromkeys(("my.yaml", "my_recipe.yaml", "configs/ppo_shop.yaml"), "your_log")  # recipes of readers
REMARK = re.compile(r"\s{2,}\(.*\)$")  # after a command


def commands(text: str) -> list[str]:
    """The commands in blocks of a page, or in the lines of a help, without remarks."""
    text = text.replace("\\\n", " ")  # a command of several lines
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    blocks = [block for language, block in blocks if not language] if "```" in text or text.startswith("#") else [text]
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    found = [REMARK.sub("", line) for line in lines if re.match(r"(\.venv/bin/)?jaxrec ", line)]
    for short, long in STANDS_FOR.items():
        found = [line.replace(short, long) for line in found]
    return found


def words_of(command: str) -> list[str]:
    words = shlex.split(command, comments=True)[1:]
    return words[: words.index(">>")] if ">>" in words else words  # the rest is for the shell


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the recipes of the project and those that the pages say a reader has."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    for name, like in OF_PEOPLE.items():
        shutil.copy(ROOT / "configs" / f"{like}.yaml", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", [name for name, text in (PAGES | HELP).items() if commands(text)])
def test_every_command_is_accepted_with_its_recipe(page: str, desk: Path) -> None:
    for command in commands((PAGES | HELP)[page]):
        words = words_of(command)
        options = parse(words)
        if words[0] == "sweep":
            grid, overrides, seeds = read_words(options.overrides)
            members_of(options.config, grid, seeds, overrides, options.limit)
        elif words[0] == "embed":
            config_of(EncoderConfig, options.overrides, "encoder")
        elif "overrides" in options:  # evaluate takes those of a run's recipe
            load_config(Config, getattr(options, "config", "configs/demo.yaml"), options.overrides)


def test_pages_have_the_commands_that_are_looked_for() -> None:
    counts = {name: len(commands(text)) for name, text in PAGES.items()}
    assert counts["quickstart.md"] == 8 and counts["your-own-log.md"] == 4 and sum(counts.values()) > 30
    assert {words_of(line)[0] for text in HELP.values() for line in commands(text)} == {
        *("check-data", "train", "sweep", "pretrain", "fit-simulator", "evaluate", "recommend", "embed"),
        *("serve", "serve-report", "export", "tokens", "rank-with-lm", "tune", "distill", "inspect", "bench"),
    }


SHORTER = {"train.updates=400": "train.updates=12", "train.updates=20": "train.updates=4", "=10 ": "=2 "}
BEGUN = "jaxrec train configs/demo.yaml --run runs/demo"  # by the fixture `tiny_run`, with the same words


def of_files(recipe: str, log: Path) -> str:
    """The recipe with a log in a folder in place of the generated one."""
    values = yaml.safe_load(recipe)
    values["data"] = {"source": "files", "item_file": "", "feedback": {"liked": {"column": "liked"}}}
    rows = "".join(f"u{u},i{(7 * u + 3 * n) % 60},{n},{(u + n) % 3 % 2}\n" for u in range(40) for n in range(20))
    log.write_text(f"user,item,time,liked\n{rows}")
    return yaml.safe_dump(values)


def test_the_commands_of_the_quick_start_run(tiny_run: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "demo.yaml").write_text(TINY)
    (tmp_path / "FOLDER").mkdir()
    (tmp_path / "my_recipe.yaml").write_text(of_files(TINY, tmp_path / "FOLDER" / "log.csv"))
    shutil.copytree(tiny_run, tmp_path / "runs" / "demo")
    monkeypatch.chdir(tmp_path)
    for command in commands(PAGES["quickstart.md"]):
        if command == BEGUN:
            continue
        for long, short in SHORTER.items():
            command = command.replace(long, short)
        assert main(words_of(command)) == 0, f"{command}: {capsys.readouterr().err}"
    assert (tmp_path / "runs" / "demo" / "checkpoints" / "12").is_dir()
    assert (tmp_path / "runs" / "first" / "policy").is_dir()
