"""Videos and cameras on the command line: frames in the same table and report."""

import http.server
import os
import signal
import threading
from functools import partial

import pytest
from PIL import Image
from tables import read_table
from videos import number_of, write_video
from waiting import until

from skclipad import cli
from skclipad._images.video import is_address, shown_address
from skclipad.scoring import _camera
from skclipad.scoring._camera import Camera

pytest.importorskip("av")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    write_video(tmp_path / "photos" / "clip.mp4")
    Image.new("RGB", (64, 48), "grey").save(tmp_path / "photos" / "a.png")
    return tmp_path


@pytest.fixture
def score(folder, detector_file):
    def run(*arguments, code=0):
        options = ["-d", detector_file, "-o", "s.csv"]
        assert cli.main(["score", *arguments, *options]) == code
        return read_table(folder / "s.csv")

    return run


def times(rows):
    return [float(r["path"].partition("#t=")[2]) for r in rows if "#t=" in r["path"]]


def test_every_nth_frame_is_a_row(score, detector_file):
    rows = score("photos", "--every", "4")
    assert rows[0]["path"] == os.path.join("photos", "a.png")
    assert all(
        row["path"].startswith(os.path.join("photos", "clip.mp4#t="))
        for row in rows[1:]
    )
    assert times(rows) == pytest.approx([0, 0.4, 0.8])
    assert len({row["score"] for row in rows}) == 4
    named = score("photos/clip.mp4", "--every", "4")
    scores = [float(row["score"]) for row in rows[1:]]
    assert [float(row["score"]) for row in named] == pytest.approx(scores, abs=1e-6)


def test_without_every_videos_are_passed_over_and_a_named_one_says_why(score, capsys):
    assert len(score("photos")) == 1
    assert "passed over 1 file or folder: 1 .mp4" in capsys.readouterr().err
    (row,) = score("photos/clip.mp4", code=2)
    assert "it is a video" in row["error"]


def test_report_maps_and_update_take_frames(score, folder):
    options = ["--every", "6", "--report", "r.html", "--maps", "maps"]
    score("photos", *options)
    assert "clip.mp4#t=0.600" in (folder / "r.html").read_text(encoding="utf-8")
    assert (folder / "maps" / "clip.mp4#t=0.600.png").exists()
    # Maps of frames are known as such where they lie among images.
    assert len(score("photos", "maps")) == 1
    first = score("photos", "--every", "6", "--update")
    assert score("photos", "--every", "6", "--update") == first
    more = score("photos", "--every", "3", "--update")
    assert sorted(times(more)) == pytest.approx([0, 0.3, 0.6, 0.9])
    (folder / "photos" / "clip.mp4").unlink()
    gone = score("photos", "--every", "3", "--update")
    assert [row["gone"] for row in gone] == ["0", "1", "1", "1", "1"]


def test_a_broken_video_ends_with_what_was_read(score, folder, capsys):
    path = folder / "photos" / "clip.mkv"
    write_video(path, n=20)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    (folder / "photos" / "none.mp4").write_text("no video" * 100)
    rows = score("photos", "--every", "1", code=3)
    found = [row for row in rows if "clip.mkv" in row["path"]]
    assert 2 < len(found) < 20 and all(row["score"] for row in found[:-1])
    (bad,) = (row for row in rows if "none.mp4" in row["path"])
    assert "its video cannot be read: Invalid data" in bad["error"]
    assert "none.mp4 breaks off" in capsys.readouterr().err


def test_streams_are_for_watch(score, capsys, folder, detector_file):
    arguments = ["score", "rtsp://u:pw@camera/1", "-d", detector_file]
    assert cli.main(arguments) == 1
    said = capsys.readouterr().err
    assert "skclipad watch" in said and "pw" not in said


# Cameras


@pytest.fixture
def stream(tmp_path):
    """The address of a stream that ends after 12 frames, and can be opened again."""
    (tmp_path / "served").mkdir()
    write_video(tmp_path / "served" / "live.ts", codec="mpeg2video", rate=25)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = partial(Quiet, directory=str(tmp_path / "served"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/live.ts?token=secret"
    server.shutdown()
    thread.join()
    server.server_close()


def test_frames_of_a_stream_are_kept_scored_and_asked_for_again(
    stream, folder, detector_file, capsys, monkeypatch
):
    monkeypatch.setattr(_camera, "LONGEST_WAIT", 0.1)
    ended = threading.Event()

    def act():
        try:
            # More than one opening has: 3 of its 12 frames are kept.
            until(lambda: ended.is_set() or len(rows()) >= 5)
        finally:
            if not ended.is_set():
                os.kill(os.getpid(), signal.SIGTERM)

    def rows():
        return read_table(folder / "s.csv") if (folder / "s.csv").exists() else []

    actor = threading.Thread(target=act)
    actor.start()
    options = ["--frames", "frames", "--every", "5", "--settle", "0.1"]
    arguments = ["watch", stream, "-d", detector_file, "-o", "s.csv", *options]
    code = cli.main(arguments)
    ended.set()
    actor.join()
    assert code == 0

    found = rows()
    paths = [row["path"] for row in found]
    assert len(paths) == len(set(paths)) >= 5 and all(row["score"] for row in found)
    assert all(os.path.exists(path) for path in paths)
    numbers = [number_of(Image.open(path)) for path in sorted(paths)[:3]]
    assert numbers == [0, 5, 10]
    said = capsys.readouterr().err
    assert "live.ts: connected" in said and "secret" not in said
    assert "live.ts: it ended after 3 frames; opened again in" in said


class Recorder:
    def __init__(self, address, folder, **options):
        self.said = []
        options = {"every": 1, "n_waiting": lambda: 0, "first_wait": 0.01, **options}
        self.camera = Camera(address, str(folder), tell=self.said.append, **options)


def test_frames_are_left_out_while_scoring_is_behind(stream, tmp_path):
    waiting = [_camera.MOST_WAITING] * 9 + [0] * 1000
    recorder = Recorder(stream, tmp_path / "frames", n_waiting=lambda: waiting.pop(0))
    with recorder.camera:
        until(lambda: any("left out" in line for line in recorder.said))
    assert "9 frames were left out" in "".join(recorder.said)
    first = min((tmp_path / "frames").rglob("*.jpg"))
    assert number_of(Image.open(first)) == 9


@pytest.mark.parametrize("what", ["refused", "no pictures", "no video"])
def test_a_stream_that_cannot_be_opened_is_tried_again(what, tmp_path, stream):
    address = "rtsp://admin:pass-word@127.0.0.1:9/1"
    if what != "refused":
        address = str(tmp_path / "served" / "other.ts")
        (tmp_path / "served" / "other.ts").write_bytes(b"no video" * 1000)
    recorder = Recorder(address, tmp_path / "frames")
    with recorder.camera:
        until(lambda: len(recorder.said) >= 2)
    assert all("opened again in" in line for line in recorder.said)
    assert "pass-word" not in "".join(recorder.said)
    assert not (tmp_path / "frames").exists()


def test_two_frames_at_once_are_two_files(stream, tmp_path, monkeypatch):
    class Now:
        @staticmethod
        def now(zone):
            return moment

    moment = _camera.datetime(2026, 11, 25, 20, 33, 48, 123456)
    monkeypatch.setattr(_camera, "datetime", Now)
    recorder = Recorder(stream, tmp_path / "frames", every=6)
    with recorder.camera:
        until(lambda: len(list((tmp_path / "frames").rglob("*.jpg"))) >= 2)
    names = sorted(path.name for path in (tmp_path / "frames" / "2026-11-25").iterdir())
    assert names[:2] == ["20-33-48.123.jpg", "20-33-48.123_1.jpg"]


def test_an_address_is_told_without_its_secrets():
    assert shown_address("http://u:p@h:1/x?key=2#3") == "http://h:1/x"
    assert shown_address("udp://@:1234") == "udp://:1234"


def test_a_drive_is_no_address():
    assert is_address("rtsp://camera/1") and not is_address("C://photos")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rtsp://u:pw@camera/1"], "rtsp://camera/1 is a stream, which needs --frames"),
        (["photos", "--frames", "frames"], "are for the address of a stream"),
        (["photos", "--every", "5"], "skclipad score --every"),
    ],
)
def test_what_does_not_go_together_is_refused(
    arguments, said, folder, detector_file, capsys
):
    assert cli.main(["watch", *arguments, "-d", detector_file, "-o", "s.csv"]) == 1
    assert said in capsys.readouterr().err
