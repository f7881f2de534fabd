"""Tokenizers on which the libraries panic, abort or take too long; tests/hostile/tokenizers.py has whole models."""

import json
import os
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from jaxrec.checks import InputError
from jaxrec.encoder import trial
from jaxrec.encoder.trial import library_errors, try_file, try_folder
from tests.encoder.references import GOLDEN

WHOLE = GOLDEN / "sentence" / "tokenizer.json"


def changed(folder: Path, **values: object) -> Path:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(WHOLE.read_text()) | values))
    return path


def test_a_good_tokenizer_passes_and_is_not_tried_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = changed(tmp_path, truncation=None)
    try_file(path)
    monkeypatch.setattr(trial, "_outcome", lambda job: pytest.fail("tried again"))
    try_file(path)


def test_what_only_raises_is_left_to_the_reader(tmp_path: Path) -> None:
    try_file(changed(tmp_path, model={"type": "Evil"}))


@pytest.mark.parametrize(
    ("normalizer", "says"),
    [
        ({"type": "Precompiled", "precompiled_charsmap": "/////w=="}, "SIGABRT: memory allocation of"),
        ({"type": "Precompiled", "precompiled_charsmap": "AAAA"}, "makes the tokenizers library panic"),
    ],
)
def test_a_crash_is_one_line_and_nothing_is_printed(
    tmp_path: Path, normalizer: dict, says: str, capfd: pytest.CaptureFixture
) -> None:
    path = changed(tmp_path, normalizer=normalizer)
    with pytest.raises(InputError, match=says) as caught:
        try_file(path)
    assert str(caught.value).startswith(f"{path}: the tokenizer ") and "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_tokenizer_that_takes_too_long_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SECONDS", 1)
    step = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
    path = changed(tmp_path, normalizer={"type": "Sequence", "normalizers": [step] * 60})
    with pytest.raises(InputError, match="takes more than 1 s to read"):
        try_file(path)


def test_a_folder_that_transformers_reads_is_tried_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["nowhere"]))
    try_folder(GOLDEN / "tiny_bert", {"do_lower_case": True})


def test_errors_and_panics_of_the_library_are_input_errors_and_ctrl_c_is_not() -> None:
    panicking = Tokenizer.from_file(str(WHOLE))
    with pytest.raises(InputError, match="model: the tokenizer fails"), library_errors("model"):
        panicking.encode(7)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="model: the tokenizer fails \\(oops\\)"), library_errors("model"):
        raise type("PanicException", (BaseException,), {})("oops\nmore")
    with pytest.raises(KeyboardInterrupt), library_errors("model"):
        raise KeyboardInterrupt
    with pytest.raises(InputError, match=r"^as it was$"), library_errors("model"):
        raise InputError("as it was")
