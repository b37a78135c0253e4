"""What is called by its final name is complete."""

import ntpath
import os
import signal
import subprocess
import sys

import pytest

from skclipad._storage import files
from skclipad._storage.files import (
    atomic_write,
    atomic_write_text,
    file_stamp,
    full_path,
)
from skclipad._storage.locks import exclusive

KILLED = """
import os, pathlib, signal, sys
from skclipad._storage.files import atomic_write
with atomic_write(pathlib.Path(sys.argv[1])) as path:
    path.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def target(tmp_path):
    (tmp_path / "a.txt").write_text("before")
    return tmp_path / "a.txt"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_its_name_when_it_is_complete(target):
    with atomic_write(target) as path:
        path.write_text("after")
        assert target.read_text() == "before"
    assert target.read_text() == "after" and names(target.parent) == ["a.txt"]
    atomic_write_text(target, "naïve\n")
    assert target.read_bytes() == "naïve\n".encode()


@pytest.mark.parametrize("keep, left", [(False, []), (True, ["a.txt.partial"])])
def test_an_error_leaves_what_was_there_before(target, keep, left):
    with pytest.raises(KeyboardInterrupt), atomic_write(target, keep=keep) as path:
        path.write_text("half")
        raise KeyboardInterrupt
    assert target.read_text() == "before"
    assert names(target.parent) == ["a.txt", *left]


def test_what_a_killed_writer_leaves_stops_no_other(target):
    done = subprocess.run([sys.executable, "-c", KILLED, str(target)])
    assert done.returncode == -signal.SIGKILL
    assert target.read_text() == "before"
    assert (target.parent / "a.txt.partial").exists()
    atomic_write_text(target, "after")
    assert target.read_text() == "after" and names(target.parent) == ["a.txt"]


def test_windows_replaces_a_file_when_others_have_let_go_of_it(target, monkeypatch):
    replace, tries = os.replace, []

    def refused_twice(*paths):
        tries.append(paths)
        if len(tries) < 3:
            raise PermissionError(13, "Access is denied")
        replace(*paths)

    monkeypatch.setattr(files, "WAITS", (0.0, 0.0))
    monkeypatch.setattr(os, "replace", refused_twice)
    with pytest.raises(PermissionError, match=r"a.txt cannot be replaced \(Access is"):
        atomic_write_text(target, "lost?")
    assert (target.parent / "a.txt.partial").read_text() == "lost?"

    tries.clear()
    monkeypatch.setattr(files, "WINDOWS", True)
    atomic_write_text(target, "after")
    assert target.read_text() == "after" and len(tries) == 3


def test_a_drive_is_one_however_its_letter_was_typed(monkeypatch):
    assert full_path("a/b.png") == os.path.abspath("a/b.png")
    monkeypatch.setattr(os.path, "abspath", ntpath.normpath)
    monkeypatch.setattr(os.path, "splitdrive", ntpath.splitdrive)
    assert (
        full_path(r"c:\line\a.png") == full_path(r"C:\line\a.png") == r"C:\line\a.png"
    )
    assert full_path(r"\\srv\share\a.png") == r"\\srv\share\a.png"


def test_two_writers_of_one_file_are_not_both_begun(target):
    with exclusive(target), pytest.raises(BlockingIOError, match="another run"):
        atomic_write_text(target, "after")
    assert target.read_text() == "before"


def test_a_changed_file_has_another_stamp(target):
    before = file_stamp(target)
    assert before == file_stamp(target)
    os.utime(target, ns=(0, 1))
    assert file_stamp(target) not in (None, before)
    assert file_stamp(target.parent / "gone") is None
    assert file_stamp("a\0b") is None
