"""One run at a time writes to a place; a dead one stops nobody."""

import os
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from skclipad._storage import locks as _lock
from skclipad._storage.locks import exclusive

HOLD = """
import pathlib, sys, time
from skclipad._storage.locks import exclusive
with exclusive(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def target(tmp_path):
    return tmp_path / "scores.csv"


@pytest.fixture
def holder(target):
    command = [sys.executable, "-c", HOLD, str(target)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_another_process_is_refused_and_told_who_writes(target, holder):
    message = rf"scores.csv is being written by another run \(process {holder.pid}\)"
    with pytest.raises(BlockingIOError, match=message), exclusive(target):
        pass
    holder.communicate("end\n")
    with exclusive(target):
        assert os.listdir(target.parent) == ["scores.csv.lock"]
    assert os.listdir(target.parent) == []


def test_what_a_killed_process_left_stops_nobody(target, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert os.listdir(target.parent) == ["scores.csv.lock"]
    with exclusive(target):
        pass
    assert os.listdir(target.parent) == []


def test_an_error_lets_go(target):
    with pytest.raises(KeyError), exclusive(target):
        raise KeyError
    with exclusive(target):
        pass


def test_never_two_threads_at_once(target):
    inside, most, entered = [], [], []

    def work():
        n_entered = 0
        while n_entered < 50:
            try:
                with exclusive(target):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
                    n_entered += 1
            except BlockingIOError:
                pass
        entered.append(n_entered)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1} and entered == [50] * 4
    assert os.listdir(target.parent) == []


def test_places_do_not_share_a_lock(tmp_path):
    with exclusive(tmp_path / "a"), exclusive(tmp_path / "b"):
        pass


@pytest.fixture
def windows_locks(monkeypatch):
    """Locks as Windows has them: another call, which calls what is locked forbidden."""
    flock, how = _lock.fcntl.flock, _lock.fcntl.LOCK_EX | _lock.fcntl.LOCK_NB
    at = []

    def locking(handle, mode, n_bytes):
        at.append(os.lseek(handle, 0, os.SEEK_CUR))
        try:
            flock(handle, how)
        except BlockingIOError as error:
            raise PermissionError(13, "Permission denied") from error

    monkeypatch.setattr(_lock, "fcntl", None)
    monkeypatch.setattr(
        _lock, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2), raising=False
    )
    return at


def test_on_windows_another_run_is_refused_and_told_who_writes(target, windows_locks):
    message = rf"by another run \(process {os.getpid()}\)"
    with exclusive(target):
        with pytest.raises(BlockingIOError, match=message), exclusive(target):
            pass
    with exclusive(target):
        assert os.listdir(target.parent) == ["scores.csv.lock"]
    assert os.listdir(target.parent) == []
    # Far behind the text, which could not be read otherwise.
    assert set(windows_locks) == {_lock.FAR}


def test_on_windows_a_file_that_the_next_run_has_opened_stays(
    target, windows_locks, monkeypatch
):
    def refused(path):
        raise PermissionError(13, "The process cannot access the file", path)

    with monkeypatch.context() as context, exclusive(target):
        context.setattr(os, "remove", refused)
    with exclusive(target):
        pass


@pytest.mark.parametrize("missing", ["module", "support"])
def test_without_locks_of_the_system_the_run_goes_on(target, monkeypatch, missing):
    if missing == "module":
        monkeypatch.setattr(_lock, "fcntl", None)
    else:

        def unsupported(handle, how):
            raise OSError(38, "Function not implemented")

        monkeypatch.setattr(_lock.fcntl, "flock", unsupported)
    with exclusive(target), exclusive(target):
        assert os.listdir(target.parent) == []
