"""Frames of videos as images, each named by its video and its time.

``clip.mp4#t=12.480`` is the frame of ``clip.mp4`` at 12.48 seconds, as fragments of
media are written in addresses. So frames pass through all that takes paths.
"""

import math
import os
import re
import struct
from collections import OrderedDict
from urllib.parse import urlsplit

from skclipad._optional import import_optional
from skclipad._storage.files import file_stamp
from skclipad._storage.forks import ForkSafeLock

VIDEO_ENDINGS = frozenset(
    ".avi .m4v .mkv .mov .mp4 .mpeg .mpg .mts .m2ts .ogv .webm .wmv".split()
)

NEAR = 0.0006  # seconds: names have three digits of them
AHEAD = 10.0  # seconds that are decoded rather than sought
MOST_OPEN = 2  # videos that are kept open, for the next frame

_FRAME = re.compile(r"(.+)#t=([0-9]+\.[0-9]{3})")
_open = OrderedDict()  # path and stamp -> reader
# Decoders of a parent process are neither used nor closed in a child.
_lock = ForkSafeLock(restore=_open.clear)


def is_video(path):
    """Tell by its ending whether a file is a video."""
    return os.path.splitext(path)[1].lower() in VIDEO_ENDINGS


def frame_name(path, seconds):
    """Return the name of the frame of a video at a time.

    Examples
    --------
    >>> from skclipad._images.video import frame_name
    >>> frame_name("clip.mp4", 12.48)
    'clip.mp4#t=12.480'
    """
    return f"{path}#t={max(0.0, seconds):.3f}"


def split_frame(name):
    """Return the video and the seconds that a name means, None if it is of no frame."""
    found = _FRAME.fullmatch(name)
    if found is None or not is_video(found[1]) or os.path.lexists(name):
        return None
    return found[1], float(found[2])


def file_of(name):
    """Return the file that an image is read from: of a frame, its video."""
    frame = split_frame(name)
    return name if frame is None else frame[0]


def frame_names(path, every):
    """Return the names of every n-th frame of a video, and why it broke off, or None.

    Nothing is decoded for it. A video that cannot be opened has one name, so that it is
    read once more where errors are told. An ImportError says that PyAV is missing.
    """
    av = import_optional("av", "video")
    times, reason = [], None

    try:
        with av.open(path) as container:
            stream = container.streams.video[0]
            for packet in container.demux(stream):
                if packet.pts is not None and packet.pts >= 0 and packet.size:
                    times.append(float(packet.pts * packet.time_base))
    except (av.error.FFmpegError, IndexError, OSError) as error:
        reason = _reason(error)

    times = sorted(set(times))[::every]
    return [frame_name(path, seconds) for seconds in times or [0.0]], reason


def read_frame(path, seconds):
    """Read the frame of a video at a time, as a PIL image in mode RGB, upright.

    Frames that follow each other are read without a search. An OSError says what is
    wrong with the video, an ImportError that PyAV is missing.
    """
    av = import_optional("av", "video")
    try:
        with _lock:
            frame = _reader(path).frame_at(seconds)
    except (av.error.FFmpegError, IndexError) as error:
        raise OSError(f"its video cannot be read: {_reason(error)}") from error
    if frame is None:
        raise OSError(f"its video has no frame at {seconds:.3f} s")
    return to_image(frame)


def to_image(frame):
    """Return a decoded frame as a PIL image in mode RGB, turned as its video says."""
    turn = _rotation(frame) % 360
    image = frame.to_image()
    return image.rotate(turn, expand=True) if turn else image


def _rotation(frame):
    """Return by how many degrees, against the clock, a frame is to be turned."""
    kind = import_optional("av.sidedata.sidedata", "video").Type.DISPLAYMATRIX
    matrix = frame.side_data.get(kind)  # PyAV 12 has no `frame.rotation` yet
    if matrix is None:
        return 0
    across, down = struct.unpack_from("=2i", matrix)  # of 9, row by row
    return round(-math.degrees(math.atan2(down, across)))


def decoded(container, stream):
    """Yield the frames of a stream; what cannot be decoded is left out."""
    invalid = import_optional("av", "video").error.InvalidDataError
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except invalid:
            continue


def is_address(source):
    """Tell whether a source is the address of a stream."""
    return source.find("://") > 1  # C:// is a drive of Windows


def shown_address(address):
    """Return an address without user, password and what may hold a key.

    Examples
    --------
    >>> from skclipad._images.video import shown_address
    >>> shown_address("rtsp://admin:secret@10.0.0.7:554/stream?token=1")
    'rtsp://10.0.0.7:554/stream'
    """
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _reason(error):
    if isinstance(error, IndexError):
        return "it has no pictures, but perhaps sound"
    return getattr(error, "strerror", None) or str(error)


def _reader(path):
    """Return the open reader of a video, of those that are kept."""
    key = path, tuple(file_stamp(path) or ())
    if key in _open:
        _open.move_to_end(key)
        return _open[key]

    reader = _Reader(path)
    _open[key] = reader
    while len(_open) > MOST_OPEN:
        _open.popitem(last=False)[1].close()
    return reader


class _Reader:
    """An open video, which goes on from the frame that was read last."""

    def __init__(self, path):
        self._path, self._container = path, None
        self._start()

    def close(self):
        self._container.close()

    def frame_at(self, seconds):
        """Return the frame at a time, None if there is none."""
        if not self._time < seconds <= self._time + AHEAD:
            self._seek(seconds)
        frame = self._read_to(seconds)
        if frame is None or frame.time > seconds + NEAR:
            # Some kinds of files are sought inexactly: then once through all of it.
            self._start()
            frame = self._read_to(seconds)
        return frame if frame is not None and frame.time < seconds + NEAR else None

    def _start(self):
        av = import_optional("av", "video")
        if self._container is not None:
            self._container.close()
        self._container = av.open(self._path)
        self._stream = self._container.streams.video[0]
        self._frames, self._time = decoded(self._container, self._stream), -1.0

    def _seek(self, seconds):
        av = import_optional("av", "video")
        try:
            offset = int(seconds / self._stream.time_base)
            self._container.seek(offset, stream=self._stream)
            self._frames = decoded(self._container, self._stream)
        except av.error.FFmpegError:
            self._start()

    def _read_to(self, seconds):
        for frame in self._frames:
            self._time = frame.time if frame.time is not None else self._time
            if frame.time is not None and frame.time > seconds - NEAR:
                return frame
        self._time = float("inf")  # the end: whatever comes next is sought
        return None
