"""What the watch makes of batches: rows that are final, and errors by their cause."""

import os
from types import SimpleNamespace

import pytest

from skclipad._storage.files import file_stamp
from skclipad._storage.ledger import Ledger
from skclipad.scoring import _rows
from skclipad.scoring._watch import Watch


class Detector:
    threshold = 0.5
    embedder = SimpleNamespace(batch_size=3, region=None)
    is_dead = False

    def score_components(self, X):
        if self.is_dead:
            raise RuntimeError("the driver is gone")


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "s.csv.rows", {}) as ledger:
        yield ledger


@pytest.fixture
def watch(ledger, clock):
    options = {"above": 0.5, "settle": 1, "patience": 10, "clock": clock}
    return Watch(Detector(), ledger, **options)


@pytest.fixture
def come(tmp_path, watch, clock):
    """A function that lets images come in and be complete."""

    def come(*names):
        paths = [str(tmp_path / name) for name in names]
        for path in paths:
            with open(path, "w") as file:
                file.write("an image")
            watch.arrivals.note(path)
        clock.now += 1
        return paths

    return come


@pytest.fixture
def scoring(monkeypatch):
    """A function that says how paths become rows."""

    def scoring(row_of):
        def score_rows(detector, paths):
            return [{"path": path} | row_of(path) for path in paths]

        monkeypatch.setattr(_rows, "score_rows", score_rows)

    return scoring


def test_batches_of_what_is_complete_are_kept(watch, come, scoring, ledger):
    scoring(lambda path: {"score": 0.9 if path.endswith("b") else 0.1})
    paths = come("a", "b", "c", "d")
    assert [row["path"] for row in watch.score_next()] == paths[:3]
    assert [row["path"] for row in watch.score_next()] == paths[3:]
    assert watch.score_next() == [] and len(watch.arrivals) == 0
    assert all(ledger.has(path, file_stamp(path)) for path in paths)
    assert [path for path, _, _ in ledger.tasks()] == [paths[1]]


def test_one_that_was_written_to_while_it_was_read_is_read_again(
    watch, come, scoring, ledger, clock
):
    def write_on(path):
        with open(path, "a") as file:
            file.write("more")
        return {"score": 0.9}

    scoring(write_on)
    (path,) = come("a")
    assert watch.score_next() == [] and len(ledger) == 0
    scoring(lambda path: {"score": 0.1})
    clock.now += 1
    assert [row["score"] for row in watch.score_next()] == [0.1]


def test_one_that_was_read_and_is_gone_has_its_row_and_nothing_is_done(
    watch, come, scoring, ledger
):
    def remove(path):
        os.remove(path)
        return {"score": 0.9}

    scoring(remove)
    come("a")
    assert len(watch.score_next()) == 1
    assert [row["gone"] for row in ledger.rows()] == [1] and ledger.tasks() == []


def test_one_that_is_gone_before_it_was_read_has_no_row(watch, come, scoring, ledger):
    def remove(path):
        os.remove(path)
        return {"error": "No such file or directory"}

    scoring(remove)
    come("a")
    assert watch.score_next() == [] and len(ledger) == len(watch.arrivals) == 0


def test_one_that_cannot_be_read_gets_its_row_after_a_while(
    watch, come, scoring, ledger, clock
):
    scoring(lambda path: {"error": "truncated"})
    come("a")
    assert watch.score_next() == []
    clock.now += 8.9
    assert watch.score_next() == []
    clock.now += 0.1
    assert [row["error"] for row in watch.score_next()] == ["truncated"]
    assert len(ledger) == 1 and ledger.tasks() == []


def test_an_image_that_raises_an_error_has_it_in_its_row(watch, come, scoring, clock):
    def fail(path):
        if path.endswith("b"):
            raise MemoryError("too large")
        return {"score": 0.1}

    scoring(fail)
    come("a", "b", "c")
    assert [row.get("score") for row in watch.score_next()] == [0.1, 0.1]
    clock.now += 10
    (row,) = watch.score_next()
    assert row["error"] == "MemoryError: too large"


def test_an_error_that_comes_with_any_image_is_raised(
    watch, come, scoring, ledger, monkeypatch
):
    def fail(path):
        raise RuntimeError("the driver is gone")

    scoring(fail)
    monkeypatch.setattr(Detector, "is_dead", True)
    come("a", "b")
    with pytest.raises(RuntimeError, match="the driver is gone"):
        watch.score_next()
    assert len(ledger) == 0
