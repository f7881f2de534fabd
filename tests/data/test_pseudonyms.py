import dataclasses
import hashlib
import stat
import time
from pathlib import Path

import pytest

from jaxrec.checks import InputError
from jaxrec.config.data import DataConfig, FeedbackKind
from jaxrec.data.pseudonyms import VARIABLE, check_key_outside, check_pseudonyms, pseudonymise, user_key
from jaxrec.data.readers import read_files

KEY = b"0123456789abcdef0123456789abcdef"


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(VARIABLE)
    return tmp_path / "keys" / "user.key"


def config(path: Path) -> DataConfig:
    return DataConfig(source="files", user_key_file=str(path))


def test_pseudonyms_are_the_first_half_of_hmac_sha256() -> None:
    # RFC 2104 by hand: H((K xor opad) | H((K xor ipad) | text)), the key padded to 64 bytes with zeros
    padded = KEY.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in padded) + b"alice").digest()
    outer = hashlib.sha256(bytes(b ^ 0x5C for b in padded) + inner).hexdigest()
    assert pseudonymise(["alice"], KEY) == (outer[:32],)


def test_pseudonyms_depend_on_the_key_and_on_every_letter_of_the_id() -> None:
    made = [*pseudonymise(["a", "A", "b", "á"], KEY), *pseudonymise(["a"], KEY[::-1])]
    assert len(set(made)) == 5
    assert pseudonymise(["b", "a"], KEY) == (made[2], made[0])


def test_many_ids_take_little_time() -> None:
    started = time.perf_counter()
    assert len(set(pseudonymise(map(str, range(200_000)), KEY))) == 200_000
    assert time.perf_counter() - started < 10


def test_the_key_file_is_made_once_and_only_its_owner_reads_it(key_file: Path) -> None:
    made = user_key(config(key_file))
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert len(bytes.fromhex(made.secret.decode())) == 32
    assert str(key_file) in made.account and made.secret.decode() not in made.account
    assert user_key(config(key_file)) == made
    assert [path.name for path in key_file.parent.iterdir()] == ["user.key"]
    key_file.unlink()
    assert user_key(config(key_file)).secret != made.secret


def test_the_variable_wins_and_means_the_same_as_a_file_of_that_text(
    key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_file = user_key(config(key_file)).secret
    monkeypatch.setenv(VARIABLE, key_file.read_text())
    key_file.write_text("x" * 40)
    assert user_key(config(key_file)).secret == from_file


def test_a_folder_for_runs_never_holds_the_key(key_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "keys", target_is_directory=True)
    for path in (key_file, tmp_path / "link" / "user.key", tmp_path / "keys" / "deep" / "user.key"):
        with pytest.raises(InputError, match=r"data.user_key_file: .* is inside .*; set data.user_key_file to another"):
            check_key_outside(config(path), tmp_path / "keys")
    check_key_outside(config(key_file), tmp_path / "keys-and-more")
    check_key_outside(DataConfig(source="generated", user_key_file=str(key_file)), tmp_path)
    monkeypatch.setenv(VARIABLE, KEY.decode())
    check_key_outside(config(key_file), tmp_path)


@pytest.mark.parametrize(
    ("content", "wants"),
    [(b"", ("at least 32 characters, got 0",)), (b"short\n", ("got 5", "a longer one")), (None, ("Is a directory",))],
)
def test_short_and_unreadable_key_files_are_refused(
    key_file: Path, content: bytes | None, wants: tuple[str, ...]
) -> None:
    if content is None:
        key_file.mkdir(parents=True)
    else:
        key_file.parent.mkdir()
        key_file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        user_key(config(key_file))
    assert all(want in str(caught.value) for want in (str(key_file), *wants))


def test_a_key_that_cannot_be_made_or_is_short_says_where_it_may_come_from(
    key_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        InputError, match=r"the key for user ids cannot be read or made .*environment variable JAXREC_USER_KEY"
    ):
        user_key(config(tmp_path / "file" / "user.key"))
    with pytest.raises(
        InputError, match=r"data.user_key_file: expected a file, got an empty name; set data.user_key_file to another"
    ):
        user_key(DataConfig(source="files", user_key_file=""))
    monkeypatch.setenv(VARIABLE, "short")
    with pytest.raises(InputError, match=r"JAXREC_USER_KEY: .* at least 32 characters, got 5"):
        user_key(config(key_file))


def test_a_log_of_pseudonyms_keeps_them_and_refuses_plain_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY.decode())
    people = (*pseudonymise(["alice", "bob"], KEY), f"visit-{'0' * 31}f", "1e5".rjust(32, "0"))  # no number is meant
    rows = "".join(f"{user},{item},{item},1\n" for user in people for item in (1, 2))
    (tmp_path / "log.csv").write_text(f"user,item,time,liked\n{rows}")
    liked = {"liked": FeedbackKind(column="liked")}
    plain = DataConfig(source="files", path=str(tmp_path), item_file="", feedback=liked)
    marked = dataclasses.replace(plain, pseudonyms=True)
    assert read_files(marked, 0).users == people
    assert not set(people) & set(read_files(plain, 0).users)  # hashed once more: nobody is recognised
    (tmp_path / "log.csv").write_text(f"user,item,time,liked\n{rows}alice,1,3,1\n")
    with pytest.raises(InputError, match=r"data.pseudonyms says .* but 1 of 5 are no pseudonyms") as refused:
        read_files(marked, 0)
    assert "alice" not in str(refused.value)
    with pytest.raises(InputError, match=r"data.pseudonyms: is for logs in files"):
        DataConfig(source="generated", pseudonyms=True)
    check_pseudonyms(people, tmp_path)
