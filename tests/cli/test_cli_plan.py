"""``skclipad score --plan``: what a run takes is said, and nothing is done."""

import os
import re
import shutil

import pytest
from pictures import fill
from PIL import Image

from skclipad import cli
from skclipad.cli import _plan
from skclipad.scoring import _plan as plans

N = 7


@pytest.fixture
def photos(tmp_path, images, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "photos", images[:N])
    Image.new("RGB", (400, 300)).save(tmp_path / "photos" / "large.png")
    (tmp_path / "photos" / "broken.png").write_bytes(b"no image")
    return tmp_path / "photos"


@pytest.fixture
def plan(photos, detector_file, capsys):
    def run(*options, code=0):
        capsys.readouterr()
        arguments = ["score", "photos", "-d", detector_file, "--plan"]
        assert cli.main([*arguments, *options]) == code
        return capsys.readouterr().out

    return run


def sizes(said):
    """Return the bytes of each thing on the line of the disk."""
    (line,) = re.findall(r"^disk +(.*)$", said, re.M)
    units = {"kB": 1e3, "MB": 1e6, "GB": 1e9}
    found = (part.rsplit(" ", 2) for part in line.split(", "))
    return {name: float(n) * units[unit] for name, n, unit in found}


def test_it_says_what_there_is_and_leaves_nothing(plan, photos, tmp_path):
    before = sorted(os.listdir(tmp_path))
    said = plan("-o", "s.csv", "--maps", "maps", "--report", "r.html")
    assert "9 pictures, 9 of them to be scored" in said
    assert re.search(r"^largest +400 x 300 pixels$", said, re.M)
    assert re.search(r"^time +\S.* pictures a second, as measured on 9$", said, re.M)
    assert "for 9 maps" in said and re.search(
        r"^memory +[0-9.]+ [MG]B at most$", said, re.M
    )
    assert "nothing was written; leave --plan out to score them" in said
    assert sorted(os.listdir(tmp_path)) == before
    assert "maps" not in plan("-o", "s.csv") and "report" not in plan("-o", "s.csv")


def test_the_disk_is_that_of_the_run(plan, photos, detector_file, tmp_path):
    (photos / "broken.png").unlink()
    options = ["-o", "s.csv", "--maps", "maps", "--report", "r.html"]
    planned = sizes(plan(*options))
    assert cli.main(["score", "photos", "-d", detector_file, *options]) == 0
    table = (tmp_path / "s.csv").stat().st_size
    assert planned["the table"] == pytest.approx(table, rel=0.2)
    maps = sum(path.stat().st_size for path in (tmp_path / "maps").iterdir())
    assert maps / 5 < planned["maps"] < 5 * maps
    assert (tmp_path / "r.html").stat().st_size < planned["the report at most"]


def test_what_is_known_is_not_planned_again(plan, photos, detector_file):
    arguments = ["score", "photos", "-d", detector_file, "-o", "s.csv", "--update"]
    assert cli.main(arguments) == 3
    said = plan("-o", "s.csv", "--update")
    # The one without a score is tried again.
    assert "9 pictures, 1 of them to be scored" in said
    (photos / "broken.png").unlink()
    said = plan("-o", "s.csv", "--update")
    assert "8 pictures, 0 of them to be scored" in said and "memory" not in said


def test_what_a_run_that_died_left_counts_with_resume(
    plan, photos, detector_file, blocks_of, stopped
):
    blocks_of(4)
    with stopped():
        assert cli.main(["score", "photos", "-d", detector_file, "-o", "s.csv"]) == 130
    assert "9 pictures, 5 of them" in plan("-o", "s.csv", "--resume")
    assert "9 pictures, 9 of them" in plan("-o", "s.csv")


def test_a_disk_that_is_too_small_is_told(plan, monkeypatch):
    assert "MORE than" not in plan("-o", "s.csv")
    usage = shutil.disk_usage(".")._replace(free=1000)
    monkeypatch.setattr(_plan.shutil, "disk_usage", lambda folder: usage)
    assert "MORE than the 1.0 kB that are free in ." in plan("-o", "s.csv")


def test_where_the_memory_is_not_known_that_is_told(plan, monkeypatch):
    monkeypatch.setattr(plans, "resource", None)
    assert re.search("^memory +not known here$", plan(), re.M)


def test_memory_grows_with_images_and_not_with_tiles(photos):
    probe = plans.Probe(1, 1.0, 1, 1, [(10, 10), (4000, 3000)], 1.0, 1, 10**9)
    assert probe.largest == (4000, 3000)
    assert probe.memory(10**6, 2) - probe.memory(0, 2) == 3500 * 10**6
    whole, tiled = probe.memory(1, 2), probe.memory(1, 2, tiles=512)
    assert 10**9 < tiled < whole


def test_the_time_that_a_detector_takes_to_be_made_is_told(plan, photos, capsys):
    assert "to fit a detector" not in plan()
    settings = ["--model", "tiny", "--n-pairs", "100"]
    assert cli.main(["score", "photos", "--plan", *settings]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^ +and (less than a second|\d+ s) before, to fit", said, re.M)


def test_sizes_have_no_digits_that_nobody_knows(plan, monkeypatch):
    for n_bytes, said in ((820_400_000, "820 MB"), (4_140_000, "4.1 MB"), (900, "0.9")):
        monkeypatch.setattr(plans.Probe, "memory", lambda *of, n=n_bytes: n)
        assert re.search(f"^memory +{said}.* at most$", plan(), re.M)


def test_of_many_pictures_it_says_how_many_were_looked_at(plan, monkeypatch):
    monkeypatch.setattr(plans, "LOOKED_AT", 3)
    monkeypatch.setattr(_plan, "LOOKED_AT", 3)
    assert re.search(r"^largest .* pixels, of 3 looked at$", plan(), re.M)


HINT = "hint      --decode reduced reads these JPEGs faster"


@pytest.mark.parametrize(("n_large", "is_told"), [(2, True), (1, False)])
def test_large_jpegs_are_told_to_be_read_faster(
    n_large, is_told, plan, photos, detector_file
):
    for path in photos.iterdir():
        path.unlink()
    for i in range(3):
        side = 300 if i < n_large else 200
        Image.new("RGB", (side, side)).save(photos / f"{i}.jpg")
    assert (HINT in plan()) is is_told
    assert HINT not in plan("--decode", "reduced")
    assert HINT not in plan("--region", "0,0,190,190")
