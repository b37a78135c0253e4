"""Forks while other threads are at work: the child never waits for what is gone."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stores import needs_fork

import skclipad
from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad._clip import backbone as _backbone
from skclipad._images import reading as _images
from skclipad._method.training import _choosing, _fits
from skclipad._storage import forks as module
from skclipad._storage.forks import ForkSafeLock
from skclipad._storage.locks import exclusive
from skclipad._storage.process_cache import ProcessCache

pytestmark = [
    needs_fork,
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),
]


def in_child(work):
    """Return the exit status of a forked child: 0 if ``work()`` is true in a minute."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)  # where it would wait for ever
        with contextlib.suppress(BaseException):
            os._exit(0 if work() else 1)
        os._exit(2)
    return os.waitpid(pid, 0)[1]


@contextlib.contextmanager
def held_by_another_thread(lock):
    taken, let_go = threading.Event(), threading.Event()

    def hold():
        with lock:
            taken.set()
            let_go.wait(60)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(hold)
        assert taken.wait(60)
        try:
            yield
        finally:
            let_go.set()
            future.result(60)


def take(lock):
    with lock:
        return True


def test_a_lock_that_another_thread_holds_is_free_in_the_child():
    lock = ForkSafeLock()
    with held_by_another_thread(lock):
        assert in_child(lambda: take(lock)) == 0
    assert take(lock)


def test_what_a_vanished_thread_guarded_is_restored_and_nothing_else():
    restored = []
    lock = ForkSafeLock(restore=lambda: restored.append(1))
    with held_by_another_thread(lock):
        assert in_child(lambda: restored == [1]) == 0
    assert in_child(lambda: restored == []) == 0
    with lock:
        assert in_child(lambda: take(lock) and restored == []) == 0
    assert restored == []


def test_a_lock_of_the_forking_thread_is_still_its_own_in_the_child():
    lock = ForkSafeLock()

    def refused():
        with ThreadPoolExecutor(1) as pool:
            return not pool.submit(lock._lock.acquire, False).result()

    with lock:
        assert in_child(refused) == 0


def test_a_cache_that_was_being_changed_is_empty_in_the_child():
    cache = ProcessCache(3)
    cache.put("a", 1)
    assert in_child(lambda: cache.get("a") == 1) == 0
    with held_by_another_thread(cache._lock):
        assert in_child(lambda: cache.get("a") is None and len(cache) == 0) == 0
    assert cache.get("a") == 1


def test_a_lock_on_a_file_stays_with_its_process(tmp_path):
    """A child that lives on does not hold what its dead parent held."""
    program = """
import os, pathlib, sys, time
from skclipad._storage.locks import exclusive
with exclusive(pathlib.Path(sys.argv[1])):
    if os.fork() == 0:
        os.close(1)
        time.sleep(60)
        os._exit(0)
    print("held", flush=True)
    os._exit(0)
"""
    command = [sys.executable, "-c", program, str(tmp_path / "scores.csv")]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=60)
    assert done.stdout == b"held\n"
    with exclusive(tmp_path / "scores.csv"):
        pass


def test_a_child_that_leaves_the_block_takes_no_lock_away(tmp_path):
    target = tmp_path / "scores.csv"
    lock = exclusive(target)
    lock.__enter__()

    def leave():
        lock.__exit__(None, None, None)
        return True

    assert in_child(leave) == 0
    with pytest.raises(BlockingIOError), exclusive(target):
        pass
    lock.__exit__(None, None, None)
    with exclusive(target):
        pass


LOCKS = {
    "trainings": _choosing,
    "networks": _fits._lock,
    "backbones": _backbone._loading,
    **{f"images {i}": lock for i, lock in enumerate(_images._LOADING)},
}


def test_every_lock_of_the_package_follows_the_rule():
    assert set(LOCKS.values()) <= set(module._locks)
    # What makes a lock, and which files may: they say what a fork does to it.
    makers = {
        r"\bR?Lock\(|threading import .*Lock|\(R?Lock\)|threading\.R?Lock\b": {"forks"},
        r"\bcached_property\b": set(),  # has a lock before Python 3.12
        r"\bflock\(": {"locks", "database"},
        r"\bsqlite3\.connect\(": {"database", "ledger"},
    }
    for path in Path(skclipad.__file__).parent.rglob("*.py"):
        code = re.sub(r"#.*|`.*?`", "", path.read_text(encoding="utf-8"))
        for maker, files in makers.items():
            assert path.stem in files or not re.search(maker, code), (path, maker)


def test_an_estimator_works_in_a_child_forked_while_others_fit_load_and_read(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(path)
    embedder = CLIPImageEmbedder("tiny", device="cpu")
    embedder.encode_text(["known"])
    begun, go_on = threading.Event(), threading.Event()

    class Slow(CLIPImageEmbedder):
        def encode_text(self, texts):
            begun.set()
            assert go_on.wait(120)
            return super().encode_text(texts)

    def fit(slow):
        return RandomWordCLIPDetector(N_p=100, random_state=0, embedder=slow).fit()

    def works():
        detector = fit(embedder)
        with Image.open(path) as image:
            return np.isfinite(detector.predict_proba([image, path])).all()

    with ThreadPoolExecutor(1) as pool, contextlib.ExitStack() as held:
        other = pool.submit(fit, Slow("tiny", device="cpu"))
        assert begun.wait(60)
        for lock in LOCKS.values():
            held.enter_context(held_by_another_thread(lock))
        try:
            status = in_child(works)
        finally:
            held.close()
            go_on.set()
        assert status == 0
        other.result(60)
