"""``skclipad watch``: each picture that comes in gets one row, whatever happens."""

import multiprocessing
import os
import re
import shutil
import signal
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image
from tables import read_table
from waiting import until

from skclipad import RandomWordCLIPDetector, cli
from skclipad._storage.ledger import Ledger, ledger_path
from skclipad.cli import _growing, _pictures, _watch
from skclipad.scoring import _rows

N = 6
QUICK = ["--settle", "0.1", "--patience", "0.5"]


@pytest.fixture(scope="module")
def images(bunch):
    return [Image.fromarray(image) for image in bunch.images]


@pytest.fixture
def photos(tmp_path, images, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for i in range(N):
        images[i].save(tmp_path / "photos" / f"{i}.png")
    return tmp_path / "photos"


@pytest.fixture(params=["events", "polls"])
def heard(request):
    """Options by which the watch hears of changes: both ways see the same."""
    if request.param == "polls":
        return ["--poll", "0.2"]
    pytest.importorskip("watchdog")
    return []


@pytest.fixture
def hears_ctrl_c():
    """Tests that run in the background of a shell may have it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def watch(photos, detector_file, tmp_path, hears_ctrl_c, monkeypatch):
    """A function that watches the folder while another one, in a thread, acts in it.

    At its end the watch is ended as by Ctrl-C, and the rows of the table returned. The
    table is written every moment, not every two seconds.
    """
    monkeypatch.setattr(_growing, "WRITE_AGAIN", 0.05)

    def run(act, *options, code=0, signals=(signal.SIGINT,)):
        errors, ended = [], threading.Event()

        def play():
            try:
                until(lambda: ended.is_set() or (tmp_path / "s.csv").exists())
                act()
            except BaseException as error:
                errors.append(error)
            finally:
                if not ended.is_set():
                    for number in signals:
                        os.kill(os.getpid(), number)

        actor = threading.Thread(target=play)
        actor.start()
        arguments = ["watch", "photos/", "-d", detector_file, "-o", "s.csv"]
        found = cli.main([*arguments, *QUICK, *options])
        ended.set()
        actor.join()
        if errors:
            raise errors[0]
        assert found == code
        return read_table(tmp_path / "s.csv")

    return run


def has_rows(n, path="s.csv"):
    return lambda: len(read_table(path)) >= n


def by_name(rows):
    named = {os.path.basename(row["path"]): row for row in rows}
    assert len(named) == len(rows)  # no row twice
    return named


def test_what_is_there_and_what_comes_gets_a_row(
    watch, heard, photos, images, detector_file, tmp_path
):
    def act():
        until(has_rows(N))
        (photos / "later").mkdir()
        images[N].save(photos / "later" / "a.png")
        (photos / "notes.txt").write_text("not looked at")
        (photos / ".hidden.png").write_bytes(b"x")
        until(has_rows(N + 1))

    rows = watch(act, *heard)
    assert cli.main(["score", "photos", "-d", detector_file, "-o", "all.csv"]) == 0
    expected = by_name(read_table(tmp_path / "all.csv"))
    found = by_name(rows)
    assert found.keys() == expected.keys() and len(found) == N + 1
    for name, row in found.items():
        score = float(expected[name]["score"])
        assert float(row["score"]) == pytest.approx(score, abs=1e-6)
        assert row["path"] == expected[name]["path"] and row["gone"] == "0"


def test_a_picture_of_a_slow_writer_is_read_when_it_is_complete(
    watch, heard, photos, images, tmp_path
):
    images[N].save(tmp_path / "whole.png")
    content = (tmp_path / "whole.png").read_bytes()

    def act():
        with open(photos / "slow.png", "wb", buffering=0) as file:
            for i in range(0, len(content), len(content) // 8):
                file.write(content[i : i + len(content) // 8])
                time.sleep(0.15)  # longer than it takes to seem complete
        until(has_rows(N + 1))

    row = by_name(watch(act, *heard, "--patience", "60"))["slow.png"]
    assert row["score"] and not row["error"]


def test_renamed_deleted_and_overwritten_pictures(watch, heard, photos, images):
    def act():
        until(has_rows(N))
        images[N].save(photos / "new.png.part", format="PNG")
        os.replace(photos / "new.png.part", photos / "new.png")
        os.replace(photos / "0.png", photos / "renamed.png")
        os.remove(photos / "1.png")
        before = by_name(read_table("s.csv"))["2.png"]
        images[N + 1].save(photos / "2.png")
        until(has_rows(N + 2))
        until(lambda: by_name(read_table("s.csv"))["2.png"] != before)

    rows = by_name(watch(act, *heard))
    assert sorted(rows) == sorted(
        [f"{i}.png" for i in range(N)] + ["new.png", "renamed.png"]
    )
    gone = {name for name, row in rows.items() if row["gone"] == "1"}
    assert gone == {"0.png", "1.png"}
    assert all(row["score"] for row in rows.values())


def test_a_bad_picture_stops_nothing_and_is_mended_by_a_good_one(
    watch, heard, photos, images, capsys
):
    def act():
        (photos / "bad.png").write_bytes(b"no image")
        (photos / "empty.png").touch()
        until(has_rows(N + 2))
        assert "not an image" in by_name(read_table("s.csv"))["bad.png"]["error"]
        images[N].save(photos / "bad.png")
        images[N].save(photos / "good.png")
        until(has_rows(N + 3))
        until(lambda: by_name(read_table("s.csv"))["bad.png"]["score"])

    rows = by_name(watch(act, *heard))
    assert rows["empty.png"]["error"] == "the file is empty"
    assert rows["bad.png"]["error"] == "" and rows["good.png"]["score"]
    assert "bad.png: it is not an image" in capsys.readouterr().err


def test_a_thousand_at_once(watch, heard, photos, monkeypatch):
    def rows_of(detector, paths):
        return [{"path": path, "score": 0.5} for path in paths]

    monkeypatch.setattr(_rows, "score_rows", rows_of)

    def act():
        for i in range(1000):
            os.link(photos / f"{i % N}.png", photos / f"link-{i:04d}.png")
        until(has_rows(N + 1000))

    assert len(by_name(watch(act, *heard))) == N + 1000


@pytest.mark.parametrize("named", ["a folder", "a link"])
def test_full_paths_as_macos_tells_them_go_by_the_name_that_was_given(
    named, watch, photos, images, monkeypatch
):
    if named == "a link":
        photos.rename("elsewhere")
        photos.symlink_to("elsewhere", target_is_directory=True)
    scored, told = [], []

    def rows_of(detector, paths):
        scored.extend(paths)
        return [{"path": path, "score": 0.5} for path in paths]

    @contextmanager
    def full_paths_in(folder, note):
        for path in Path(folder).resolve().iterdir():
            note(os.fspath(path))
        told.append(note)
        yield

    monkeypatch.setattr(_rows, "score_rows", rows_of)
    monkeypatch.setattr(_watch, "changes_in", full_paths_in)

    def act():
        until(has_rows(N))
        images[N].save(photos / f"{N}.png")
        told[0](os.path.realpath(photos / f"{N}.png"))
        until(has_rows(N + 1))

    begun = time.monotonic()
    rows = watch(act)
    # It did not wait until the folder was looked through again.
    assert time.monotonic() - begun < _watch.LOOK_AGAIN
    expected = [os.path.join("photos", f"{i}.png") for i in range(N + 1)]
    assert sorted(scored) == sorted(row["path"] for row in rows) == expected


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_after_kill_9_the_next_watch_goes_on(
    watch, photos, images, detector_file, tmp_path
):
    arguments = ["watch", "photos", "-d", detector_file, "-o", "s.csv", "--poll", "0.1"]
    # Forked on Linux: a new process would import for seconds before it watches.
    how = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    process = how.Process(target=cli.main, args=([*arguments, *QUICK],))
    process.start()
    try:
        until(lambda: (tmp_path / "s.csv").exists() and has_rows(N)())
        images[N].save(photos / "at-once.png")
    finally:
        process.kill()
        process.join()
    before = by_name(read_table("s.csv"))
    images[N + 1].save(photos / "meanwhile.png")
    rows = by_name(watch(lambda: until(has_rows(N + 2))))
    assert sorted(rows) == sorted(
        [*map("{}.png".format, range(N)), "at-once.png", "meanwhile.png"]
    )
    for name, row in before.items():
        assert rows[name] == row


def test_sigterm_ends_it_and_ctrl_c_is_ignored_in_the_background(watch):
    before = signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # as of `skclipad watch ... &`
    try:
        signals = (signal.SIGINT, signal.SIGTERM)
        assert len(watch(lambda: until(has_rows(N)), signals=signals)) == N
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_ctrl_c_is_heard_at_the_moment_in_which_nothing_waits_for_it(
    watch, tmp_path, monkeypatch
):
    hear, signalled = _watch._Session._hear, []

    def signal_then_hear(session):
        if (tmp_path / "s.csv").exists() and has_rows(N)() and not signalled:
            signalled.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)
        hear(session)

    monkeypatch.setattr(_watch._Session, "_hear", signal_then_hear)
    monkeypatch.setattr(_watch, "ANSWER", 0.1)
    assert len(watch(lambda: None, signals=())) == N
    # Long before the folder is looked through again.
    assert time.monotonic() - signalled[0] < _watch.LOOK_AGAIN / 2


def test_score_update_goes_on_where_the_watch_ended(
    watch, photos, images, detector_file, tmp_path
):
    watch(lambda: until(has_rows(N)))
    images[N].save(photos / "new.png")
    arguments = ["score", "photos", "-d", detector_file, "-o", "s.csv", "--update"]
    assert cli.main(arguments) == 0
    assert len(by_name(read_table(tmp_path / "s.csv"))) == N + 1


def test_a_second_watch_on_the_table_is_refused(
    photos, detector_file, tmp_path, capsys
):
    with Ledger(ledger_path(tmp_path / "s.csv"), {}):
        arguments = ["watch", "photos", "-d", detector_file, "-o", "s.csv"]
        assert cli.main(arguments) == 1
    assert "being written by another run" in capsys.readouterr().err


def test_pictures_above_are_moved_and_their_rows_follow(watch, heard, photos, images):
    (photos / "sub").mkdir()
    images[0].save(photos / "sub" / "0.png")
    (photos / "bad").mkdir()
    (photos / "bad" / "0.png").write_bytes(b"somebody's own")

    def act():
        until(lambda: len(list(photos.glob("bad/**/*.png"))) == N + 2)
        # The camera uses a name again.
        images[N].save(photos / "0.png")
        until(lambda: len(list(photos.glob("bad/**/*.png"))) == N + 3)

    rows = watch(act, *heard, "--above", "0", "--move", "photos/bad")
    places = {row["path"] for row in rows}
    bad = Path("photos", "bad")
    expected = [bad / f"{i}.png" for i in range(1, N)]
    expected += [bad / "0-1.png", bad / "0-2.png", bad / "sub" / "0.png"]
    assert places == set(map(str, expected)) and len(rows) == N + 2
    assert {row["gone"] for row in rows} == {"0"}
    assert (photos / "bad" / "0.png").read_bytes() == b"somebody's own"
    assert list(photos.glob("*.png")) == []


def test_a_folder_to_move_to_is_another_one_on_a_drive_that_numbers_none(
    watch, tmp_path, monkeypatch
):
    monkeypatch.setattr(_pictures, "NUMBERS_TELL_APART", False)
    monkeypatch.setattr(os.path, "samefile", lambda a, b: True)
    watch(lambda: until(has_rows(N)), "--above", "0", "--move", "bad")
    assert len(list((tmp_path / "bad").iterdir())) == N


def test_a_command_is_run_for_pictures_above(watch, photos, tmp_path, capfd):
    (tmp_path / "alarms").mkdir()
    (photos / "0.png").rename(photos / "with space; $(x) {score}.png")

    def act():
        until(lambda: len(list((tmp_path / "alarms").iterdir())) == N)

    rows = watch(act, "--above", "0", "--exec", "cp {path} alarms/")
    assert {path.name for path in (tmp_path / "alarms").iterdir()} == set(by_name(rows))
    said = capfd.readouterr().err
    assert "cp ended with 0" in said
    assert "above 0.0 'cp {path} alarms/' is run for each picture" in said


def test_a_command_that_fails_stops_nothing(watch, capfd):
    rows = watch(lambda: until(has_rows(N)), "--above", "0", "--exec", "false")
    assert len(rows) == N
    assert "false ended with 1" in capfd.readouterr().err


def test_below_nothing_is_done(watch, tmp_path, capfd):
    rows = watch(lambda: until(has_rows(N)), "--above", "1", "--move", "bad")
    assert len(rows) == N and list((tmp_path / "bad").iterdir()) == []
    said = capfd.readouterr().err
    assert "above 1.0 pictures are moved to bad" in said
    # In one batch, or in more where the machine is busy.
    scored = re.findall(r"(\d+) scored, 0 above, the highest 0\.", said)
    assert sum(map(int, scored)) == N


def test_without_watchdog_the_folder_is_looked_through(
    watch, photos, images, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "watchdog", None)
    monkeypatch.setitem(sys.modules, "watchdog.events", None)
    monkeypatch.setattr(_watch, "WITHOUT_EVENTS", 0.1)

    def act():
        until(has_rows(N))
        images[N].save(photos / "new.png")
        until(has_rows(N + 1))

    assert len(watch(act)) == N + 1
    assert 'pip install "skclipad[watch]"' in capsys.readouterr().err


def test_a_folder_that_is_away_for_a_while_loses_nothing(
    watch, photos, images, tmp_path, capsys
):
    said = []

    def act():
        until(has_rows(N))
        shutil.move(photos, tmp_path / "away")
        until(
            lambda: said.append(capsys.readouterr().err) or "waiting" in "".join(said)
        )
        images[N].save(tmp_path / "away" / "new.png")
        shutil.move(tmp_path / "away", photos)
        until(has_rows(N + 1))

    rows = watch(act, "--poll", "0.1")
    assert len(by_name(rows)) == N + 1 and {row["gone"] for row in rows} == {"0"}


def test_an_error_of_the_machine_stops_it_and_the_rows_are_kept(
    watch, photos, images, detector_file, monkeypatch, capsys
):
    watch(lambda: until(has_rows(N)))
    images[N].save(photos / "new.png")
    calls, score_components = [], RandomWordCLIPDetector.score_components

    def die_later(self, X):
        calls.append(X)
        if len(calls) > 1:
            raise RuntimeError("the driver is gone")
        return score_components(self, X)

    monkeypatch.setattr(RandomWordCLIPDetector, "score_components", die_later)
    arguments = ["watch", "photos", "-d", detector_file, "-o", "s.csv", *QUICK]
    assert cli.main(arguments) == 4
    said = capsys.readouterr().err
    assert "stopped: the driver is gone" in said
    assert f"{N} rows are kept; the same command goes on" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["gone"], "gone is no folder"),
        (["photos", "--above", "0.5"], "--above needs --exec CMD or --move DIR"),
        (["photos", "--exec", "no-such-program"], "no program of that name"),
        (["photos", "--exec", "'"], "cannot be split into words"),
        (["photos", "--move", "photos"], "is the folder that is watched"),
        (["photos", "--poll", "0"], "is no time in seconds"),
        (["photos", "--exec", "true", "--move", "bad"], "not allowed with"),
    ],
)
def test_what_cannot_be_done_is_refused(options, said, photos, detector_file, capsys):
    arguments = ["watch", *options, "-d", detector_file, "-o", "s.csv"]
    assert cli.main(arguments) == 1
    assert said in capsys.readouterr().err


def test_a_table_of_score_is_not_written_over(photos, detector_file, capsys):
    arguments = ["photos", "-d", detector_file, "-o", "s.csv"]
    assert cli.main(["score", *arguments]) == 0
    before = Path("s.csv").read_bytes()
    assert cli.main(["watch", *arguments]) == 1
    said = capsys.readouterr().err
    assert "its rows would be lost. Name another output" in said
    assert Path("s.csv").read_bytes() == before
    assert not Path("s.csv.rows").exists()
