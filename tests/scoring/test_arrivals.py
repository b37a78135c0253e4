"""Files that are being written are waited for, and only as long as that helps."""

import os

import pytest

from skclipad.scoring._arrivals import Arrivals


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def known():
    return {}


@pytest.fixture
def arrivals(clock, known):
    def is_known(path, stamp):
        return known.get(path) == stamp

    return Arrivals(is_known, settle=2, patience=30, clock=clock)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"some")
    return str(path)


def grow(path):
    with open(path, "ab") as file:
        file.write(b"more")


def test_a_file_is_complete_when_it_has_not_changed_for_a_while(arrivals, clock, file):
    arrivals.note(file)
    assert arrivals.complete(9) == {} and arrivals.next_look() == 2
    clock.now += 1.9
    grow(file)
    assert arrivals.complete(9) == {}
    clock.now += 0.1  # looked at, and found to have grown
    assert arrivals.complete(9) == {} and arrivals.next_look() == 2
    clock.now += 2
    status = os.stat(file)
    assert arrivals.complete(9) == {file: [8, status.st_mtime_ns]}
    arrivals.drop(file)
    assert len(arrivals) == 0 and arrivals.next_look() is None


def test_looking_again_at_a_file_that_is_the_same_does_not_begin_anew(
    arrivals, clock, file
):
    arrivals.note(file)
    clock.now += 1.5
    arrivals.note(file)
    clock.now += 0.5
    assert list(arrivals.complete(9)) == [file]


def test_what_is_known_or_gone_is_not_waited_for(arrivals, clock, file, known):
    arrivals.note(file + "x")
    status = os.stat(file)
    known[file] = [status.st_size, status.st_mtime_ns]
    arrivals.note(file)
    assert len(arrivals) == 0
    grow(file)
    arrivals.note(file)
    assert len(arrivals) == 1
    os.remove(file)
    clock.now += 2
    assert arrivals.complete(9) == {} and len(arrivals) == 0


def test_a_file_that_cannot_be_read_is_tried_once_more_and_later(arrivals, clock, file):
    arrivals.note(file)
    clock.now += 2
    assert arrivals.complete(9)
    assert arrivals.may_wait(file)
    clock.now += 27
    assert arrivals.complete(9) == {}
    clock.now += 1
    assert list(arrivals.complete(9)) == [file]
    assert not arrivals.may_wait(file)


def test_a_file_that_is_written_on_is_new_again(arrivals, clock, file):
    arrivals.note(file)
    clock.now += 2
    assert arrivals.complete(9) and arrivals.may_wait(file)
    grow(file)
    arrivals.note(file)
    clock.now += 2
    assert list(arrivals.complete(9)) == [file]
    assert arrivals.may_wait(file)


def test_no_more_are_taken_than_asked_for(arrivals, clock, tmp_path):
    for i in range(5):
        (tmp_path / f"{i}").write_bytes(b"x")
        arrivals.note(str(tmp_path / f"{i}"))
    clock.now += 2
    first = arrivals.complete(3)
    assert len(first) == 3
    for path in first:
        arrivals.drop(path)
    assert len(arrivals.complete(3)) == 2
