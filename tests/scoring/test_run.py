"""Runs over many images: blocks, what a journal knows of them, rows in order."""

from types import SimpleNamespace

import pytest

from skclipad._storage.journal import Journal
from skclipad.scoring import _run
from skclipad.scoring._rows import cut_blocks
from skclipad.scoring._run import ScoringRun

PATHS = [f"{i}.png" for i in range(7)]
STAMPS = {path: [1, i] for i, path in enumerate(PATHS)}
DETECTOR = SimpleNamespace(threshold=0.5, embedder=SimpleNamespace(batch_size=1))


@pytest.fixture(autouse=True)
def scored(monkeypatch):
    """Blocks are finished last one first, as on a cluster; gives those scored."""
    blocks = []

    def score_blocks(detector, missing, client=None):
        for block in reversed(missing):
            blocks.append(block.paths)
            yield block, [row_of(path) for path in block.paths]

    monkeypatch.setattr(_run, "score_blocks", score_blocks)
    monkeypatch.setattr(_run, "BATCHES", 3)
    return blocks


def row_of(path):
    if path == "4.png":
        return {"path": path, "error": "broken"}
    return {"path": path, "score": int(path[0]) / 10, "label": 0}


def test_blocks_are_cut_by_position_and_keep_what_images_show():
    blocks = cut_blocks(PATHS, 3, list("abcdefg"))
    assert [block.start for block in blocks] == [0, 3, 6]
    assert [len(block) for block in blocks] == [3, 3, 1]
    part = blocks[1].part(1, 3)
    assert (part.start, part.paths, part.objects) == (4, ["4.png", "5.png"], ["e", "f"])


def test_rows_come_in_order_and_are_kept_as_they_finish(scored):
    with Journal(None, {}) as journal:
        run = ScoringRun(DETECTOR, PATHS, STAMPS, journal)
        rows = run.rows()
        first = next(rows)
        assert [row["path"] for row in first] == PATHS[:3]
        assert run.n_kept == 6 and journal.get("6.png", [1, 6])
        assert [row["path"] for block in rows for row in block] == PATHS[3:]
    assert scored == [PATHS[6:], PATHS[3:6], PATHS[:3]]


def test_what_has_changed_or_has_no_score_is_scored_again(scored):
    with Journal(None, {}) as journal:
        list(ScoringRun(DETECTOR, PATHS, STAMPS, journal).rows())
        scored.clear()
        now = STAMPS | {"0.png": [2, 0], "6.png": None}
        run = ScoringRun(DETECTOR, PATHS, now, journal)
        assert (run.n_known, run.n_missing) == (4, 3)
        assert [row["path"] for block in run.rows() for row in block] == PATHS
    assert scored == [["6.png"], ["4.png"], ["0.png"]]


def test_labels_of_known_rows_follow_the_threshold():
    with Journal(None, {}) as journal:
        list(ScoringRun(DETECTOR, PATHS, STAMPS, journal).rows())
        other = SimpleNamespace(threshold=0.15, embedder=DETECTOR.embedder)
        (block, *_) = ScoringRun(other, PATHS, STAMPS, journal).rows()
    assert [row["label"] for row in block] == [0, 0, 1]


def test_a_row_is_kept_when_its_map_is_made():
    made = []

    class Maps:
        def has(self, path):
            return path in made

        def make(self, detector, paths, rows):
            if "2.png" in paths and len(made) < 5:
                raise KeyboardInterrupt
            made.extend(paths)

    with Journal(None, {}) as journal:
        run = ScoringRun(DETECTOR, PATHS, STAMPS, journal, Maps())
        with pytest.raises(KeyboardInterrupt):
            list(run.rows())
        assert run.n_kept == 3 and journal.get("2.png", [1, 2]) is None
        made.remove("5.png")
        run = ScoringRun(DETECTOR, PATHS, STAMPS, journal, Maps())
        assert (run.n_known, run.n_without_map) == (3, 1)
