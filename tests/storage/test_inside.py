"""Paths that a file names, and folders that somebody else made."""

import os
import socket
from pathlib import Path

import pytest

from jaxrec.checks import InputError
from jaxrec.storage.inside import check_folder, copy_folder, inside


@pytest.mark.parametrize("name", ["", ".", "1_Pooling", "a/b.safetensors", "a/./b", "..a", "größer", "a b"])
def test_a_path_inside_is_given(tmp_path: Path, name: str) -> None:
    assert inside(tmp_path, name, "index") == tmp_path / name


@pytest.mark.parametrize(
    "name", ["..", "../x", "a/../../x", "a/../b", "/etc/passwd", "//host/x", "C:x", "C:\\x", "..\\x", "a\\..\\..\\x"]
)
def test_a_path_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"index: .* leads out of"):
        inside(tmp_path, name, "index")


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 300, "x/" * 600])
def test_what_is_no_path_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="no path that a system can have") as caught:
        inside(tmp_path, name, "index")
    assert len(str(caught.value)) < 200


def test_links_within_the_folder_and_within_a_model_of_the_hubs_cache_are_fine(tmp_path: Path) -> None:
    model = tmp_path / "models--someone--tiny"
    for name in ("blobs/1", "snapshots/abc/config.json"):
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_text(name)
    (model / "snapshots" / "abc" / "weights").symlink_to("../../blobs/1")
    (model / "snapshots" / "abc" / "again").symlink_to("config.json")
    check_folder(model / "snapshots" / "abc")
    (tmp_path / "link").symlink_to(model / "snapshots" / "abc")
    check_folder(tmp_path / "link")  # the folder itself is named by the user


def _link(folder: Path, name: str, target: str) -> None:
    (folder / name).symlink_to(target)


def _socket(folder: Path) -> None:
    os.chdir(folder)  # its name may have 100 bytes
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("socket")


BAD = {
    "a link out": (lambda folder: _link(folder, "a", "../secret"), "leads out"),
    "an absolute link out": (lambda folder: _link(folder, "a", str(folder.parent / "secret")), "leads out"),
    "a link to a link out": (lambda folder: [_link(folder, "a", "b"), _link(folder, "b", "../secret")], "leads out"),
    "a link out of a deep folder": (
        lambda folder: [(folder / "x" / "y").mkdir(parents=True), _link(folder / "x" / "y", "a", "../../../secret")],
        "leads out",
    ),
    "a link to the folder above": (lambda folder: _link(folder, "a", ".."), "leads out"),
    "a link to the folder itself": (lambda folder: _link(folder, "a", "."), "folder around it"),
    "links in a circle": (lambda folder: [_link(folder, "a", "b"), _link(folder, "b", "a")], "points nowhere"),
    "a link to nothing": (lambda folder: _link(folder, "a", "nothing"), "points nowhere"),
    "a device": (lambda folder: _link(folder, "a", "/dev/zero"), "leads out"),
    "a pipe": (lambda folder: os.mkfifo(folder / "a"), "special file"),
    "a pipe through a link": (lambda folder: [os.mkfifo(folder / "a"), _link(folder, "b", "a")], "special file"),
    "a socket": (_socket, "special file"),
}


@pytest.mark.parametrize("name", list(BAD))
def test_links_out_and_special_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_text("secret")
    folder = tmp_path / "folder"
    folder.mkdir()
    build, wants = BAD[name]
    build(folder)
    for action in (check_folder, lambda folder: copy_folder(folder, tmp_path / "copy")):
        with pytest.raises(InputError, match=wants) as caught:
            action(folder)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "copy").exists()
