"""`jaxrec embed` on a small model: files, restarts, refusals."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest
from pyarrow import parquet

import jaxrec
from jaxrec.cli import main
from jaxrec.encoder import bulk

MODEL = str(Path(__file__).parents[1] / "encoder" / "golden" / "tiny_bert")
WORDS = ["red", "blue", "film", "song", "story", "toy", "heat", "space", "night", "love", "ü", "🙂"]
SMALL = ["max_length=64", "batch_tokens=256"]


def texts(count: int) -> list[str]:
    rng = random.Random(0)
    return [" ".join(rng.choices(WORDS, k=rng.randrange(30))) for _ in range(count)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "texts.csv"
    path.write_text("id,text\n" + "".join(f"i{n},{text}\n" for n, text in enumerate(texts(50))))
    return path


def test_all_kinds_of_files_hold_the_vectors_of_encode(source: Path, tmp_path: Path, capsys) -> None:
    want = jaxrec.encode(texts(50), MODEL, normalize=True, cache_dir="")
    assert main(["embed", MODEL, str(source), "-o", str(tmp_path / "v.npy"), *SMALL]) == 0
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), want, atol=1e-6)
    assert main(["embed", MODEL, str(source), "-o", str(tmp_path / "v.parquet"), "--ids", "id", *SMALL]) == 0
    table = parquet.read_table(tmp_path / "v.parquet")
    assert table["id"].to_pylist() == [f"i{n}" for n in range(50)]
    np.testing.assert_allclose(np.array(table["vector"].to_pylist()), want, atol=1e-6)
    assert main(["embed", MODEL, str(source), "-o", str(tmp_path / "v"), *SMALL]) == 0
    np.testing.assert_allclose(
        ocp.StandardCheckpointer().restore(tmp_path / "v" / "arrays")["vectors"], want, atol=1e-6
    )
    description = json.loads((tmp_path / "v.npy.json").read_text())
    assert description["shape"] == [50, 32] and description["model"] == MODEL
    assert not list(tmp_path.glob("*.parts"))
    capsys.readouterr()
    assert main(["embed", MODEL, str(source), "-o", str(tmp_path / "v.npy"), *SMALL]) == 0
    assert "already there" in capsys.readouterr().out


def test_the_description_names_settings_and_says_how_many_texts_were_cut(source: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "v.npy"
    words = ["embed", MODEL, str(source), "-o", str(out), "max_length=16", "batch_tokens=256", "pooling=cls"]
    assert main([*words, "--prompt", "about: "]) == 0
    lengths = [len(ids) for ids in jaxrec.load_encoder(MODEL).tokenize([f"about: {text}" for text in texts(50)])]
    cut = sum(length > 16 for length in lengths)
    assert 10 < cut < 50 and f"  {cut} of 50 texts are cut at 16 tokens (max_length)\n" in capsys.readouterr().out
    description = json.loads(out.with_suffix(".npy.json").read_text())
    assert description["texts_cut"] == cut
    assert description["settings"] == {
        "max_length": 16,
        "dtype": "float32",
        "weights": "float32",
        "pooling": "cls",
        "heads": [],
        "dimensions": 32,
        "normalise": True,
        "prompt": "about: ",
        "bidirectional": False,
        "batch_tokens": 256,
    }
    assert main([*words, "--prompt", "on: "]) == 2
    assert "is of other texts or settings (settings.prompt differs)" in capsys.readouterr().err
    assert main(["embed", MODEL, str(source), "-o", str(tmp_path / "whole.npy"), *SMALL]) == 0
    assert "  no text is longer than 64 tokens\n" in capsys.readouterr().out


def test_parts_that_are_done_are_not_done_again(source: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(bulk.embed_in_parts, "__defaults__", (None, 8))
    out, words = tmp_path / "v.npy", ["embed", MODEL, str(source), "-o", str(tmp_path / "v.npy"), *SMALL]
    done, encode_ids = [], bulk.encode_ids

    def stopping(*arguments, **options):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(1)
        return encode_ids(*arguments, **options)

    monkeypatch.setattr(bulk, "encode_ids", stopping)
    assert main(words) == 130 and len(list((tmp_path / "v.npy.parts").glob("vectors-*.npy"))) == 3
    part = tmp_path / "v.npy.parts" / "vectors-00001.npy"
    part.write_bytes(part.read_bytes()[:50])  # as after a power cut

    def counted(*arguments, **options):
        done.append(1)
        return encode_ids(*arguments, **options)

    monkeypatch.setattr(bulk, "encode_ids", counted)
    assert main(words) == 0 and len(done) == 3 + 1 + 4  # seven parts: the damaged one and the four others
    np.testing.assert_allclose(np.load(out), jaxrec.encode(texts(50), MODEL, normalize=True, cache_dir=""), atol=1e-6)


def test_damaged_vectors_and_descriptions_are_made_again(source: Path, tmp_path: Path, capsys) -> None:
    out, words = tmp_path / "v.npy", ["embed", MODEL, str(source), "-o", str(tmp_path / "v.npy"), *SMALL]
    assert main(words) == 0
    whole, description = out.read_bytes(), out.with_suffix(".npy.json").read_text()
    out.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert main(words) == 0
    assert out.read_bytes() == whole and "The texts are encoded again." in capsys.readouterr().err
    for old, new in (('"texts_cut": 0', '"texts_cut": 1'), ('"digest"', '"digesu"')):
        out.with_suffix(".npy.json").write_text(description.replace(old, new))
        assert main(words) == 0
        assert "The texts are encoded again." in capsys.readouterr().err
        assert out.with_suffix(".npy.json").read_text() == description


@pytest.mark.slow
def test_killed_at_any_moment_and_started_again_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    source = tmp_path / "texts.txt"
    source.write_text("\n".join(texts(400)) + "\n")
    environment = os.environ | {"XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    small = "import jaxrec.encoder.bulk as b, sys; b.embed_in_parts.__defaults__ = (None, 16);"
    run = f"{small} from jaxrec.cli import main; sys.exit(main(sys.argv[1:]))"

    def start(out: Path) -> subprocess.Popen:
        words = ["embed", MODEL, str(source), "-o", str(out), *SMALL]
        return subprocess.Popen([sys.executable, "-c", run, *words], env=environment, stderr=subprocess.DEVNULL)

    begun = time.monotonic()
    assert start(tmp_path / "whole.npy").wait() == 0
    whole = time.monotonic() - begun
    rng, out = random.Random(1), tmp_path / "killed.npy"
    for _ in range(3):
        process = start(out)
        time.sleep(rng.uniform(0.3, 1.0) * whole)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(out).wait() == 0
    assert out.read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert not list(tmp_path.glob("*.parts"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["-o", "v.csv"], "expected NAME.npy, NAME.parquet or the name of a folder (Orbax), got '.csv'"),
        (["-o", "v.npy", "--ids", "id"], "v.npy cannot store ids"),
        (["-o", "v.npy", "max_len=3"], "encoder has no field 'max_len'; did you mean 'max_length'"),
        (["-o", "v.npy", "max_length=600"], "max_length: expected"),
        (["-o", "v.npy", "model=other"], "other"),
        (["-o", "v.npy", "--column", "nothing"], "no column 'nothing'"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(source: Path, tmp_path, monkeypatch, capsys, change, message) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["embed", MODEL, str(source), *change]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not Path("v.npy").exists()


def test_files_of_other_texts_are_kept(source: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "v.npy"
    words = ["embed", MODEL, str(source), "-o", str(out), *SMALL]
    assert main(words) == 0
    before = out.read_bytes()
    assert main([*words, "--prompt", "about: "]) == 2
    assert "already exists and is of other texts or settings" in capsys.readouterr().err
    assert out.read_bytes() == before
    out.rename(tmp_path / "elsewhere.npy")
    bulk._claim(tmp_path / "v.npy.parts", {"model": "another"})
    assert main(words) == 2
    assert "holds parts of another job (model" in capsys.readouterr().err
