"""The ledger of a table that grows: one row an image, kept whatever happens."""

import os
import sqlite3
import subprocess
import sys

import pytest

from skclipad._storage.ledger import Ledger, ledger_path

IDENTITY = {"detector": "a's"}
GOOD, BAD = {"path": "x", "score": 0.25}, {"path": "x", "error": "broken"}


@pytest.fixture
def path(tmp_path):
    return ledger_path(tmp_path / "scores.csv")


@pytest.fixture
def ledger(path):
    with Ledger(path, IDENTITY) as ledger:
        yield ledger


def row_of(ledger, path, stamp):
    """Return what `get_many` gives of one image, None if it gives nothing."""
    return dict(ledger.get_many({path: stamp})).get(path)


def test_it_lies_beside_its_table(tmp_path):
    assert ledger_path(tmp_path / "s.csv") == tmp_path / "s.csv.rows"


def test_a_row_holds_for_the_stamp_it_was_made_of(ledger):
    ledger.put_many([("a.png", [10, 20], GOOD), ("b.png", [1, 2], BAD)])
    assert row_of(ledger, "a.png", [10, 20]) == GOOD
    assert row_of(ledger, "a.png", [10, 21]) is None
    assert row_of(ledger, "a.png", None) is None
    assert ledger.has("a.png", [10, 20]) and not ledger.has("a.png", [11, 20])
    # One without a score is known, and yet to be tried again.
    assert row_of(ledger, "b.png", [1, 2]) is None and ledger.has("b.png", [1, 2])
    assert ledger.knows("b.png") and not ledger.knows("c.png")


def test_many_images_are_asked_for_at_once(ledger):
    names = [os.path.abspath(f"{i}.png") for i in range(1201)]
    ledger.put_many([(name, [i, 0], GOOD) for i, name in enumerate(names)])
    stamps = {name: [i, int(i == 7)] for i, name in enumerate(names)}
    # One image by two names has one row, which is that of both.
    stamps |= {"3.png": [3, 0], "4.png": [3, 0], "none.png": [1, 0]}
    found = dict(ledger.get_many(stamps))
    assert found == dict.fromkeys([*names[:7], *names[8:], "3.png"], GOOD)


def test_an_image_has_one_row_in_its_first_place(ledger):
    ledger.put_many([(name, [1, 1], {"path": name}) for name in "abc"])
    ledger.put_many([("a", [2, 2], {"path": "a", "score": 1.0})])
    rows = list(ledger.rows())
    assert [row["path"] for row in rows] == ["a", "b", "c"] and len(ledger) == 3
    assert rows[0] == {"path": "a", "score": 1.0, "gone": 0}


def test_paths_are_compared_in_full(ledger, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ledger.put_many([("a.png", [1, 1], GOOD)])
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert row_of(ledger, "../a.png", [1, 1]) == GOOD
    assert row_of(ledger, "a.png", [1, 1]) is None
    assert ledger.paths() == [str(tmp_path / "a.png")]


def test_names_that_are_no_text_come_back(ledger):
    name = os.fsdecode(b"/folder/\xfc.png")
    ledger.put_many([(name, [1, 1], {"path": name, "score": 0.5})])
    assert row_of(ledger, name, [1, 1]) == {"path": name, "score": 0.5}
    assert ledger.paths() == [name]


def test_what_is_gone_is_marked_and_what_is_back_is_not(ledger):
    ledger.put_many([(f"/{name}", [1, 1], {"path": name}) for name in "abc"])
    assert ledger.mark_gone(lambda path: path == "/b") == 2 == ledger.n_gone
    assert [row["gone"] for row in ledger.rows()] == [1, 0, 1]
    # Nothing is said of b.
    assert ledger.mark_gone({"/a": True, "/c": False}.get) == 1 == ledger.n_gone
    assert [row["gone"] for row in ledger.rows()] == [0, 0, 1]
    assert ledger.drop_gone() == 1
    assert [row["path"] for row in ledger.rows()] == ["a", "b"]


def test_an_image_that_was_never_there_is_gone(ledger):
    ledger.put_many([("a", None, BAD)])
    assert next(ledger.rows())["gone"] == 1
    assert not ledger.has("a", None)


def test_tasks_are_kept_until_they_are_finished(path):
    with Ledger(path, IDENTITY) as ledger:
        ledger.put_many(
            [(name, [1, 1], {"path": name}) for name in ("/a", "/b", "/c")],
            due={"/a", "/c"},
        )
        assert [path for path, *_ in ledger.tasks()] == ["/a", "/c"]
        ledger.finish("/a")
        ledger.plan("/c", "/bad/c")
    with Ledger(path, IDENTITY) as ledger:
        assert ledger.tasks() == [("/c", {"path": "/c"}, "/bad/c")]
        ledger.finish("/c", ("/bad/c", "bad/c"))
        assert ledger.tasks() == []
        assert [row["path"] for row in ledger.rows()] == ["/a", "/b", "bad/c"]
        assert not ledger.knows("/c") and ledger.has("/bad/c", [1, 1])


def test_rows_are_there_after_a_kill(path):
    code = (
        "import os, pathlib, sys\n"
        "from skclipad._storage.ledger import Ledger\n"
        "with Ledger(pathlib.Path(sys.argv[1]), {'detector': \"a's\"}) as ledger:\n"
        "    ledger.put_many([('/a', [1, 1], {'score': 0.5})])\n"
        "    ledger._connection.execute('DELETE FROM rows')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)])
    assert done.returncode == -9
    with Ledger(path, IDENTITY) as ledger:
        assert row_of(ledger, "/a", [1, 1]) == {"score": 0.5}


def test_two_at_once_are_refused(ledger, path):
    with pytest.raises(BlockingIOError, match="written by another run"):
        Ledger(path, IDENTITY).__enter__()


def test_other_settings_are_refused_and_nothing_is_lost(path):
    with Ledger(path, IDENTITY) as ledger:
        ledger.put_many([("/a", [1, 1], GOOD)])
    with pytest.raises(ValueError, match="detector was a's and is b's"):
        Ledger(path, {"detector": "b's"}).__enter__()
    with Ledger(path, IDENTITY) as ledger:
        assert len(ledger) == 1


@pytest.mark.parametrize("kind", ["text", "other database", "other version"])
def test_a_damaged_or_foreign_file_is_told(path, kind):
    if kind == "text":
        path.write_bytes(b"no database" * 100)
    elif kind == "other database":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE other (x)")
        connection.close()
    else:
        with Ledger(path, IDENTITY):
            pass
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 9")
        connection.close()
    with pytest.raises(ValueError, match="Remove it, and all pictures"):
        Ledger(path, IDENTITY).__enter__()
