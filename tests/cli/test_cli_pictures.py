"""Which files a folder search takes, and what it says of the others."""

import os

import pytest
from PIL import Image

from skclipad import cli
from skclipad._images.endings import image_endings
from skclipad.cli import _pictures
from skclipad.cli._pictures import find_images, image_filter
from skclipad.datasets import load_folder

# Endings that cameras, phones, scanners and image editors give, and how Pillow calls
# the format where it can write it.
WRITTEN = {
    ".avif": "AVIF",
    ".bmp": "BMP",
    ".dds": "DDS",
    ".dib": "DIB",
    ".gif": "GIF",
    ".ico": "ICO",
    ".j2k": "JPEG2000",
    ".jfif": "JPEG",
    ".jp2": "JPEG2000",
    ".jpe": "JPEG",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".mpo": "MPO",
    ".pbm": "PPM",
    ".pcx": "PCX",
    ".pgm": "PPM",
    ".png": "PNG",
    ".pnm": "PPM",
    ".ppm": "PPM",
    ".sgi": "SGI",
    ".tga": "TGA",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


@pytest.fixture
def save(photos):
    """A function that saves a small picture under a name."""

    def saved(name, kind="PNG"):
        path = photos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64), "teal").save(path, format=kind)
        return path

    return saved


def found_in(folder, **options):
    return [os.path.relpath(p, folder) for p in find_images([str(folder)], **options)]


def test_every_ending_of_a_format_that_is_read_is_scored(photos, save, capsys):
    Image.init()
    kinds = {e: kind for e, kind in WRITTEN.items() if kind in Image.SAVE}
    assert len(kinds) >= 22
    for ending, kind in kinds.items():
        save(f"a{ending}", kind)
    save("B.JPG", "JPEG")
    arguments = ["score", str(photos), "--model", "tiny", "--n-pairs", "50"]
    assert cli.main(arguments) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 1 + len(kinds) + 1
    assert "passed over" not in said.err


def test_what_only_looks_like_an_image_is_not_taken():
    refused = {".eps", ".ps", ".pdf", ".mpg", ".mpeg", ".wmf", ".emf", ".h5", ".txt"}
    assert not refused & image_endings()
    assert image_endings() >= WRITTEN.keys() - {".avif"} | {".psd"}


def test_the_loaders_of_data_sets_know_the_same_endings(photos, save):
    for kind in ("good", "bad"):
        save(f"{kind}/a.tga", "TGA")
        save(f"{kind}/b.jfif", "JPEG")
    assert len(load_folder(photos).paths) == 4


def test_what_is_passed_over_is_told_with_the_reason(photos, save, capsys):
    save("a.png")
    save("noending")
    save(".hidden.png")
    save(".thumbnails/a.png")
    (photos / "._a.png").write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X        ")
    for name in ("a.txt", "b.TXT", "scores.csv"):
        (photos / name).write_text("no picture", encoding="utf-8")
    assert found_in(photos) == ["a.png"]
    said = capsys.readouterr().err
    assert "passed over 7 files or folders: " in said
    for reason in ("3 hidden", "2 .txt", "1 .csv", "1 without ending"):
        assert reason in said
    assert find_images([str(photos / "noending")]) == [str(photos / "noending")]


def test_of_many_endings_the_most_frequent_are_named(photos, save, capsys):
    save("a.png")
    for i in range(12):
        (photos / f"{i}.x{i}").touch()
    (photos / "12.x11").touch()
    found_in(photos)
    said = capsys.readouterr().err
    assert "passed over 13 files or folders: 2 .x11, " in said and "4 others" in said


def test_nothing_passed_over_is_not_told(photos, save, capsys):
    save("a.png")
    save("b/c.png")
    assert found_in(photos) == ["a.png", "b/c.png"]
    assert capsys.readouterr().err == ""


# Links


@pytest.fixture
def link(photos):
    def linked(name, target):
        try:
            (photos / name).symlink_to(target, target_is_directory=True)
        except OSError:
            pytest.skip("no links here")

    return linked


def test_links_to_folders_are_followed(photos, save, link, tmp_path):
    save("z.png")
    save("../elsewhere/deep/f.png")
    link("linked", tmp_path / "elsewhere")
    assert found_in(photos) == ["z.png", "linked/deep/f.png"]


def test_what_lies_behind_a_junction_of_windows_is_found(
    photos, save, tmp_path, monkeypatch
):
    save("z.png")
    save("sub/f.png")
    walk, junction = os.walk, str(photos / "sub")

    def passing_by(start, **options):
        return (found for found in walk(start, **options) if found[0] != junction)

    def entering(start, **options):
        return walk(start, **options) if str(start) == junction else passing_by(start)

    monkeypatch.setattr(os, "walk", entering)
    assert found_in(photos) == ["z.png"]
    monkeypatch.setattr(_pictures, "is_junction", lambda path: path == junction)
    assert found_in(photos) == ["z.png", "sub/f.png"]


def test_each_folder_is_searched_once_and_under_its_own_name(photos, save, link):
    save("sub/a.png")
    link("again", photos / "sub")
    link("and again", photos / "sub")
    assert found_in(photos) == ["sub/a.png"]


def test_links_that_lead_back_are_no_loop(photos, save, link, tmp_path, capsys):
    save("sub/a.png")
    save("../beside.png")
    link("sub/back", photos)
    link("up", tmp_path)
    link("dangling", tmp_path / "nowhere")
    assert found_in(photos) == ["sub/a.png"]
    assert "2 linked in a loop" in capsys.readouterr().err


def test_links_between_linked_folders_end(photos, save, link, tmp_path):
    save("../one/a.png")
    save("../two/b.png")
    link("one", tmp_path / "one")
    link("../one/two", tmp_path / "two")
    link("../two/one", tmp_path / "one")
    assert found_in(photos) == ["one/a.png", "one/two/b.png"]


@pytest.fixture(params=["0", "numbers that repeat"])
def without_numbers(request, monkeypatch):
    """Files that are numbered as on network drives of Windows."""
    stat = os.stat
    number = 0 if request.param == "0" else 7

    def stat_alike(*args, **kwargs):
        status = stat(*args, **kwargs)
        return os.stat_result((status.st_mode, number, 1, *status[3:]))

    monkeypatch.setattr(_pictures, "NUMBERS_TELL_APART", number == 0)
    monkeypatch.setattr(os, "stat", stat_alike)


def test_on_drives_that_do_not_number_files_all_folders_are_searched(
    photos, save, link, tmp_path, without_numbers
):
    save("a.png")
    save("sub/deep/b.png")
    save("maps/c.png")
    save("../one/d.png")
    link("sub/back", photos)
    link("again", photos / "sub")
    link("one", tmp_path / "one")
    link("../one/one", tmp_path / "one")
    found = found_in(photos, leave_out=str(photos / "maps"))
    assert found == ["a.png", "sub/deep/b.png", "one/d.png"]


# What a watch hears of


@pytest.mark.parametrize("numbers", [True, False])
def test_events_of_a_folder_that_is_left_out_are_none_however_it_is_named(
    numbers, photos, save, link, tmp_path, monkeypatch
):
    monkeypatch.setattr(_pictures, "NUMBERS_TELL_APART", numbers)
    link("../by another name", photos / "bad")
    is_image = image_filter(str(photos), str(tmp_path / "by another name"))
    kept = [str(save(name)) for name in ("a.png", "sub/bad/b.png", "bad.png")]
    moved = [str(save(name)) for name in ("bad/a.png", "bad/sub/a.png")]
    assert [path for path in kept + moved if is_image(path)] == kept


# What an earlier run left


@pytest.mark.parametrize("place", ["maps", "sub/maps", ".", "../maps"])
def test_maps_are_never_scored_as_pictures(place, photos, save, tmp_path, capsys):
    save("a.png")
    save("sub/b.jpg", "JPEG")
    save("by hand.png.png")
    tiny = ["--model", "tiny", "--n-pairs", "50"]
    maps = ["--maps", str(photos / place), "--report", str(photos / "report.html")]
    arguments = ["score", str(photos), *tiny, "-o", str(photos / "scores.csv")]
    for more in (maps, maps, []):
        assert cli.main([*arguments, *more]) == 0
        assert "3 of 3 pictures scored" in capsys.readouterr().err
    pattern = [str(photos / "**" / "*.png")]
    assert sorted(find_images(pattern)) == sorted(
        str(photos / name) for name in ("a.png", "by hand.png.png")
    )


def test_a_folder_that_is_left_out_may_be_named(photos, save):
    save("a.png")
    save("maps/b.png")
    assert found_in(photos, leave_out=str(photos / "maps")) == ["a.png"]
    maps = photos / "maps"
    assert found_in(maps, leave_out=str(maps)) == ["b.png"]
