"""Frames of videos: named by their time, found in any order, broken streams told."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from videos import TURNS, number_of, turn_video, write_video

from skclipad import CLIPImageEmbedder, ImageReadError
from skclipad._images.reading import head_size, image_identity, read_image, snapshot
from skclipad._images.video import (
    file_of,
    frame_name,
    frame_names,
    is_video,
    split_frame,
)

av = pytest.importorskip("av")
KINDS = ["a.mp4", "a.mkv", "a.avi", "a.mov"]


@pytest.fixture
def video(tmp_path):
    return write_video(tmp_path / "a.mp4")


def test_names_tell_video_and_time(tmp_path):
    assert split_frame(frame_name("x/a.mp4", 1.5)) == ("x/a.mp4", 1.5)
    assert file_of("x/a.mp4#t=1.500") == "x/a.mp4" and file_of("a.png") == "a.png"
    for other in ("a.mp4", "a.png#t=1.500", "a.mp4#t=1", "a.mp4#t=1.500.png"):
        assert split_frame(other) is None
    own = tmp_path / "a.mp4#t=1.500"
    own.touch()  # a file of that very name is what is meant
    assert split_frame(str(own)) is None
    assert is_video("a.MP4") and not is_video("a.ts")


@pytest.mark.parametrize("kind", KINDS)
def test_every_nth_frame_is_found(kind, tmp_path):
    path = write_video(tmp_path / kind)
    names, reason = frame_names(path, 5)
    assert reason is None and len(names) == 3
    assert [number_of(read_image(name)) for name in names] == [0, 5, 10]
    times = [split_frame(name)[1] for name in names]
    assert times == pytest.approx([times[0], times[0] + 0.5, times[0] + 1.0], abs=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_found_in_any_order(kind, tmp_path):
    names, _ = frame_names(write_video(tmp_path / kind), 1)
    order = np.random.default_rng(0).permutation(len(names))
    assert [number_of(read_image(names[i])) for i in order] == order.tolist()


# Where the left of a frame is, in an image that is turned as its video says.
LEFT_IS = {"right": np.s_[:16], "over": np.s_[:, -16:], "left": np.s_[-16:]}


@pytest.mark.parametrize("turn", TURNS)
def test_frames_are_turned_as_their_video_says(turn, tmp_path):
    path = write_video(tmp_path / "a.mp4", white=16)
    turn_video(path, turn)
    names, _ = frame_names(path, 5)
    for name in names:
        pixels = np.asarray(read_image(name)).mean(axis=2)
        assert pixels.shape == ((48, 64) if turn == "over" else (64, 48))
        left = np.zeros(pixels.shape, bool)
        left[LEFT_IS[turn]] = True
        assert np.median(pixels[left]) > 240 > 160 > np.median(pixels[~left])


def test_frames_are_found_by_several_threads(tmp_path):
    paths = [write_video(tmp_path / f"{i}.mp4", first=i) for i in range(4)]
    names = [name for path in paths for name in frame_names(path, 2)[0]]
    expected = [i + j for i in range(4) for j in range(0, 12, 2)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(number_of, pool.map(read_image, names))) == expected


def test_a_long_way_ahead_is_sought(tmp_path):
    path = write_video(tmp_path / "a.mp4", n=20, rate=1)
    names, _ = frame_names(path, 1)
    assert [number_of(read_image(names[i])) for i in (0, 18, 1, 19)] == [0, 18, 1, 19]


def test_a_frame_is_an_image_like_any_other(video):
    names, _ = frame_names(video, 6)
    first, second = names
    assert head_size(first) == (64, 48)
    assert image_identity(first) == image_identity(snapshot(first))
    assert image_identity(first) != image_identity(second)
    embedder = CLIPImageEmbedder("tiny")
    expected = embedder.transform([read_image(name) for name in names])
    np.testing.assert_array_equal(embedder.transform(names), expected)


def test_a_video_that_changed_is_read_anew(tmp_path):
    path = write_video(tmp_path / "a.mp4")
    assert number_of(read_image(frame_name(path, 0))) == 0
    write_video(tmp_path / "a.mp4", n=14, first=5)
    assert number_of(read_image(frame_name(path, 0))) == 5


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gone.mp4#t=0.000", "No such file"),
        ("a.mp4#t=9.000", "no frame at 9.000 s"),
        ("a.mp4#t=0.050", "no frame at 0.050 s"),
        ("text.mp4#t=0.000", "its video cannot be read: Invalid data"),
        ("sound.mkv#t=0.000", "no pictures, but perhaps sound"),
        ("a.mp4", "it is a video; name its frames"),
    ],
)
def test_what_cannot_be_read_is_told(name, reason, video, tmp_path):
    (tmp_path / "text.mp4").write_text("no video" * 100)
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(ImageReadError) as caught:
        read_image(str(tmp_path / name))
    assert reason in caught.value.reason


def test_a_broken_stream_ends_with_what_there_is(tmp_path):
    path = write_video(tmp_path / "a.mkv", n=20)
    content = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "a.mkv").write_bytes(content[: len(content) // 2])
    names, _ = frame_names(path, 1)
    assert 2 < len(names) < 20
    # The last one may be cut in two.
    found = [number_of(read_image(name)) for name in names[:-1]]
    assert found == list(range(len(names) - 1))


def test_one_that_cannot_be_opened_has_a_name_and_a_reason(tmp_path):
    (tmp_path / "a.mp4").write_text("no video" * 100)
    names, reason = frame_names(str(tmp_path / "a.mp4"), 1)
    assert names == [str(tmp_path / "a.mp4#t=0.000")] and "Invalid data" in reason


def test_without_pyav_it_is_said_what_to_install(video, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"skclipad\[video\]"):
        frame_names(video, 1)
    with pytest.raises(ImageReadError, match=r"skclipad\[video\]"):
        read_image(frame_name(video, 0))
