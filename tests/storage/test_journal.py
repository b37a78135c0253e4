"""One journal of a run: what is done is found again, and nothing else."""

import pytest

from skclipad._storage.journal import Journal, read_journal

SETTINGS = {"detector": "abc", "threshold": 0.5}


@pytest.fixture
def path(tmp_path):
    """A journal of three lines: what it is of, one result, two together."""
    path = tmp_path / "a.journal"
    with Journal(path, SETTINGS) as journal:
        journal.put("a", [1, 2], {"score": 0.1})
        journal.put_many([("b", [3, 4], {"score": 0.2}), ("caf\udce9", None, "x")])
    return path


def found(path, identity=SETTINGS, resume=True):
    with Journal(path, identity, resume=resume) as journal:
        return [journal.get("a", [1, 2]), journal.get("b", [3, 4])]


def test_results_are_found_by_key_as_long_as_their_stamp_holds(path):
    with Journal(path, SETTINGS, resume=True) as journal:
        assert journal.get("a", [1, 2]) == {"score": 0.1}
        assert journal.get("a", [1, 3]) is None
        assert journal.get("c", [1, 2]) is None
        assert journal.get("caf\udce9", None) == "x"
        stamps = {"a": [1, 2], "b": [3, 5], "c": [1, 2], "caf\udce9": None}
        assert dict(journal.get_many(stamps)) == {"a": {"score": 0.1}, "caf\udce9": "x"}
        journal.put("a", [1, 3], "new")
        assert journal.get("a", [1, 3]) == "new" and journal.get("a", [1, 2]) is None
    identity, results, size = read_journal(path)
    assert identity == SETTINGS and results["a"] == ([1, 3], "new")
    assert size == path.stat().st_size


def test_without_resume_it_is_begun_anew(path):
    assert found(path, resume=False) == [None, None]
    assert found(path) == [None, None]


def test_a_journal_of_another_run_is_refused_with_the_differences(path):
    before = path.read_bytes()
    other = {"detector": "abc", "threshold": 0.6, "crops": "multi"}
    words = "crops was None and is multi; threshold was 0.5 and is 0.6"
    for _ in range(2):  # the refusal lets go of the lock
        with pytest.raises(ValueError, match=words):
            found(path, other)
    assert path.read_bytes() == before
    assert found(path, other, resume=False) == [None, None]


@pytest.mark.parametrize("n_bytes", [1, 5, 60])
def test_a_line_that_was_being_written_is_cut(path, n_bytes):
    content = path.read_bytes()
    path.write_bytes(content[:-n_bytes])
    assert found(path) == [{"score": 0.1}, None]
    assert content.startswith(path.read_bytes())
    assert len(path.read_bytes().splitlines()) == 2
    with Journal(path, SETTINGS, resume=True) as journal:
        journal.put("b", [3, 4], "again")
    assert found(path) == [{"score": 0.1}, "again"]


def test_what_follows_damage_is_not_trusted(path):
    path.write_bytes(path.read_bytes().replace(b"0.1", b"0.9"))
    assert found(path) == [None, None]


@pytest.mark.parametrize("content", [b"", b"garbage", b"00000000 {}\n", b"\xff\n\n"])
def test_without_a_sound_first_line_it_is_begun_anew(path, content):
    path.write_bytes(content)
    assert found(path) == [None, None]
    assert read_journal(path)[0] == SETTINGS


def test_one_run_at_a_time_has_it(path):
    with Journal(path, SETTINGS, resume=True):
        with pytest.raises(BlockingIOError, match="another run"):
            found(path)
    assert found(path)[0] == {"score": 0.1}
    assert [p.name for p in path.parent.iterdir()] == ["a.journal"]


def test_without_a_file_results_are_kept_in_memory(tmp_path):
    with Journal(None, SETTINGS, resume=True) as journal:
        journal.put("a", 1, "x")
        assert journal.get("a", 1) == "x"
        journal.remove()
    assert list(tmp_path.iterdir()) == []
