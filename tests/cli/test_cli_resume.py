"""``skclipad score --resume``: what a dead run left is used, and nothing else."""

import json
import os
from dataclasses import replace

import joblib
import numpy as np
import pytest
from pictures import fill
from PIL import Image
from tables import page_data, read_table

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector, cli
from skclipad._storage.locks import exclusive
from skclipad.cli import _maps, _score, _table_run

N_DONE = 8  # pictures that the dead run scored, in blocks of 4


class Death(BaseException):
    """What nothing catches, in place of SIGKILL."""


@pytest.fixture
def photos(tmp_path, images, blocks_of):
    blocks_of(4)
    fill(tmp_path / "photos", images)
    return tmp_path / "photos"


@pytest.fixture
def score(photos, detector_file, tmp_path):
    """A function that scores the photos into a table and returns its rows."""

    def run(*options, to="scores.csv", code=0, detector=detector_file):
        target = tmp_path / to
        arguments = ["score", str(photos), "-d", detector, "-o", str(target)]
        assert cli.main([*arguments, *options]) == code
        return read_table(target)

    return run


@pytest.fixture
def dead_run(score, seen, stopped, tmp_path):
    """The journal of a run that died after two blocks."""
    with stopped(Death("dies"), after=N_DONE // 4), pytest.raises(Death):
        score()
    assert not (tmp_path / "scores.csv").exists()
    seen.clear()
    return tmp_path / "scores.csv.journal"


def scores_of(rows):
    return [float(row["score"]) for row in rows]


def check_same(one, other):
    """Assert that two tables differ by rounding alone, of batches of another size."""
    numbers = {"score", "s_pr", "s_fnn", "s_img"}
    for mine, theirs in zip(one, other, strict=True):
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            if name in numbers and value and theirs[name]:
                assert float(value) == pytest.approx(float(theirs[name]), abs=1e-6)
            else:
                assert value == theirs[name]


def names(numbers):
    return [f"{number:02d}.png" for number in numbers]


def test_a_run_goes_on_from_where_it_died(dead_run, score, seen, tmp_path, capsys):
    resumed = score("--resume")
    assert seen == names(range(N_DONE, 13))
    assert "8 of 13 pictures were scored before" in capsys.readouterr().err
    clean = score(to="clean.csv")
    check_same(resumed, clean)
    assert len(clean) == 13
    table = (tmp_path / "scores.csv").read_bytes()
    assert table == (tmp_path / "clean.csv").read_bytes()
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["clean.csv", "photos", "scores.csv"]


def test_a_run_may_die_any_number_of_times(dead_run, score, seen, stopped, blocks_of):
    blocks_of(2)
    for _ in range(2):
        with stopped(Death("dies again")), pytest.raises(Death):
            score("--resume")
    blocks_of(4)
    resumed = score("--resume")
    assert sorted(seen) == names(range(N_DONE, 13))
    # In batches of two here, and of four there: they round differently.
    clean = score(to="clean.csv")
    assert [row["path"] for row in resumed] == [row["path"] for row in clean]
    assert scores_of(resumed) == pytest.approx(scores_of(clean), abs=1e-6)


def test_without_resume_a_run_begins_anew(dead_run, score, seen):
    score()
    assert seen == names(range(13))
    assert not dead_run.exists()


def test_with_nothing_to_resume_a_run_begins(score, seen, capsys):
    assert len(score("--resume")) == 13
    assert seen == names(range(13))
    assert "0 of 13 pictures were scored before" in capsys.readouterr().err


def test_a_run_that_was_not_interrupted_is_not_resumed_and_that_is_told(
    score, seen, capsys
):
    whole = score()
    seen.clear()
    capsys.readouterr()
    assert score("--resume") == whole
    assert seen == names(range(13))
    said = capsys.readouterr().err
    assert "scores.csv is whole" in said and "all 13 pictures are scored" in said


def test_the_folder_may_have_changed(dead_run, score, seen, photos, images):
    (photos / "00.png").unlink()
    Image.fromarray(images[12]).save(photos / "01.png")
    Image.fromarray(images[3]).save(photos / "02a.png")
    resumed = score("--resume")
    assert seen == names([1]) + ["02a.png"] + names(range(N_DONE, 13))
    check_same(resumed, score(to="clean.csv"))


def test_pictures_without_a_score_are_tried_again(
    photos, images, score, seen, dead_run
):
    # The dead run had scored 00 to 07; a new one finds 08 broken and dies later.
    broken = photos / "08.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:100])
    journal = dead_run.read_bytes()
    assert len(score("--resume", code=3)) == 13
    dead_run.write_bytes(journal)
    stamp = os.stat(broken)
    broken.write_bytes(whole)
    os.utime(broken, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    seen.clear()
    check_same(score("--resume"), score(to="clean.csv"))


def test_of_a_block_that_is_not_done_only_what_lacks_a_score_is_scored(
    score, photos, stopped
):
    for number in (1, 6, 9):
        (photos / f"{number:02d}.png").write_bytes(b"no image")
    with stopped(Death("dies"), after=2) as blocks, pytest.raises(Death):
        score()
    assert blocks == [names(range(4)), names(range(4, 8))]
    with stopped(after=99) as blocks:
        resumed = score("--resume", code=3)
    assert blocks == [names(some) for some in ([1], [6], [8, 9, 10, 11], [12])]
    check_same(resumed, score(to="clean.csv", code=3))


@pytest.mark.parametrize("n_bytes", [1, 5, 200])
def test_a_line_that_was_being_written_is_not_taken(dead_run, score, seen, n_bytes):
    os.truncate(dead_run, dead_run.stat().st_size - n_bytes)
    resumed = score("--resume")
    assert seen == names(range(4, 13))
    check_same(resumed, score(to="clean.csv"))


def test_damage_in_the_middle_costs_what_follows(dead_run, score, seen):
    lines = dead_run.read_bytes().splitlines(keepends=True)
    assert len(lines) == 3
    lines[1] = lines[1].replace(b'"score": 0.', b'"score": 9.', 1)
    dead_run.write_bytes(b"".join(lines))
    resumed = score("--resume")
    assert seen == names(range(13))
    check_same(resumed, score(to="clean.csv"))


@pytest.mark.parametrize("content", [b"", b"garbage", b"00000000 {}\n", b"\xff\n\n"])
def test_a_journal_without_a_head_is_begun_anew(dead_run, score, seen, content):
    dead_run.write_bytes(content)
    assert len(score("--resume")) == 13
    assert seen == names(range(13))


def test_rows_of_two_detectors_are_never_mixed(
    dead_run, photos, detector_file, tmp_path, seen, capsys
):
    other = joblib.load(detector_file).set_params(random_state=1).fit()
    joblib.dump(other, tmp_path / "other.joblib")
    crops = joblib.load(detector_file).set_params(embedder__crops="multi")
    joblib.dump(crops, tmp_path / "crops.joblib")
    for name, reason in (
        ("other.joblib", "left by a run with another detector, but"),
        ("crops.joblib", "embedder__crops was 'whole' and is 'multi'"),
    ):
        arguments = ["-d", str(tmp_path / name), "-o", str(tmp_path / "scores.csv")]
        assert cli.main(["score", str(photos), *arguments, "--resume"]) == 1
        output = capsys.readouterr().err
        assert "was left by a run with" in output and reason in output
    assert dead_run.exists() and seen == []


def test_a_detector_fitted_on_the_way_is_the_same_again(dead_run, photos, tmp_path):
    arguments = ["-o", str(tmp_path / "scores.csv"), "--resume"]
    settings = ["--model", "tiny", "--n-pairs", "200"]
    assert cli.main(["score", str(photos), *arguments, *settings]) == 0


def test_labels_follow_the_threshold_of_the_last_run(dead_run, score):
    rows = score("--resume", "--threshold", "0")
    assert {row["label"] for row in rows} == {"1"}


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_tables_of_other_kinds_are_resumed(dead_run, ending, photos, detector_file):
    if ending == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
    target = dead_run.with_name(f"scores.{ending}")
    dead_run.rename(target.with_name(target.name + ".journal"))
    arguments = ["-d", detector_file, "-o", str(target), "--resume"]
    assert cli.main(["score", str(photos), *arguments]) == 0
    if ending == "parquet":
        scores = parquet.read_table(target).column("score").to_pylist()
    else:
        scores = [json.loads(x)["score"] for x in target.read_text().splitlines()]
    paths = sorted(map(str, photos.iterdir()))
    expected = joblib.load(detector_file).predict_proba(paths)[:, 1]
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_maps_that_are_there_are_kept_and_all_are_in_the_report(
    score, photos, tmp_path, monkeypatch, capsys
):
    anomaly_map, mapped = RandomWordCLIPDetector.anomaly_map, []

    def noted(self, X, size=None):
        if len(mapped) == N_DONE:
            raise Death("dies")
        mapped.extend(map(os.path.basename, X))
        return anomaly_map(self, X, size)

    monkeypatch.setattr(RandomWordCLIPDetector, "anomaly_map", noted)
    options = ["--maps", str(tmp_path / "maps"), "--report", str(tmp_path / "r.html")]
    with pytest.raises(Death):
        score(*options)
    # Eight rows are in the journal by now, and their maps are in place; the four after
    # them were scored, but have no maps.
    os.remove(tmp_path / "maps" / "00.png.png")
    mapped.clear()
    capsys.readouterr()
    score("--resume", *options)
    said = capsys.readouterr().err
    assert "8 of 13 pictures were scored before; 1 of them have no map of this" in said
    assert f"{tmp_path / 'maps'}: 13 maps" in said
    assert mapped == names([0, *range(N_DONE, 13)])
    assert len(os.listdir(tmp_path / "maps")) == 13
    assert page_data(tmp_path / "r.html")["hasMap"] == [True] * 13


def read_map(path):
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture
def noted_maps(monkeypatch):
    """The pictures whose maps are made, by name."""
    anomaly_map, mapped = RandomWordCLIPDetector.anomaly_map, []

    def noted(self, X, size=None):
        mapped.extend(map(os.path.basename, X))
        return anomaly_map(self, X, size)

    monkeypatch.setattr(RandomWordCLIPDetector, "anomaly_map", noted)
    return mapped


def test_maps_of_another_detector_are_made_again(
    dead_run, score, detector_file, tmp_path, noted_maps
):
    other = joblib.load(detector_file).set_params(anomaly_word="a rusty").fit()
    joblib.dump(other, tmp_path / "other.joblib")
    maps = tmp_path / "maps"
    more = ["--maps", str(maps)]
    score(*more, to="other.csv", detector=str(tmp_path / "other.joblib"))
    noted_maps.clear()
    score("--resume", *more)  # the rows of the dead run had no maps
    assert sorted(noted_maps) == names(range(13))
    score("--maps", str(tmp_path / "clean"), to="clean.csv")
    for name in names(range(13)):
        made, clean = (read_map(f / f"{name}.png") for f in (maps, tmp_path / "clean"))
        assert np.abs(made.astype(int) - clean).max() <= 2


@pytest.mark.parametrize("damage", ["changed picture", "cut map", "foreign map"])
def test_a_map_that_is_not_this_runs_is_made_again(
    damage, photos, images, score, tmp_path, noted_maps, stopped
):
    maps = tmp_path / "maps"
    more = ["--maps", str(maps), "--report", str(tmp_path / "r.html")]
    with stopped(Death("dies"), after=2), pytest.raises(Death):
        score(*more)
    assert noted_maps == names(range(N_DONE))
    noted_maps.clear()
    there = maps / "03.png.png"
    before = read_map(there)
    if damage == "changed picture":
        Image.fromarray(images[12]).save(photos / "03.png")
    elif damage == "cut map":
        there.write_bytes(there.read_bytes()[:-40])
    else:
        Image.fromarray(np.zeros_like(before)).save(there)
    score("--resume", *more)
    assert noted_maps == names([3, *range(N_DONE, 13)])
    same = np.abs(read_map(there).astype(int) - before).max() <= 2
    assert same == (damage != "changed picture")


def test_maps_of_tiles_are_finer_and_made_again_for_other_tiles(
    dead_run, photos, images, score, tmp_path
):
    large = Image.fromarray(images[0]).resize((200, 150))
    large.save(photos / "large.png")
    there, maps = (
        tmp_path / "maps" / "large.png.png",
        ["--maps", str(tmp_path / "maps")],
    )
    score("--resume", *maps)
    whole = read_map(there)
    score("--resume", *maps, "--map-tiles", "64")
    tiled = read_map(there)
    assert tiled.shape == whole.shape == (150, 200)
    assert np.abs(tiled.astype(int) - whole).max() > 100
    # What fits into one tile is mapped as it was.
    score(*maps, to="again.csv")
    np.testing.assert_array_equal(read_map(there), whole)


def test_no_row_is_kept_before_its_map_is_in_place(
    score, tmp_path, monkeypatch, noted_maps, seen
):
    def die(self, path, values):
        raise Death("dies")

    with monkeypatch.context() as context:
        context.setattr(_maps.MapFolder, "_write", die)
        with pytest.raises(Death):
            score("--maps", str(tmp_path / "maps"))
    journal = (tmp_path / "scores.csv.journal").read_bytes()
    assert len(journal.splitlines()) == 1 and b".png" not in journal


def test_a_picture_without_a_score_has_no_map_of_an_earlier_run(
    photos, score, tmp_path
):
    maps = tmp_path / "maps"
    score("--maps", str(maps))
    (photos / "03.png").write_bytes(b"no picture")
    Image.new("L", (4, 4)).save(maps / "own.png")
    score("--maps", str(maps), code=3)
    expected = {f"{name}.png" for name in names(range(13)) if name != "03.png"}
    assert set(os.listdir(maps)) == expected | {"own.png"}


# What makes another run


@pytest.mark.parametrize("same", ["size", "time"])
def test_a_changed_picture_of_the_same_size_or_the_same_time_is_scored_again(
    same, photos, dead_run, score, seen
):
    by_size = sorted(photos.iterdir(), key=lambda path: path.stat().st_size)
    small = by_size[0].read_bytes()
    large = max((photos / n for n in names(range(N_DONE))), key=by_size.index)
    stamp = large.stat()
    if same == "size":  # what follows the end of a PNG is not read
        large.write_bytes(small.ljust(stamp.st_size, b"\0"))
        os.utime(large, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1_000))
    else:
        large.write_bytes(small)
        os.utime(large, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    score("--resume")
    assert sorted(seen) == sorted([large.name, *names(range(N_DONE, 13))])


@pytest.mark.parametrize("what", ["precision", "numbers"])
def test_another_precision_is_another_run(
    what, dead_run, photos, detector_file, tmp_path, monkeypatch, seen, capsys
):
    detector = joblib.load(detector_file)
    if what == "precision":
        # The numbers are the same by chance, but not on each machine.
        detector.set_params(embedder__precision="fp32")
    else:  # "auto" is another one where a GPU is
        load = CLIPImageEmbedder._load

        def half(self):
            return replace(load(self), dtype="torch.float16")

        monkeypatch.setattr(
            _table_run,
            "run_identity",
            _with_backbone(half, _table_run.run_identity),
        )
    joblib.dump(detector, tmp_path / "d.joblib")
    arguments = ["-d", str(tmp_path / "d.joblib"), "-o", str(tmp_path / "scores.csv")]
    assert cli.main(["score", str(photos), *arguments, "--resume"]) == 1
    reason = {"precision": "embedder__precision was", "numbers": "numbers was"}[what]
    assert reason in capsys.readouterr().err
    assert dead_run.exists() and seen == []


def _with_backbone(load, identity):
    """Return the function `identity`, for which embedders load their model so."""

    def identified(detector):
        with pytest.MonkeyPatch.context() as context:
            context.setattr(CLIPImageEmbedder, "_load", load)
            return identity(detector)

    return identified


def test_two_runs_to_one_table_refuse_politely(
    photos, detector_file, tmp_path, capsys, monkeypatch
):
    def too_late(*args):
        raise AssertionError("the work was begun")

    monkeypatch.setattr(_score, "detector_to_score", too_late)
    target = tmp_path / "scores.csv"
    arguments = ["score", str(photos), "-d", detector_file, "-o", str(target)]
    with exclusive(target):
        for options in ([], ["--resume"]):
            assert cli.main([*arguments, *options]) == 1
            assert "written by another run" in capsys.readouterr().err


def test_resume_needs_a_table(photos, detector_file, capsys):
    assert cli.main(["score", str(photos), "-d", detector_file, "--resume"]) == 1
    assert "--resume needs --output" in capsys.readouterr().err


def test_a_cluster_scores_what_is_missing(dead_run, score, seen, cluster):
    resumed = score("--resume", "--dask", "local:2")
    assert sorted(seen) == names(range(N_DONE, 13))
    clean = score(to="clean.csv")
    assert [row["path"] for row in resumed] == [row["path"] for row in clean]
    assert scores_of(resumed) == pytest.approx(scores_of(clean), abs=1e-6)
