import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from jaxrec.cli import main
from jaxrec.runs.inspect import describe
from jaxrec.serve import load_policy
from jaxrec.storage.checkpoint import Checkpoints
from jaxrec.storage.digests import sealed_file
from tests.damage import without_digests


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage, without the evaluation that another test may have left."""
    copy = shutil.copytree(tiny_run, tmp_path / "run")
    (copy / "evaluation.json").unlink(missing_ok=True)
    return copy


def printed(capsys: pytest.CaptureFixture, *words: str) -> str:
    assert main(["inspect", *words]) == 0
    return capsys.readouterr().out


def test_the_account_agrees_with_the_policy_and_the_checkpoints(run: Path) -> None:
    account, policy = describe(run), load_policy(run)
    assert account["updates"] == {"measured": 8, "asked": 8}
    assert account["policy"]["step"] == policy.step
    assert account["policy"]["items"] == 60
    assert account["policy"]["recommendable"] == policy.world.recommendable.shape[0]
    table = policy.world.item_table
    assert account["policy"]["item_table"] == {
        "shape": list(table.shape),
        "dtype": "float32",
        "bytes": table.size * 4,
    }
    leaves = jax.tree_util.tree_leaves_with_path(policy.params)
    shapes = {jax.tree_util.keystr(path, simple=True, separator="."): list(x.shape) for path, x in leaves}
    assert {name: x["shape"] for name, x in account["policy"]["arrays"].items()} == shapes
    assert account["policy"]["parameters"] == sum(x.size for _, x in leaves)
    with Checkpoints(run / "checkpoints") as checkpoints:
        assert [row["step"] for row in account["checkpoints"]] == [4, 8]
        assert [row["step"] for row in account["checkpoints"] if row["best"]] == [checkpoints.best]
        assert max(row["return"] for row in account["checkpoints"]) == checkpoints.best_score
    assert account["checkpoints"][0]["bytes_in_memory"]["params"] == 4 * account["policy"]["parameters"]


def test_after_a_refused_log_the_next_command_says_what_to_mend(tmp_path: Path, recipe: Path, capsys) -> None:
    (tmp_path / "log.csv").write_text("user,item,time,liked\na,b,1,5\n")
    words = ["data.source=files", f"data.path={tmp_path}", "data.item_file=", "data.feedback={liked: {column: liked}}"]
    assert main(["train", str(recipe), "--run", str(tmp_path / "run"), *words]) == 2
    refused = capsys.readouterr().err
    assert describe(tmp_path / "run")["next"] == f"jaxrec check-data {tmp_path / 'run' / 'config.yaml'}"
    assert main(["check-data", str(tmp_path / "run" / "config.yaml")]) == 2
    assert capsys.readouterr().err == refused and "liked is 5, expected 0 or 1" in refused


def test_a_log_that_users_cannot_be_fitted_to_leaves_the_folder_free(tmp_path: Path, recipe: Path, capsys) -> None:
    rows = "".join(f"u{u},i{i},{i},{int(u == i == 0)}\n" for u in range(6) for i in range(40))
    (tmp_path / "log.csv").write_text(f"user,item,time,liked\n{rows}")
    words = ["data.source=files", f"data.path={tmp_path}", "data.item_file=", "data.feedback={liked: {column: liked}}"]
    for setting in (words, [*words, "data.feedback.liked.at_least=0"]):  # the second recipe may use the folder too
        assert main(["train", str(recipe), "--run", str(tmp_path / "run"), *setting, "env.response=last_rows"]) == 2
        assert "users can be fitted only to feedback that differs" in capsys.readouterr().err
        assert describe(tmp_path / "run")["next"] == f"jaxrec check-data {tmp_path / 'run' / 'config.yaml'}"


def test_figures_are_those_of_the_files_beside_it(run: Path) -> None:
    account = describe(run)
    assert account["last_metrics"] == json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    timings = [json.loads(row) for row in (run / "timings.jsonl").read_text().splitlines()]
    assert account["last_timing"] == [row for row in timings if "seconds" in row][-1]
    log = json.loads((run / "simulators" / "log.json").read_text())
    assert account["simulators"]["log"] == {name: log[name] for name in ("rows", "users", "feedback")}
    assert account["simulators"]["fitted"]["train"]["members"] == 0
    assert account["bytes_on_disk"] == sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    assert account["recipe"]["seed"] == 3 and account["recipe"]["learner"] == "ppo"


def test_what_comes_next_depends_on_how_far_the_run_is(run: Path) -> None:
    assert describe(run)["next"] == f"jaxrec evaluate {run}"
    evaluation = {"step": describe(run)["policy"]["step"], "users": 40, "simulators": {"train": {"recommenders": {}}}}
    (run / "evaluation.json").write_text(json.dumps(evaluation))
    assert describe(run)["missing"] == [] and describe(run)["next"] == f"jaxrec recommend {run} --history 1,2"
    (run / "evaluation.json").write_text(json.dumps(evaluation | {"step": 1}))
    assert describe(run)["missing"] == ["an evaluation of this policy"]
    resume = f"jaxrec train {run / 'config.yaml'} --run {run} --resume"
    shutil.rmtree(run / "checkpoints" / "8")
    assert (describe(run)["missing"], describe(run)["next"]) == (["updates 5 to 8"], resume)
    for name in ("checkpoints", "policy", "simulators"):
        shutil.rmtree(run / name)
    account = describe(run)
    assert account["missing"] == ["the train simulator", "the judge simulator", "updates 1 to 8", "a policy"]
    assert account["next"] == resume


def test_a_run_that_has_only_begun_and_one_cut_off_in_a_row_can_be_inspected(
    run: Path, capsys: pytest.CaptureFixture
) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "lo')
    assert describe(run)["updates"]["measured"] == 8
    for path in run.iterdir():
        if path.name != "config.yaml":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    text = printed(capsys, str(run))
    assert "0 of 8, saved up to 0" in text and "--resume" in text


def test_text_is_plain_and_fits_eighty_columns(run: Path, capsys: pytest.CaptureFixture) -> None:
    text = printed(capsys, str(run))
    for word in ("progress", "8 of 8", "seed             3", "772 rows of 40 users", "60 x 34 float32", "(best)"):
        assert word in text
    assert "tastes of each user, 20 users, 60 items" in text
    lines = [line for line in text.splitlines() if str(run) not in line and "tiny_bert" not in line]
    assert max(map(len, lines)) <= 80 and "\x1b" not in text
    assert not [line for line in lines if line != line.rstrip()]


@pytest.mark.parametrize(
    ("folder", "kind"), [("policy", "policy"), ("simulators", "simulators"), ("simulators/judge", "simulator")]
)
def test_parts_of_a_run_say_what_they_are(run: Path, capsys: pytest.CaptureFixture, folder: str, kind: str) -> None:
    assert json.loads(printed(capsys, str(run / folder), "--json"))["kind"] == kind
    assert "60" in printed(capsys, str(run / folder))


def test_a_policy_saved_before_actions_had_a_type_is_shown(run: Path) -> None:
    path, now = run / "policy" / "description.json", describe(run / "policy")
    description = json.loads(path.read_text())
    description["spec"]["slate_size"] = description["spec"].pop("action")["size"]
    path.write_text(json.dumps(description))
    then = describe(run / "policy")
    assert then["action"] == now["action"] == {"name": "slate", "size": 3}


def test_json_is_the_account(run: Path, capsys: pytest.CaptureFixture) -> None:
    assert json.loads(printed(capsys, str(run), "--json")) == describe(run)


def test_jax_is_not_imported(run: Path) -> None:
    code = (
        "import sys; from jaxrec.cli import main; "
        f"status = main(['inspect', {str(run)!r}]); sys.exit(status or 'jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "progress" in done.stdout, done.stderr


def refused(run: Path, capsys: pytest.CaptureFixture) -> list[str]:
    """Lines of standard error, after a description that ends with what is damaged."""
    assert main(["inspect", str(run)]) == 2
    said = capsys.readouterr()
    assert "progress" in said.out and "next: " in said.out
    return said.err.splitlines()


def test_damaged_parts_are_named_in_one_line_each(run: Path, capsys: pytest.CaptureFixture) -> None:
    largest = max((run / "checkpoints/4/default/d").iterdir(), key=lambda path: path.stat().st_size)
    for path in (largest, run / "policy/items.json", run / "simulators/validity.html"):
        path.write_bytes(path.read_bytes() + b" ")
    (run / "simulators/train/more.txt").write_text("more")
    (run / "checkpoints/8/digests.xxh128").unlink()
    *warnings, last = refused(run, capsys)
    where = ("checkpoints/4/default/d/", "checkpoints/8: not finished", "policy/items.json: damaged")
    where = (*where, "simulators/validity.html: damaged", "simulators/train/more.txt: not among")
    assert len(warnings) == len(where) and all(line.startswith(f"warning: {run}/") for line in warnings)
    assert sorted(one for one in where for line in warnings if one in line) == sorted(where)
    assert last == f"jaxrec: {run}: 5 damaged parts; the warnings above say which."
    assert describe(run)["damaged"] == [line.removeprefix("warning: ") for line in warnings]


def test_what_was_set_aside_is_not_reported_again(run: Path, capsys: pytest.CaptureFixture) -> None:
    shutil.copytree(run / "checkpoints/8", run / "checkpoints/6.damaged")
    (run / "checkpoints/6.damaged/metrics/metrics").write_text("{}")
    assert printed(capsys, str(run)) and describe(run)["damaged"] == []


def test_a_policy_without_its_digests_is_damaged_and_one_of_an_earlier_version_is_not(
    run: Path, capsys: pytest.CaptureFixture
) -> None:
    (run / "policy/digests.xxh128").unlink()
    assert "policy/digests.xxh128: missing" in refused(run, capsys)[0]
    assert main(["inspect", str(without_digests(run))]) == 0
    note = f"{run}: written by an earlier version without digests; not verified\n"
    assert capsys.readouterr().err == note


def test_a_file_with_its_own_digest_is_compared(run: Path, capsys: pytest.CaptureFixture) -> None:
    with sealed_file(run / "extra.bin") as temporary:
        temporary.write_text("whole")
    printed(capsys, str(run))
    (run / "extra.bin").write_text("hole")
    assert refused(run, capsys)[0].startswith(f"warning: {run / 'extra.bin'}: damaged")
