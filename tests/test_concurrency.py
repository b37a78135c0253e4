"""Estimators under threads, forks and spawned processes: the same scores, no hang."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
from detectors import tiny
from PIL import Image

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector, clear_backbone_cache
from skclipad._clip.backbone import load_backbone
from skclipad.datasets import make_defect_images


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for i, image in enumerate(make_defect_images(6, random_state=3).images):
        Image.fromarray(image).save(folder / f"{i}.png")
    return sorted(map(str, folder.iterdir()))


@pytest.fixture(scope="module")
def detector():
    return tiny(embedder=CLIPImageEmbedder("tiny", batch_size=2)).fit()


@pytest.fixture(scope="module")
def detector_file(detector, tmp_path_factory):
    path = tmp_path_factory.mktemp("fit") / "detector.joblib"
    joblib.dump(detector, path)
    return str(path)


def test_eight_threads_share_a_detector_its_model_and_its_store(
    detector, paths, tmp_path, monkeypatch
):
    expected = detector.predict_proba(paths)
    detector = joblib.load(_dumped(detector, tmp_path))
    detector.set_params(embedder__memory=tmp_path / "memory")
    clear_backbone_cache()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(detector.predict_proba, [paths] * 16))
    for scores in found:
        np.testing.assert_allclose(scores, expected, atol=1e-6)
    # The model that all of them used is the one that the cache still holds.
    backbone = load_backbone("tiny", detector.embedder.pretrained)
    assert backbone is detector.embedder._load()


def _dumped(detector, folder):
    joblib.dump(detector, folder / "detector.joblib")
    return folder / "detector.joblib"


def test_eight_threads_fit_the_same(detector, paths):
    def fit(_):
        again = RandomWordCLIPDetector(**detector.get_params(deep=False))
        return again.fit().predict_proba(paths)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(fit, range(8)))
    for scores in found:
        np.testing.assert_array_equal(scores, detector.predict_proba(paths))


# Two threads of torch in the parent: what a forked child cannot inherit.
PROGRAM = """
import multiprocessing, sys
import joblib, numpy as np, torch

def scores_of(detector, paths):
    return detector.predict_proba(paths)

if __name__ == "__main__":
    starts, file, *paths = sys.argv[1:]
    torch.set_num_threads(2)
    detector = joblib.load(file)
    expected = detector.predict_proba(paths)  # the model is loaded, threads have run
    for start in starts.split():
        start, n = start.split("-")
        with multiprocessing.get_context(start).Pool(int(n)) as pool:
            found = pool.starmap(scores_of, [(detector, paths)] * int(n))
        off = max(np.abs(scores - expected).max() for scores in found)
        print(start, len(found), off < 1e-6, flush=True)
"""
# Forking is for Linux.
STARTS = ["fork-4", "spawn-1"] if sys.platform == "linux" else ["spawn-1"]


@pytest.fixture(scope="module")
def said_by_program(detector_file, paths, tmp_path_factory):
    """What one program prints that starts processes in each way."""
    program = tmp_path_factory.mktemp("program") / "program.py"
    program.write_text(PROGRAM)
    arguments = [str(program), " ".join(STARTS), detector_file, *paths]
    return subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        capture_output=True,
        text=True,
        timeout=900,
    )


@pytest.mark.parametrize("start, n", [("fork", 4), ("spawn", 1)])
def test_processes_give_the_scores_of_one(start, n, said_by_program):
    if f"{start}-{n}" not in STARTS:
        pytest.skip("forking is for Linux")
    lines = said_by_program.stdout.splitlines()
    assert f"{start} {n} True" in lines, said_by_program.stderr
