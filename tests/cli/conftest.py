"""What tests of the command line share: a detector, pictures, and a way to stop."""

import os
from contextlib import contextmanager

import pytest
from pictures import fill
from PIL import Image

from skclipad import cli
from skclipad.cli import _table_run
from skclipad.datasets import make_defect_images
from skclipad.scoring import _rows, _run


@pytest.fixture(scope="session")
def detector_file(tmp_path_factory):
    """The name of a file that ``skclipad fit`` wrote; tests leave it as it is."""
    path = tmp_path_factory.mktemp("fit") / "detector.joblib"
    arguments = ["-o", str(path), "--model", "tiny", "--n-pairs", "200"]
    assert cli.main(["fit", *arguments]) == 0
    return str(path)


@pytest.fixture(scope="session")
def bunch():
    """Painted pictures, good and damaged ones; fewer of them are the same."""
    return make_defect_images(13, random_state=7)


@pytest.fixture
def photos(tmp_path, bunch):
    """A folder in MVTec's layout, test/good and test/crack, and one picture above."""
    images = bunch.images[:12]
    for i, (image, target) in enumerate(zip(images, bunch.target, strict=False)):
        folder = tmp_path / "photos" / "test" / ("crack" if target else "good")
        fill(folder, [image], start=i)
    Image.fromarray(bunch.images[0]).save(tmp_path / "photos" / "top.JPG")
    return tmp_path / "photos"


@pytest.fixture(scope="session")
def images(bunch):
    return bunch.images


@pytest.fixture
def seen(monkeypatch):
    """The pictures that are scored, by name."""
    score_rows, names = _rows.score_rows, []

    def noted(detector, paths):
        names.extend(map(os.path.basename, paths))
        return score_rows(detector, paths)

    monkeypatch.setattr(_rows, "score_rows", noted)
    return names


@pytest.fixture
def blocks_of(monkeypatch):
    """A function that says how many pictures are scored together."""

    def cut(n):
        monkeypatch.setattr(_run, "block_size", lambda detector: n)

    return cut


@pytest.fixture
def stopped(monkeypatch):
    """A function that gives a context in which scoring fails after some blocks.

    The context has the names of the pictures that were scored, block by block.
    """

    @contextmanager
    def stop(error=KeyboardInterrupt, after=1):
        score_rows, blocks = _rows.score_rows, []

        def scored(detector, paths):
            if len(blocks) == after:
                raise error
            blocks.append([os.path.basename(path) for path in paths])
            return score_rows(detector, paths)

        with monkeypatch.context() as context:
            context.setattr(_rows, "score_rows", scored)
            yield blocks

    return stop


@pytest.fixture
def cluster(monkeypatch):
    """``--dask local:2`` has its cluster in this process."""
    dask = pytest.importorskip("distributed")
    here = {"processes": False, "dashboard_address": "127.0.0.1:0", "n_workers": 2}

    @contextmanager
    def in_this_process(address):
        assert address == "local:2"
        with dask.Client(**here, threads_per_worker=1) as client:
            yield client

    monkeypatch.setattr(_table_run, "open_client", in_this_process)
