"""Scores on a cluster: complete, in order, the same as on one machine; then resumed."""

import importlib
import linecache
import multiprocessing.forkserver
import os
import shutil
import signal
import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest
from joblib import parallel_config
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad._storage.locks import exclusive
from skclipad.datasets import make_defect_images
from skclipad.distributed import score_distributed
from skclipad.scoring import _cluster, _distributed, _rows
from skclipad.scoring._cluster import open_client
from skclipad.scoring._rows import detector_identity

dask = pytest.importorskip("distributed")
dask_config = pytest.importorskip("dask").config
pa = pytest.importorskip("pyarrow")

COLUMNS = ["row", "path", "score", "label", "s_pr", "s_fnn", "s_img", "error"]
BROKEN = 4  # the row of a file that is no picture


@pytest.fixture(scope="module")
def detector():
    embedder = CLIPImageEmbedder("tiny")
    return RandomWordCLIPDetector(N_p=200, random_state=0, embedder=embedder).fit()


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for i, image in enumerate(make_defect_images(12, random_state=7).images):
        Image.fromarray(image).save(folder / f"{i:02d}.png")
    (folder / f"{BROKEN:02d}-broken.png").write_bytes(b"no picture")
    return sorted(map(str, folder.iterdir()))


@pytest.fixture(scope="module")
def client():
    """A cluster of threads in this process: quick, and its code can be replaced."""
    with dask.Client(
        processes=False,
        n_workers=2,
        threads_per_worker=1,
        dashboard_address="127.0.0.1:0",
    ) as client:
        yield client


@pytest.fixture
def out(tmp_path):
    return tmp_path / "scores"


def in_blocks(score, items, block_size):
    """Score items block by block: batches of another size round in another way."""
    starts = range(0, len(items), block_size)
    return np.concatenate([score(items[i : i + block_size]) for i in starts])


def check_scores(out, detector, paths, block_size=100):
    """Assert that a folder holds what one machine says of the same blocks."""
    table = pd.read_parquet(out)
    assert table.row.tolist() == list(range(len(paths)))
    assert table.path.tolist() == list(map(str, paths))
    good = [row for row, path in enumerate(paths) if "broken" not in str(path)]
    assert table.index[table.error.isna()].tolist() == good
    # One broken picture leaves its block a smaller batch, as it does on the cluster.
    blocks = [
        [row for row in good if row // block_size == block]
        for block in range(-(-len(paths) // block_size))
    ]
    for rows in filter(None, blocks):
        block = [paths[row] for row in rows]
        for name, expected in detector.score_components(block).items():
            np.testing.assert_allclose(table[name][rows], expected, atol=1e-6)
        expected = detector.predict_proba(block)[:, 1]
        np.testing.assert_allclose(table.score[rows], expected, atol=1e-6)
    chosen = [paths[row] for row in good]
    assert table.label[good].tolist() == detector.predict(chosen).tolist()
    assert table.score.drop(good).isna().all()
    return table


@pytest.mark.parametrize("block_size", [1, 5, 13, 100])
def test_scores_are_those_of_one_machine_in_order(
    detector, paths, client, out, block_size
):
    run = score_distributed(detector, paths, client, out=out, block_size=block_size)
    assert (run.n_rows, run.n_failed, run.n_blocks_before) == (13, 1, 0)
    table = check_scores(run.path, detector, paths, block_size)
    assert list(table) == COLUMNS
    assert "not an image" in table.error[BROKEN]
    assert len(list(out.glob("part-*.parquet"))) == run.n_blocks == -(-13 // block_size)


def test_the_detector_stays_as_it_was(detector, paths, client, out):
    before = str(detector.get_params())
    score_distributed(detector, paths, client, out=out)
    assert str(detector.get_params()) == before


def test_the_current_client_is_the_default(detector, paths, client, out):
    with client.as_current():
        assert score_distributed(detector, paths[:2], out=out).n_rows == 2


@pytest.mark.parametrize("table_of", [pd.DataFrame, pl.DataFrame, pa.table])
def test_a_data_frame_names_objects_and_its_columns_are_handed_on(
    detector, paths, client, out, table_of
):
    good = [path for path in paths if "broken" not in path]
    objects = ["bottle", "nut"] * 6
    columns = {"image": good, "object": objects, "camera": [None, *range(11)]}
    frame = table_of(columns)
    score_distributed(detector, frame, client, out=out, block_size=5)
    table = pd.read_parquet(out)
    assert list(table) == [*COLUMNS, "object", "camera"]
    assert table.object.tolist() == objects
    assert table.camera.tolist()[1:] == list(range(11))
    known = pd.DataFrame(columns)[["image", "object"]]
    expected = in_blocks(lambda X: detector.predict_proba(X)[:, 1], known, 5)
    np.testing.assert_allclose(table.score, expected, atol=1e-6)
    assert not np.allclose(expected, detector.predict_proba(good)[:, 1], atol=1e-6)


def test_an_index_and_paths_as_objects_are_kept(detector, paths, client, out, tmp_path):
    frame = pd.DataFrame({"image": pd.Series(paths[:3]).map(type(tmp_path))})
    frame.index = pd.Index(["x", "y", "z"], name="id")
    score_distributed(detector, frame, client, out=out)
    table = pd.read_parquet(out)
    assert table.id.tolist() == ["x", "y", "z"]
    assert table.path.tolist() == paths[:3]


def test_a_name_that_is_no_utf8(detector, paths, client, out, tmp_path):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    os.symlink(paths[0], name)
    score_distributed(detector, [name], client, out=out)
    (row,) = pd.read_parquet(out).itertuples()
    assert row.path == str(tmp_path / "caf\\xe9.png") and row.score >= 0


# Runs that die


@pytest.fixture
def dead_run(detector, paths, client, out, monkeypatch):
    """What a run leaves that dies when two of its five parts are written."""
    write, n_written = _distributed._write_part, []

    def die(*args):
        if len(n_written) == 2:
            raise SystemError("the client dies")
        n_written.append(args)
        return write(*args)

    with monkeypatch.context() as context:
        context.setattr(_distributed, "_write_part", die)
        with pytest.raises(SystemError):
            score_distributed(detector, paths, client, out=out, block_size=3)
    assert not out.exists()
    return out.with_name("scores.partial")


def test_a_run_that_died_goes_on_with_what_is_missing(
    dead_run, detector, paths, client, out
):
    assert len(list(dead_run.glob("part-*"))) == 2
    run = score_distributed(detector, paths, client, out=out, block_size=3)
    assert (run.n_blocks, run.n_blocks_before) == (5, 2)
    check_scores(out, detector, paths)
    assert not dead_run.exists()
    again = score_distributed(detector, paths, client, out=out, block_size=3)
    assert (again.n_blocks_before, again.n_failed) == (5, 1)


def cut(part):
    os.truncate(part, part.stat().st_size // 2)


def empty(part):
    part.write_bytes(b"")


def write_another(part):
    pd.DataFrame({"a": range(3)}).to_parquet(part)


@pytest.mark.parametrize("damage", [cut, empty, write_another])
def test_a_part_that_is_not_whole_is_computed_again(
    dead_run, detector, paths, client, out, damage
):
    damage(min(dead_run.glob("part-*")))
    (dead_run / "part-000000000009.parquet.partial").write_bytes(b"half")
    run = score_distributed(detector, paths, client, out=out, block_size=3)
    assert run.n_blocks_before == 1
    check_scores(out, detector, paths)
    assert len(os.listdir(out)) == 6


def test_rows_of_two_runs_are_never_mixed(dead_run, detector, paths, client, out):
    other = RandomWordCLIPDetector(**detector.get_params(deep=False))
    other.set_params(random_state=1).fit()
    detector_of_another_threshold = RandomWordCLIPDetector(**detector.get_params(False))
    detector_of_another_threshold.set_params(threshold=0.9).fit()
    for changed, X, size, reason in (
        (other, paths, 3, "another detector"),
        (detector_of_another_threshold, paths, 3, "threshold was 0.5 and is 0.9"),
        (detector, paths[::-1], 3, "other images"),
        (detector, paths, 4, "block_size was 3 and is 4"),
        (
            detector,
            paths[:-1],
            3,
            "other images and .* .n_rows was 13 and is 12",
        ),
    ):
        with pytest.raises(ValueError, match=f"scores.partial.*{reason}"):
            score_distributed(changed, X, client, out=out, block_size=size)
    score_distributed(detector, paths, client, out=out, block_size=3)
    with pytest.raises(FileExistsError, match="made with another detector. Remove"):
        score_distributed(other, paths, client, out=out, block_size=3)
    (out / "part-000000000003.parquet").unlink()
    with pytest.raises(FileExistsError, match="lost or damaged 1 of 5 parts"):
        score_distributed(detector, paths, client, out=out, block_size=3)


def test_references_tell_runs_apart(detector, paths, client, out):
    few_shot = [clone(detector).set_params(n_shots=1).fit([path]) for path in paths[:2]]
    for learnt in ("coefs_", "prompt_embeddings_"):
        np.testing.assert_equal(*(getattr(one, learnt) for one in few_shot))
    score_distributed(few_shot[0], paths[5:7], client, out=out)
    with pytest.raises(FileExistsError, match="made with another detector. Remove"):
        score_distributed(few_shot[1], paths[5:7], client, out=out)
    assert score_distributed(few_shot[0], paths[5:7], client, out=out).n_blocks == 1


def test_other_columns_tell_runs_apart(detector, paths, client, out):
    frame = pd.DataFrame({"image": paths[:2], "object": ["bottle", "nut"]})
    score_distributed(detector, frame, client, out=out)
    with pytest.raises(FileExistsError, match="made with other images. Remove"):
        score_distributed(detector, frame.assign(object="cup"), client, out=out)


def whole_view(width, height):
    return [(0, 0, width, height)]


def with_crops(detector, crops):
    return clone(detector).set_params(embedder__crops=crops).fit()


CALLABLES = {
    "lambdas": (lambda w, h: [(0, 0, w, h)], lambda w, h: [(0, 0, w // 4, h // 4)]),
    "the same lambda": (lambda w, h: [(0, 0, w, h)],) * 2,
    "partial": (partial(whole_view),) * 2,
}


@pytest.mark.parametrize("kind", CALLABLES)
def test_callables_without_a_name_are_never_the_same_run(
    detector, paths, client, out, kind
):
    first, second = (with_crops(detector, crops) for crops in CALLABLES[kind])
    score_distributed(first, paths[:2], client, out=out)
    with pytest.raises(FileExistsError, match="_crops was .*, a callable that no"):
        score_distributed(second, paths[:2], client, out=out)


def test_a_function_with_a_name_is_gone_on_with_until_its_source_changes(
    detector, paths, client, out, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)

    def imported(number):
        lines = f"def left(width, height): return [(0, 0, width // {number}, height)]"
        (tmp_path / "my_crops.py").write_text(lines)
        monkeypatch.delitem(sys.modules, "my_crops", raising=False)
        linecache.clearcache()
        importlib.invalidate_caches()
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
        return with_crops(detector, importlib.import_module("my_crops").left)

    score_distributed(imported(2), paths[:2], client, out=out)
    again = score_distributed(imported(2), paths[:2], client, out=out)
    assert again.n_blocks_before == 1
    with pytest.raises(FileExistsError, match="other settings .embedder__crops was"):
        score_distributed(imported(3), paths[:2], client, out=out)
    # As a script's or a notebook's, it may be another one by the same name.
    ours = imported(3)
    monkeypatch.setattr(ours.embedder.crops, "__module__", "__main__")
    texts = {detector_identity(ours)["embedder__crops"] for _ in range(2)}
    assert len(texts) == 2


def copied(paths, folder):
    return [shutil.copy(path, folder) for path in paths]


def test_images_that_have_changed_are_scored_again(
    detector, paths, client, out, tmp_path
):
    own = copied(paths, tmp_path)
    score_distributed(detector, own, client, out=out, block_size=3)
    shutil.copy(paths[0], own[7])  # another image, of another time
    status = os.stat(own[1])
    shutil.copy(paths[2], own[1])
    os.utime(own[1], ns=(status.st_atime_ns, status.st_mtime_ns))  # of another size
    assert os.stat(own[1]).st_size != status.st_size
    run = score_distributed(detector, own, client, out=out, block_size=3)
    assert (run.n_blocks, run.n_blocks_before) == (5, 3)
    check_scores(out, detector, own, 3)
    again = score_distributed(detector, own, client, out=out, block_size=3)
    assert again.n_blocks_before == 5


def test_images_that_change_before_a_run_goes_on_are_scored_again(
    dead_run, detector, paths, client, out
):
    (part,) = sorted(dead_run.glob("part-*"))[:1]
    first = pd.read_parquet(part).path[0]
    with open(first, "rb+") as file:
        content = file.read()
    try:
        Image.new("RGB", (64, 64)).save(first)
        run = score_distributed(detector, paths, client, out=out, block_size=3)
        assert run.n_blocks_before == 1
        check_scores(out, detector, paths, 3)
    finally:
        with open(first, "wb") as file:
            file.write(content)


def test_an_image_that_appears_after_all_is_scored(
    detector, paths, client, out, tmp_path
):
    names = [str(tmp_path / name) for name in ("a.png", "b.png")]
    assert score_distributed(detector, names, client, out=out).n_failed == 2
    shutil.copy(paths[0], names[1])
    run = score_distributed(detector, names, client, out=out)
    assert (run.n_failed, run.n_blocks_before) == (1, 0)


def test_two_folders_of_one_name_are_not_mixed(detector, paths, client, out, tmp_path):
    own = copied(paths[:2], tmp_path)
    score_distributed(detector, own, client, out=out)
    os.utime(own[0], ns=(0, 0))
    partial_folder = out.with_name("scores.partial")
    partial_folder.mkdir()
    with pytest.raises(FileExistsError, match="scores.partial exists beside"):
        score_distributed(detector, own, client, out=out)
    partial_folder.rmdir()
    assert score_distributed(detector, own, client, out=out).n_blocks_before == 0


def test_an_error_of_a_worker_reaches_the_caller(
    detector, paths, client, out, monkeypatch
):
    def fail(*args):
        raise MemoryError("on the worker")

    monkeypatch.setattr(_rows, "score_rows", fail)
    with pytest.raises(MemoryError, match="on the worker"):
        score_distributed(detector, paths, client, out=out)
    assert not out.exists()


@pytest.mark.parametrize("deadly", [[0], [7], [3, 4, 12]])
def test_a_picture_that_kills_every_worker_is_a_row(
    detector, paths, client, out, monkeypatch, deadly
):
    score_rows = _rows.score_rows

    def die(detector, X):
        if any(paths[row] in X for row in deadly):
            # What the scheduler says when a task has killed too many workers.
            raise dask.KilledWorker("task", SimpleNamespace(address="here"), 3)
        return score_rows(detector, X)

    monkeypatch.setattr(_rows, "score_rows", die)
    monkeypatch.setattr(_cluster, "PIECES", 3)
    score_distributed(detector, paths, client, out=out, block_size=10)
    table = pd.read_parquet(out)
    assert table.path.tolist() == paths
    died = ["every process that read it died" in str(why) for why in table.error]
    assert np.flatnonzero(died).tolist() == deadly
    assert table.score.isna().sum() == len({*deadly, BROKEN})


# What is refused


def test_two_runs_to_one_output_refuse_politely(detector, paths, client, out):
    with exclusive(out):
        with pytest.raises(BlockingIOError, match="another run .process"):
            score_distributed(detector, paths, client, out=out)
    assert score_distributed(detector, paths, client, out=out).n_rows == 13


def test_a_folder_of_somebody_else_is_left_alone(detector, paths, client, out):
    out.mkdir()
    (out / "notes.txt").write_text("keep me")
    with pytest.raises(FileExistsError, match="no run of score_distributed made it"):
        score_distributed(detector, paths, client, out=out)
    assert os.listdir(out) == ["notes.txt"]


@pytest.mark.parametrize(
    "X, error, message",
    [
        ([], ValueError, "Got no images"),
        ("a.png", TypeError, r"pass \[path\]"),
        (["a.png", None], TypeError, "NoneType in row 1"),
        (np.zeros((2, 8, 8, 3)), TypeError, "ndarray in row 0"),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), ValueError, "one named 'image'"),
        (pd.DataFrame({"image": ["x"], "score": [1]}), ValueError, r"\['score'\]"),
        (pd.DataFrame(), ValueError, "one named 'image'"),
        (pa.table({"a": ["x"], "b": ["y"]}), ValueError, "one named 'image'"),
        (None, TypeError, "X of type NoneType"),
        ({"a.png"}, TypeError, "X of type set, but expected paths in some order"),
        ({"image": ["a.png"]}, TypeError, "X of type dict"),
    ],
)
def test_input_that_is_no_paths_is_refused(detector, client, out, X, error, message):
    with pytest.raises(error, match=message):
        score_distributed(detector, X, client, out=out)
    assert not out.exists()


ARGUMENTS = {
    "block_size -1": ({"block_size": -1}, ValueError, "block_size=-1, but.*1 or more"),
    "block_size 0": ({"block_size": 0}, ValueError, "block_size=0, but expected 1"),
    "block_size 2.5": ({"block_size": 2.5}, TypeError, "block_size=2.5.*an int"),
    "block_size True": ({"block_size": True}, TypeError, "block_size=True.*an int"),
    "block_size None": ({"block_size": None}, TypeError, "block_size=None.*an int"),
    "out None": ({"out": None}, TypeError, "out=None, but expected the name"),
    "out empty": ({"out": ""}, TypeError, "out='', but expected the name"),
    "client": ({"client": "tcp://x:1"}, TypeError, r"type str.*Client\(it\)"),
    "detector": ({"detector": object()}, TypeError, "type object.*its last step"),
    "unfitted": ({"detector": RandomWordCLIPDetector()}, NotFittedError, "not fitted"),
}


@pytest.mark.parametrize("kind", ARGUMENTS)
def test_arguments_of_no_use_are_refused_in_words(
    detector, paths, client, out, kind, tmp_path
):
    wrong, error, message = ARGUMENTS[kind]
    arguments = {"detector": detector, "X": paths, "client": client, "out": out}
    before = os.listdir(tmp_path)
    with pytest.raises(error, match=message):
        score_distributed(**arguments | wrong)
    assert os.listdir(tmp_path) == before


def test_a_client_that_is_closed_is_refused(detector, paths, client, out):
    other = dask.Client(client.scheduler.address)
    other.close()
    with pytest.raises(ValueError, match="client that is closed, but expected one"):
        score_distributed(detector, paths, other, out=out)


def test_a_whole_number_of_numpy_is_a_block_size(detector, paths, client, out):
    run = score_distributed(
        detector, paths[:3], client, out=out, block_size=np.int64(2)
    )
    assert run.n_blocks == 2


def test_without_a_client_or_a_folder_the_message_says_what_to_do(
    detector, paths, out, client
):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        score_distributed(detector, paths, client, out=out / "below")


@pytest.mark.parametrize("address", ["local:", "local:0", "local:x", "somewhere"])
def test_addresses_of_no_kind_are_refused(address):
    with pytest.raises(ValueError, match="expected"), open_client(address):
        pass


# Processes


@pytest.fixture(scope="module")
def processes():
    """Two processes, forked from one that has spent the seconds that imports take."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["distributed", "open_clip", "skclipad.scoring"])
    multiprocessing.forkserver.ensure_running()
    config = {"distributed.worker.multiprocessing-method": "forkserver"}
    with dask_config.set(config), open_client("local:2") as client:
        yield client


def count_backbones():
    from skclipad._clip import backbone as _backbone

    return len(_backbone._cache)


def test_a_worker_killed_midway_costs_no_row(
    processes, detector, paths, out, monkeypatch
):
    write, killed = _distributed._write_part, []

    def kill_then_write(*args):
        if not killed:
            pids = processes.run(os.getpid)
            killed.append(min(pids.values()))
            os.kill(killed[0], signal.SIGKILL)
        return write(*args)

    monkeypatch.setattr(_distributed, "_write_part", kill_then_write)
    run = score_distributed(detector, paths * 4, processes, out=out, block_size=5)
    assert run.n_rows == 52 and killed
    check_scores(out, detector, paths * 4, 5)
    processes.wait_for_workers(2)
    assert killed[0] not in processes.run(os.getpid).values()


def test_a_process_that_dies_is_started_anew_however_long_that_takes():
    impatient = {"distributed.deploy.lost-worker-timeout": "1ms"}
    with dask_config.set(impatient), open_client("local:1") as client:
        (died,) = client.run(os.getpid).values()
        os.kill(died, signal.SIGKILL)
        assert client.submit(os.getpid).result(timeout=60) != died


def test_grid_search_runs_on_dask(processes, paths):
    embedder = CLIPImageEmbedder("tiny", on_error="nan")
    good = [path for path in paths if "broken" not in path]
    search = GridSearchCV(
        RandomWordCLIPDetector(N_p=100, random_state=0, embedder=embedder),
        {"l_min": [3, 5]},
        scoring="roc_auc",
        cv=2,
    )
    y = [0, 1] * 6
    alone = search.fit(good, y).cv_results_["mean_test_score"]
    with processes.as_current(), parallel_config(backend="dask"):
        spread = search.fit(good, y).cv_results_["mean_test_score"]
    np.testing.assert_allclose(spread, alone, atol=1e-6)
