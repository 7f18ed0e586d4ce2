"""Tests of the opening of regular files."""

import os
import socket
from pathlib import Path

import pytest

from heartmend.errors import RunError
from heartmend.io.atomic import read_json, read_npz, write_text
from heartmend.io.regular import check_regular, is_regular, open_to_append, read_regular


def make(kind: str, path: Path) -> None:
    if kind == "link":
        (path.parent / "target").write_text("{}")
        path.symlink_to(path.parent / "target")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        # The name of a socket has at most 108 characters.
        here = Path.cwd()
        os.chdir(path.parent)
        try:
            socket.socket(socket.AF_UNIX).bind(path.name)
        finally:
            os.chdir(here)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "socket"])
def test_what_is_no_regular_file_is_an_error_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.json"
    make(kind, path)
    assert not is_regular(path)
    for use in (read_regular, open_to_append, check_regular, read_json, read_npz):
        with pytest.raises(RunError, match=f"is a {kind}, not a file of this run"):
            use(path)


def test_a_device_is_an_error() -> None:
    with pytest.raises(RunError, match="is a device"):
        read_regular(Path("/dev/zero"))


def test_a_regular_file_is_read_and_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    check_regular(path)
    with open_to_append(path) as file:
        file.write("one\n")
    with open_to_append(path) as file:
        file.write("two\n")
    assert is_regular(path) and read_regular(path) == b"one\ntwo\n"
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "missing")


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_writing_replaces_a_link_or_a_pipe_and_never_follows_it(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.json"
    make(kind, path)
    write_text(path, "[1]")
    assert is_regular(path) and read_json(path) == [1]
    if kind == "link":
        assert (tmp_path / "target").read_text() == "{}"
