"""What is done about images above a score: once, and what was begun is finished."""

import errno
import os
import shutil

import pytest

from skclipad._storage.files import file_stamp
from skclipad._storage.ledger import Ledger
from skclipad.cli import _tasks
from skclipad.cli._tasks import Command, Mover, Tasks


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "s.csv.rows", {}) as ledger:
        yield ledger


@pytest.fixture
def image(tmp_path, ledger):
    """An image with a row, about which something is to be done."""
    path = tmp_path / "photos" / "a.png"
    path.parent.mkdir()
    path.write_bytes(b"an image")
    row = {"path": "photos/a.png", "score": 0.9}
    ledger.put_many([(str(path), file_stamp(path), row)], due={str(path)})
    return path


@pytest.fixture
def said():
    return []


@pytest.fixture
def moving(tmp_path, ledger, said):
    mover = Mover(str(tmp_path / "bad"), str(tmp_path / "photos"))
    return Tasks(ledger, said.append, mover=mover)


def check_moved(tmp_path, ledger):
    assert (tmp_path / "bad" / "a.png").read_bytes() == b"an image"
    assert not (tmp_path / "photos" / "a.png").exists()
    (row,) = ledger.rows()
    assert row["path"] == str(tmp_path / "bad" / "a.png") and row["score"] == 0.9
    assert ledger.tasks() == []
    assert ledger.has(row["path"], file_stamp(row["path"]))


def fail(monkeypatch, name, code):
    """Let a function of `os` refuse with an error code."""

    def refuse(source, target):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(_tasks.os, name, refuse)


def test_an_image_is_moved_and_its_row_with_it(image, moving, ledger, tmp_path, said):
    assert moving.work_off()
    check_moved(tmp_path, ledger)
    assert "moved to" in said[0] and "0.900" in said[0]
    assert not moving.work_off()


@pytest.mark.parametrize("taken_by", ["a file", "a row"])
def test_a_move_goes_over_nothing_that_is_there(
    taken_by, image, moving, ledger, tmp_path
):
    place = tmp_path / "bad" / "a.png"
    if taken_by == "a file":
        place.parent.mkdir()
        place.write_bytes(b"somebody's")
    else:  # of an image that was moved there, and taken away since
        ledger.put_many([(str(place), [1, 1], {"path": str(place), "score": 0.8})])
    moving.work_off()
    assert (tmp_path / "bad" / "a-1.png").read_bytes() == b"an image"
    assert not image.exists() and ledger.knows(str(tmp_path / "bad" / "a-1.png"))
    assert place.exists() == (taken_by == "a file")
    assert taken_by == "a row" or place.read_bytes() == b"somebody's"


def test_a_file_that_came_after_a_move_was_planned_is_not_taken_for_it(
    image, ledger, tmp_path, said
):
    target = tmp_path / "bad" / "a.png"
    target.parent.mkdir()
    ledger.plan(str(image), str(target))
    target.write_bytes(b"somebody's")
    Tasks(ledger, said.append).work_off()
    assert target.read_bytes() == b"somebody's"
    assert (tmp_path / "bad" / "a-1.png").read_bytes() == b"an image"
    assert not image.exists() and ledger.knows(str(tmp_path / "bad" / "a-1.png"))


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_comes_at_the_moment_of_a_move_is_left_alone(
    links, image, moving, ledger, tmp_path, monkeypatch, said
):
    target = tmp_path / "bad" / "a.png"
    make = os.makedirs

    def somebody_is_faster(folder, exist_ok):
        make(folder, exist_ok=exist_ok)
        target.write_bytes(b"somebody's")

    with monkeypatch.context() as context:
        context.setattr(_tasks.os, "makedirs", somebody_is_faster)
        if not links:
            fail(context, "link", errno.EPERM)
        moving.work_off(clock=lambda: 100.0)
    assert image.exists() and "tried again later" in said[0]

    moving.work_off(clock=lambda: 500.0)
    assert target.read_bytes() == b"somebody's"
    assert (tmp_path / "bad" / "a-1.png").read_bytes() == b"an image"
    assert not image.exists()


@pytest.mark.parametrize("moment", ["planned", "moved", "copied"])
def test_a_move_that_was_killed_is_finished(moment, image, ledger, tmp_path, said):
    target = tmp_path / "bad" / "a.png"
    target.parent.mkdir()
    ledger.plan(str(image), str(target))
    if moment == "moved":
        os.rename(image, target)
    elif moment == "copied":  # to another file system, and not yet removed here
        shutil.copy2(image, target)
    # The next run may have been told to do something else.
    Tasks(ledger, said.append).work_off()
    check_moved(tmp_path, ledger)


def test_a_new_image_of_the_name_is_not_taken_for_the_one_moved(
    image, ledger, tmp_path, said
):
    target = tmp_path / "bad" / "a.png"
    target.parent.mkdir()
    ledger.plan(str(image), str(target))
    os.rename(image, target)
    image.write_bytes(b"the next image")
    Tasks(ledger, said.append).work_off()
    assert image.read_bytes() == b"the next image"
    assert target.read_bytes() == b"an image"
    assert not ledger.knows(str(image)) and ledger.knows(str(target))


@pytest.mark.parametrize("what", ["gone", "changed"])
def test_what_is_not_as_it_was_scored_stays_where_it_is(
    what, image, moving, ledger, said, tmp_path
):
    image.unlink()
    if what == "changed":
        image.write_bytes(b"another one")
    moving.work_off()
    assert image.exists() == (what == "changed") and ledger.tasks() == []
    assert not (tmp_path / "bad").exists()
    assert "gone or has changed" in said[0]


def test_to_another_file_system_it_is_copied_first(
    image, moving, ledger, tmp_path, monkeypatch
):
    def link(source, target):
        if os.path.dirname(source) != os.path.dirname(target):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        real_link(source, target)

    real_link = os.link
    monkeypatch.setattr(_tasks.os, "link", link)
    fail(monkeypatch, "rename", errno.EXDEV)
    moving.work_off()
    check_moved(tmp_path, ledger)
    assert os.listdir(tmp_path / "bad") == ["a.png"]


def test_a_move_that_fails_is_tried_again_later(
    image, moving, ledger, tmp_path, monkeypatch, said
):
    with monkeypatch.context() as context:
        fail(context, "link", errno.EACCES)
        fail(context, "rename", errno.EACCES)
        moving.work_off(clock=lambda: 100.0)
    assert image.exists() and "tried again later" in said[0]
    assert not moving.work_off(clock=lambda: 101.0)
    assert moving.work_off(clock=lambda: 500.0)
    check_moved(tmp_path, ledger)


def test_without_anything_to_do_tasks_are_forgotten(image, ledger, said):
    Tasks(ledger, said.append).work_off()
    assert ledger.tasks() == [] and image.exists() and said == []


def test_nothing_is_done_when_it_shall_stop(image, moving, ledger):
    moving.work_off(stop=lambda: True)
    assert image.exists() and len(ledger.tasks()) == 1


def test_words_are_filled_in_and_read_by_no_shell(tmp_path):
    out = tmp_path / "$(out) {score}"
    assert Command("touch {path}")(str(out), 0.5) == "touch ended with 0"
    assert out.exists()
    assert Command("touch")(str(tmp_path / "last"), 0.5) == "touch ended with 0"
    assert (tmp_path / "last").exists()
    Command(f"touch {tmp_path}/x-{{score}}")("unused", 0.25)
    assert (tmp_path / "x-0.25").exists() and not (tmp_path / "unused").exists()


def test_a_command_that_runs_too_long_is_ended(monkeypatch):
    monkeypatch.setattr(_tasks, "LONGEST", 0.1)
    assert Command("sleep {score}")("a.png", 60) == "sleep was ended after 0 s"


def test_what_lies_on_another_drive_goes_by_its_full_path(tmp_path, monkeypatch):
    def refuse(path, start):
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr(_tasks.os.path, "relpath", refuse)
    mover = Mover("bad", "photos")
    path = str(tmp_path / "a.png")
    assert mover.written(path) == path
    place = mover.place_for(path, is_taken=lambda place: False)
    assert place == os.path.abspath(os.path.join("bad", "a.png"))


@pytest.fixture
def alarm(tmp_path, monkeypatch):
    """A program alarm.exe, as on Windows, that writes its arguments, one a line."""
    program = tmp_path / "bin" / "alarm.exe"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > {tmp_path}/out\n")
    program.chmod(0o755)
    monkeypatch.setattr(_tasks, "WINDOWS", True)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    return program


@pytest.mark.parametrize(
    "words, expected",
    [
        (r"C:\scripts\a.py {path}", [r"C:\scripts\a.py", "p&q.png"]),
        (
            r"""'C:\my dir\a.py' "\\nas\b c\"  {path}""",
            [r"C:\my dir\a.py", "\\\\nas\\b c\\"],
        ),
    ],
)
def test_backslashes_are_kept_on_windows(words, expected, alarm, tmp_path):
    assert Command(f"alarm.exe {words}")("p&q.png", 0.5) == "alarm.exe ended with 0"
    found = (tmp_path / "out").read_text().splitlines()
    assert found[: len(expected)] == expected and found[-1] == "p&q.png"


def test_what_was_found_is_what_is_run(alarm, tmp_path, monkeypatch):
    # On Windows a name finds what has one of several endings.
    monkeypatch.setattr(_tasks.shutil, "which", lambda name: str(alarm))
    assert Command("alarm {score}")("a.png", 0.5) == "alarm ended with 0"
    assert (tmp_path / "out").read_text() == "0.5\n"


@pytest.mark.parametrize("name", ["alarm.bat", "alarm.CMD", "alarm.bat.", "alarm"])
def test_what_a_shell_would_run_is_refused_on_windows(name, alarm):
    alarm.rename(alarm.with_name(name))
    with pytest.raises(ValueError, match=r"is no \.exe, .* Name the program itself"):
        Command(name)
