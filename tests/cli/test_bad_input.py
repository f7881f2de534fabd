"""What a person can get wrong: one line with what, where, wanted and the way out; nothing half-written.

Faults of logs and item tables have a list of their own in tests/data/test_bad_input.py.
"""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jaxrec.cli import main
from jaxrec.data.pseudonyms import VARIABLE
from tests.damage import without_digests
from tests.recipes import TINY_ENCODER

LOG = "user,item,time,liked\n" + "".join(f"u{u},i{i},{u + i},{(u + i) % 2}\n" for u in range(6) for i in range(30))
CSV = """\
data:
  {source: files, path: DATA, item_file: "", user_key_file: DATA/user.key, feedback: {liked: {column: liked}}}
encoder: {model: ENCODER, max_length: 32, cache_dir: ""}
response: {history_length: 4, width: 8, heads: 2, epochs: 1}
env: {name: logged, slate_size: 2, requests: 2}
"""


@dataclasses.dataclass(frozen=True)
class BadInput:
    name: str
    command: str  # words; RUN, RECIPE, CSV and BAD are replaced by paths
    wants: tuple[str, ...]  # all stand in the line
    damage: Callable[[Path], None] | None = None  # done to a copy of the run, or to the data folder


def write(name: str, text: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).write_text(text)

    return damage


def cut(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = max((p for p in (folder / name).rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return damage


def pickled_model(folder: Path) -> None:
    (folder / "model").mkdir()
    shutil.copy(TINY_ENCODER / "config.json", folder / "model")
    (folder / "model" / "pytorch_model.bin").write_bytes(b"x")


def truth_of_others(folder: Path) -> None:
    np.savez(folder / "truth.npz", users=["x", "y"], items=["1", "2", "3"], liked=np.eye(2, 3))


def utf16(folder: Path) -> None:
    (folder / "recipe.yaml").write_bytes("seed: 1".encode("utf-16"))


def edit_json(name: str, **values: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = without_digests(folder) / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return damage


def remove(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


BAD_INPUT = (
    # recipes
    BadInput("no such recipe", "train none.yaml", ("none.yaml", "no such file", "configs/")),
    BadInput("an unknown key", "train RECIPE learner.learnig_rate=1", ("learnig_rate", "did you mean 'learning_rate'")),
    BadInput("an unknown section", "train RECIPE trian.updates=1", ("'trian'", "did you mean 'train'")),
    BadInput("a wrong type", "train RECIPE train.updates=many", ("train.updates", "a whole number", "'many'")),
    BadInput("a value out of range", "train RECIPE learner.gamma=1.5", ("learner.gamma", "at most 1", "1.5")),
    BadInput("not a number", "train RECIPE learner.learning_rate=.nan", ("learner.learning_rate", "above 0")),
    BadInput("an unknown environment", "train RECIPE env.name=loged", ("env.name", "did you mean 'logged'")),
    BadInput("an unknown learner", "train RECIPE learner.name=pppo", ("learner.name", "did you mean 'ppo'")),
    BadInput("an unknown reward", "train RECIPE env.reward.likd=1", ("env.reward", "'likd'", "did you mean 'liked'")),
    BadInput("updates that do not fit calls", "train RECIPE train.updates=5", ("train.updates", "multiple", "2")),
    BadInput("minibatches that do not divide", "train RECIPE learner.minibatches=3", ("learner.minibatches", "divide")),
    BadInput("shards that do not divide", "train RECIPE learner.num_shards=5", ("learner.num_shards", "divide")),
    BadInput("more devices than there are", "train RECIPE train.devices=999", ("train.devices", "999", "present")),
    BadInput("devices that do not divide the shards", "train RECIPE train.devices=3", ("3 devices", "num_shards")),
    BadInput("a slate as large as the catalogue", "train RECIPE env.slate_size=60", ("env.slate_size", "60", "lower")),
    BadInput(
        "an override without a value",
        "train RECIPE train.updates:5=",
        ("updates:5", "no field", "did you mean 'updates'"),
    ),
    BadInput("broken YAML", "train BAD", ("recipe.yaml", "line 2", "YAML"), write("recipe.yaml", "a: [1\nb: }")),
    BadInput("an empty recipe", "train BAD", ("recipe.yaml", "env is missing"), write("recipe.yaml", "")),
    BadInput("a recipe without a log", "train BAD", ("data", "log"), write("recipe.yaml", "env: {name: logged}")),
    BadInput("a recipe in another encoding", "train BAD", ("recipe.yaml", "cannot be read as text"), utf16),
    BadInput("a simulator that is nowhere", "train RECIPE env.path=x", ("env.path", "no finished simulators", "fit-")),
    BadInput(
        "a simulator of another log",
        "train RECIPE env.path=RUN/simulators data.generated.items=50",
        ("env.path", "fitted to another log"),
    ),
    BadInput(
        "a damaged validity report",
        "train RECIPE env.path=RUN/simulators",
        ("validity.json", "damaged", "fit again"),
        write("simulators/validity.json", "{}"),
    ),
    BadInput(
        "fitting users without a log",
        "fit-simulator BAD",
        ("env.name", "interest_evolution reads no log"),
        write("recipe.yaml", "env: {name: interest_evolution}"),
    ),
    BadInput("fitting what is fitted", "fit-simulator RECIPE env.path=x", ("env.path", "remove it")),
    BadInput("a simulator in a file", "fit-simulator RECIPE -o RUN/config.yaml", ("config.yaml is a file",)),
    BadInput("a simulator in a run", "fit-simulator RECIPE -o RUN", ("simulator.json is missing", "-o")),
    BadInput(
        "a damaged simulator.json",
        "fit-simulator RECIPE -o RUN",
        ("simulator.json", "damaged"),
        write("simulator.json", "{"),
    ),
    BadInput(
        "a rate that reaches zero early",
        "train RECIPE learner.anneal_updates=4",
        ("learner.anneal_updates", "raise it"),
    ),
    BadInput("no cutoffs", "train RECIPE evaluate.cutoffs=[]", ("evaluate.cutoffs", "at least 1")),
    BadInput("an infinite rate", "train RECIPE learner.learning_rate=.inf", ("learner.learning_rate", "above 0")),
    BadInput(
        "items that nobody rated enough",
        "train RECIPE data.min_item_ratings=1000",
        ("0 recommendable items", "data.min_item_ratings"),
    ),
    BadInput(
        "training that diverges", "train RECIPE learner.learning_rate=1e38", ("the loss is", "learner.learning_rate")
    ),
    # logs and models, through the command line
    BadInput("a log without its column", "train CSV data.columns.user=uid", ("log.csv", "'uid'", "user")),
    BadInput("a log with a header only", "train CSV", ("log.csv",), write("log.csv", "user,item,time,liked\n")),
    BadInput(
        "feedback that never differs",
        "train CSV data.feedback.liked.at_least=2",
        ("data.feedback.liked", "0 in every row of the log", "another threshold"),
    ),
    BadInput("a context that is no column", "train CSV data.context=[itm]", ("log.csv", "'itm'", "data.context[0]")),
    BadInput("a context that is predicted", "train CSV data.context=[hour,liked]", ("data.context[1]", "'liked'")),
    BadInput("hours of a counter", "train CSV data.context=[hour]", ("data.context", "seconds", "remove hour")),
    BadInput("a context of generated users", "train RECIPE data.context=[age]", ("data.context[0]", "'age'", "hour")),
    BadInput("texts of users who write none", "train CSV data.own_texts=2", ("data.own_texts", "data.columns.review")),
    BadInput("reviews in no column", "train CSV data.columns.review=words", ("log.csv", "'words'", "columns.review")),
    BadInput(
        "the items as reviews",
        "train CSV data.columns.review=item",
        ("data.columns.review: 'item' is the column of the items; name another one",),
    ),
    BadInput(
        "more components than reviews",
        "train CSV data.own_texts=40 data.columns.review=time",
        ("data.own_texts", "33 training reviews", "lower it"),
    ),
    BadInput("a short key", "train CSV", ("user.key", "at least 32 characters", "5"), write("user.key", "short")),
    BadInput("a folder as key", "train CSV", ("user.key", "JAXREC_USER_KEY"), lambda f: (f / "user.key").mkdir()),
    BadInput(
        "a key inside the run",
        "train CSV --run DATA/new data.user_key_file=DATA/new/user.key",
        ("data.user_key_file", "is inside", "passed on"),
    ),
    BadInput("a model that is nowhere", "train RECIPE encoder.model=no/such-model", ("no/such-model",)),
    BadInput(
        "a model folder with pickles",
        "train CSV encoder.model=DATA/model",
        ("pytorch_model.bin", "convert"),
        pickled_model,
    ),
    # runs
    BadInput("a run that exists", "train RECIPE --run RUN", ("already exists", "--resume", "--run")),
    BadInput(
        "a run to resume that is none", "train RECIPE --run RUN/policy --resume", ("not a run folder", "config.yaml")
    ),
    BadInput(
        "a run resumed by another recipe",
        "train RECIPE --run RUN --resume learner.clip=0.3",
        ("another recipe", "'clip: 0.2'"),
    ),
    BadInput(
        "a damaged checkpoint of an earlier version",
        "train RECIPE --run RUN --resume train.updates=12",
        ("checkpoints", "damaged", "delete"),
        lambda folder: cut("checkpoints/8/default")(without_digests(folder)),
    ),
    BadInput(
        "a folder of nothing",
        "inspect nowhere",
        ("nowhere", "neither a run nor a policy, simulators, semantic ids, a tuned encoder or a sweep"),
    ),
    BadInput(
        "a run to inspect with damaged scores",
        "inspect RUN",
        ("metrics", "damaged"),
        write("checkpoints/8/metrics/metrics", "{"),
    ),
    BadInput("a policy to inspect without arrays", "inspect RUN", ("policy", "arrays"), remove("policy/arrays")),
    BadInput("a run that is no folder", "evaluate nowhere", ("nowhere", "not a run folder")),
    BadInput("a run without a policy", "recommend RUN", ("no policy yet", "--resume"), remove("policy")),
    BadInput(
        "a damaged description", "recommend RUN", ("description.json", "damaged"), write("policy/description.json", "{")
    ),
    BadInput(
        "a policy of a later version",
        "recommend RUN",
        ("version 99", "expected"),
        edit_json("policy/description.json", version=99),
    ),
    BadInput("a folder of another kind", "recommend RUN/simulators/train", ("holds a simulator", "expected a policy")),
    BadInput("damaged arrays", "recommend RUN", ("arrays", "damaged"), cut("policy/arrays")),
    BadInput(
        "a network of another shape",
        "recommend RUN",
        ("params", "shape", "not of one policy"),
        edit_json("policy/description.json", network={"width": 16}),
    ),
    BadInput(
        "items of another policy",
        "recommend RUN",
        ("items.json", "60"),
        edit_json("policy/items.json", ids=["1"], titles=["a"]),
    ),
    BadInput("a missing simulator", "evaluate RUN", ("simulators", "simulator"), remove("simulators/judge")),
    BadInput("a damaged simulator", "evaluate RUN", ("simulators",), cut("simulators/train")),
    BadInput("judging by another log", "evaluate RUN data.generated.items=50", ("evaluate takes data.path",)),
    BadInput(
        "files for a log that is generated",
        "evaluate RUN data.path=shop",
        ("data.path", "data.source=generated reads no files", "set data.source"),
    ),
    BadInput("judging by other users", "evaluate RUN evaluate.judge_share=0.2", ("evaluate takes data.path",)),
    BadInput(
        "a truth that is nowhere", "evaluate RUN evaluate.truth=x.npz", ("evaluate.truth: x.npz: no such file", "users")
    ),
    BadInput(
        "a truth of other people",
        "evaluate RUN evaluate.truth=RUN/truth.npz",
        ("evaluate.truth: truth.npz: none of its 2 users is in the training rows", "ids as in the log"),
        truth_of_others,
    ),
    BadInput(
        "training with a truth that is none", "train RECIPE evaluate.truth=RECIPE", ("evaluate.truth", "readable .npz")
    ),
    BadInput(
        "a truth of users without a log",
        "train BAD evaluate.truth=x.npz",
        ("evaluate.truth", "users of interest_evolution are not fitted to a log", "remove it"),
        write("recipe.yaml", "env: {name: interest_evolution}"),
    ),
    BadInput("an item that is not in the log", "recommend RUN --history 0", ("'0'", "catalogue")),
    BadInput("a user who is not in the log", "recommend RUN --user 4000", ("--user: no such user", "--data")),
    BadInput("a user and a history", "recommend RUN --user 4 --history 1", ("--user and --history", "one of the two")),
    BadInput("a log to look nobody up in", "recommend RUN --data DATA", ("--data", "add --user")),
    BadInput("a user of a bare policy", "recommend RUN/policy --user 4", ("not a run folder", "config.yaml")),
    BadInput("a slate of nothing", "recommend RUN -k 0", ("k:", "at least 1")),
)


@pytest.mark.parametrize("case", BAD_INPUT, ids=lambda case: case.name)
def test_bad_input_ends_in_one_line_and_leaves_nothing_half_written(
    case: BadInput,
    tiny_run: Path,
    recipe: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(VARIABLE)  # the recipe of CSV logs names a file
    run, data, new = tmp_path / "run", tmp_path / "data", tmp_path / "new"
    data.mkdir()
    (data / "log.csv").write_text(LOG)
    (tmp_path / "csv.yaml").write_text(CSV.replace("DATA", str(data)).replace("ENCODER", str(TINY_ENCODER)))
    if "RUN" in case.command:
        shutil.copytree(tiny_run, run)
    if case.damage is not None:
        case.damage(run if run.exists() else data)
    paths = {"RUN": run, "RECIPE": recipe, "CSV": tmp_path / "csv.yaml", "BAD": data / "recipe.yaml", "DATA": data}
    words = case.command.split()
    for name, path in paths.items():
        words = [word.replace(name, str(path)) for word in words]
    if words[0] == "train" and "--run" not in words:
        words += ["--run", str(new)]
    before = _files(run)
    assert main(words) == 2
    line = capfd.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("jaxrec: ")
    for want in case.wants:
        assert want in line, line
    assert "Traceback" not in line
    assert len(line) < 600
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")]
    assert _files(run) == before
    assert not (new / "policy").exists()


def test_ctrl_c_before_training_leaves_a_run_that_can_be_resumed(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from jaxrec.runs import train as command

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    run, config = tmp_path / "run", str(tiny_run / "config.yaml")
    monkeypatch.setattr(command, "train_policy", interrupted)
    assert main(["train", config, "--run", str(run)]) == 130
    assert "stopped" in capsys.readouterr().err
    monkeypatch.undo()
    assert main(["train", config, "--run", str(run), "--resume"]) == 0
    assert (run / "metrics.jsonl").read_bytes() == (tiny_run / "metrics.jsonl").read_bytes()


def _files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}
