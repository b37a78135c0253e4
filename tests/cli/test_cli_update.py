"""``skclipad score --update``: what is new is scored, and no row is lost."""

import os
import shutil
import threading

import pytest
from PIL import Image
from tables import read_table

from skclipad import cli
from skclipad._storage.ledger import Ledger, ledger_path

N = 9


@pytest.fixture
def photos(tmp_path, images, monkeypatch, blocks_of):
    blocks_of(4)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for i in range(N):
        Image.fromarray(images[i]).save(tmp_path / "photos" / f"{i}.png")
    return tmp_path / "photos"


@pytest.fixture
def update(photos, detector_file, tmp_path):
    def run(*options, to="s.csv", code=0, of="photos"):
        arguments = ["score", of, "-d", detector_file, "-o", to]
        assert cli.main([*arguments, "--update", *options]) == code
        return read_table(tmp_path / to)

    return run


def names(rows):
    return [os.path.basename(row["path"]) for row in rows]


def test_only_what_is_new_or_changed_is_scored(update, photos, images, seen, capsys):
    first = update()
    assert names(first) == [f"{i}.png" for i in range(N)] == seen
    assert {row["gone"] for row in first} == {"0"}
    seen.clear()
    capsys.readouterr()
    Image.fromarray(images[N]).save(photos / "new.png")
    Image.fromarray(images[N + 1]).save(photos / "3.png")
    second = update()
    assert seen == ["3.png", "new.png"]
    assert "2 of 10 pictures are to be scored" in capsys.readouterr().err
    # The changed one keeps its place, the new one comes last.
    assert names(second) == [*names(first), "new.png"]
    assert [row for i, row in enumerate(first) if i != 3] == [
        row for i, row in enumerate(second[:N]) if i != 3
    ]
    assert second[3]["score"] != first[3]["score"]


def test_the_table_is_that_of_one_run_over_all(update, photos, detector_file, tmp_path):
    for i in range(5, N):
        shutil.move(photos / f"{i}.png", tmp_path / f"{i}.png")
    update()
    for i in range(5, N):
        shutil.move(tmp_path / f"{i}.png", photos / f"{i}.png")
    grown = update()
    assert cli.main(["score", "photos", "-d", detector_file, "-o", "all.csv"]) == 0
    at_once = read_table(tmp_path / "all.csv")
    for mine, theirs in zip(grown, at_once, strict=True):
        assert mine["path"] == theirs["path"] and mine["label"] == theirs["label"]
        assert float(mine["score"]) == pytest.approx(float(theirs["score"]), abs=1e-6)


def test_rows_of_pictures_that_are_gone_are_marked_or_dropped(update, photos, seen):
    first = update()
    (photos / "4.png").unlink()
    seen.clear()
    second = update()
    assert seen == [] and len(second) == N
    assert second[4] == first[4] | {"gone": "1"}
    third = update("--drop-gone")
    assert names(third) == [f"{i}.png" for i in range(N) if i != 4]
    assert len(update()) == N - 1


def test_one_that_is_gone_keeps_its_row_even_if_it_is_named(
    update, photos, detector_file, tmp_path
):
    update()
    (photos / "4.png").unlink()
    arguments = ["score", "photos/4.png", "photos/5.png", "-d", detector_file]
    assert cli.main([*arguments, "-o", "s.csv", "--update"]) == 0
    row = read_table(tmp_path / "s.csv")[4]
    assert row["score"] and row["gone"] == "1"


def test_one_that_is_back_is_no_longer_marked(update, photos, tmp_path, seen):
    update()
    shutil.move(photos / "4.png", tmp_path / "away.png")
    assert update()[4]["gone"] == "1"
    shutil.move(tmp_path / "away.png", photos / "4.png")
    seen.clear()
    assert update()[4]["gone"] == "0" and seen == []


def test_a_folder_that_was_emptied_keeps_its_rows(update, photos):
    update()
    for path in photos.iterdir():
        path.unlink()
    assert [row["gone"] for row in update()] == ["1"] * N


def test_another_folder_adds_to_the_table(update, photos, tmp_path, images):
    update()
    (tmp_path / "more").mkdir()
    Image.fromarray(images[0]).save(tmp_path / "more" / "0.png")
    rows = update(of="more")
    assert len(rows) == N + 1 and rows[-1]["path"] == os.path.join("more", "0.png")
    assert {row["gone"] for row in rows} == {"0"}


def test_one_without_a_score_is_tried_again_and_has_one_row(
    update, photos, images, seen
):
    (photos / "3.png").write_bytes(b"no image")
    rows = update(code=3)
    assert "not an image" in rows[3]["error"] and rows[3]["score"] == ""
    seen.clear()
    update(code=3)
    assert seen == ["3.png"]
    Image.fromarray(images[3]).save(photos / "3.png")
    rows = update()
    assert len(rows) == N and rows[3]["score"] and not rows[3]["error"]


def test_labels_follow_the_threshold_of_now(update):
    assert {row["label"] for row in update("--threshold", "0")} == {"1"}
    assert {row["label"] for row in update("--threshold", "1")} == {"0"}


def test_an_interrupted_update_goes_on_and_leaves_the_table_as_it_was(
    update, photos, images, seen, stopped, tmp_path
):
    update()
    before = (tmp_path / "s.csv").read_bytes()
    for i in range(8):
        Image.fromarray(images[i]).save(photos / f"new-{i}.png")
    with stopped() as blocks:
        update(code=130)
    assert (tmp_path / "s.csv").read_bytes() == before
    kept = set(blocks[0])
    seen.clear()
    rows = update()
    assert len(rows) == len({row["path"] for row in rows}) == N + 8
    assert kept and not kept & set(seen)


def test_a_table_without_a_ledger_is_written_anew_and_that_is_told(
    update, photos, detector_file, seen, capsys
):
    assert cli.main(["score", "photos", "-d", detector_file, "-o", "s.csv"]) == 0
    seen.clear()
    assert len(update()) == N == len(seen)
    assert "s.csv was written without --update" in capsys.readouterr().err


@pytest.mark.parametrize("to", ["s.jsonl", "s.parquet"])
def test_tables_of_other_kinds_grow_too(to, photos, detector_file, tmp_path):
    if to.endswith("parquet"):
        pytest.importorskip("pyarrow")
    pandas = pytest.importorskip("pandas")
    arguments = ["score", "photos", "-d", detector_file, "-o", to, "--update"]
    assert cli.main(arguments) == 0
    (photos / "0.png").unlink()
    assert cli.main(arguments) == 0
    if to.endswith("parquet"):
        table = pandas.read_parquet(tmp_path / to)
    else:
        table = pandas.read_json(tmp_path / to, lines=True)
    assert table.gone.tolist() == [1] + [0] * (N - 1)
    assert table.score.notna().all()


def test_the_report_shows_the_whole_table(update, photos, tmp_path):
    update()
    (photos / "4.png").unlink()
    update("--report", "r.html", "--maps", "maps")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert all(f'"{os.path.join("photos", f"{i}.png")}"' in page for i in range(N))
    assert len(list((tmp_path / "maps").glob("*.png"))) == N - 1


@pytest.mark.parametrize("other", ["--bit-depth 12", "--decode reduced"])
def test_other_settings_are_refused(update, detector_file, capsys, other):
    update()
    capsys.readouterr()
    arguments = ["score", "photos", "-d", detector_file, "-o", "s.csv", "--update"]
    assert cli.main([*arguments, *other.split()]) == 1
    assert "s.csv.rows was begun with other settings" in capsys.readouterr().err


def test_another_clip_is_told_in_words(update, tmp_path, capsys):
    update()
    settings = ["--model", "lite", "--n-pairs", "50"]
    assert cli.main(["fit", "-o", "lite.joblib", *settings]) == 0
    arguments = ["score", "photos", "-d", "lite.joblib", "-o", "s.csv", "--update"]
    assert cli.main(arguments) == 1
    told = "s.csv.rows was begun with another CLIP and another detector, but expected"
    assert told in capsys.readouterr().err


def test_two_updates_at_once_are_refused(update, detector_file, tmp_path, capsys):
    update()
    held, done = threading.Event(), threading.Event()

    def hold():
        path = ledger_path(tmp_path / "other.csv")
        with Ledger(path, {}):
            held.set()
            done.wait(60)

    other = threading.Thread(target=hold)
    other.start()
    held.wait(60)
    try:
        arguments = ["score", "photos", "-d", detector_file, "-o", "other.csv"]
        for more in ([], ["--update"]):
            assert cli.main([*arguments, *more]) == 1
            assert "being written by another run" in capsys.readouterr().err
    finally:
        done.set()
        other.join()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--update"], "--update needs --output"),
        (["--drop-gone", "-o", "s.csv"], "--drop-gone needs --update"),
        (["--update", "--unlabelled", "-o", "s.csv"], "does not go with --unlabelled"),
        (["--update", "--resume", "-o", "s.csv"], "Leave --resume out."),
        (["--update", "--boxes", "b.json", "-o", "s.csv"], "does not go with --update"),
    ],
)
def test_what_does_not_go_together_is_refused(
    options, said, photos, detector_file, capsys
):
    assert cli.main(["score", "photos", "-d", detector_file, *options]) == 1
    assert said in capsys.readouterr().err


def test_after_the_first_block_the_time_to_go_is_told(update, capsys):
    update()
    said = capsys.readouterr().err
    assert "4 of 9 pictures scored," in said and " to go" in said
    update()
    assert " to go" not in capsys.readouterr().err


def test_a_run_without_anything_new_says_so_and_proposes_nothing(
    update, photos, images, capsys
):
    update()
    assert "next: label some pictures" in capsys.readouterr().err
    (photos / "0.png").unlink()
    update()
    said = capsys.readouterr().err
    assert "nothing to score: of 8 pictures none is new or has changed" in said
    assert "s.csv: 9 rows, none made now" in said
    assert "next:" not in said
    Image.fromarray(images[0]).save(photos / "0.png")
    update()
    said = capsys.readouterr().err
    assert "1 of 9 pictures is to be scored: new, changed" in said and "next:" in said


def test_what_lies_above_the_threshold_is_there(update, photos, capsys):
    rows = update("--threshold", "0")
    assert "9 pictures lie above the threshold 0.0" in capsys.readouterr().err
    worst = max(rows, key=lambda row: float(row["score"]))["path"]
    os.unlink(worst)
    update("--threshold", "0")
    said = capsys.readouterr().err
    assert "8 pictures lie above the threshold 0.0" in said
    assert f"is that of {worst}" not in said
