"""Frames of a stream, kept as files in a folder, for as long as it lasts and longer."""

import threading
from datetime import datetime, timezone
from pathlib import Path

from skclipad._images.video import decoded, shown_address, to_image
from skclipad._optional import import_optional
from skclipad._storage.files import atomic_write

QUALITY = 95  # of the JPEG files that are kept
TIMEOUT = 10.0  # seconds without an answer after which a stream is taken to be broken
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0  # seconds before it is opened again
MOST_WAITING = 500  # frames that wait to be scored; more are not kept


class Camera(threading.Thread):
    """Keeps every n-th frame of a stream, and opens it again when it breaks.

    Frames are called by the day and time at which they came, in UTC:
    ``2026-11-25/20-33-48.123.jpg``. Where scoring is slower than the stream, frames are
    left out rather than piled up.

    Parameters
    ----------
    address : str
        What PyAV opens. A user and password in it are told to nobody.
    folder : str
        Where frames are kept.
    every : int
        Which frames: every n-th.
    tell : callable
        Is given lines for people.
    n_waiting : callable
        Says how many frames wait to be scored.
    first_wait : float
        Seconds before a stream that broke is opened again; each time twice as many.
    """

    def __init__(self, address, folder, every, tell, n_waiting, first_wait=FIRST_WAIT):
        super().__init__(name="skclipad-camera", daemon=True)
        self._av = import_optional("av", "video")
        self._address, self._folder, self._every = address, Path(folder), every
        self._tell, self._n_waiting = tell, n_waiting
        self._first_wait = first_wait
        self._ended, self._n_left_out = threading.Event(), 0
        self.name_told = shown_address(address)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc_info):
        self._ended.set()
        self.join(TIMEOUT)

    def run(self):
        """Keep frames until it is ended, whatever befalls the stream."""
        wait = self._first_wait
        while not self._ended.is_set():
            n_kept, reason = self._follow()
            if self._ended.is_set():
                return

            wait = self._first_wait if n_kept else min(2 * wait, LONGEST_WAIT)
            self._tell(
                f"{self.name_told}: {reason} after {n_kept:,} frames; opened again in "
                f"{wait:.0f} s"
            )
            self._ended.wait(wait)

    def _follow(self):
        """Keep frames of the stream until it breaks: how many they were, and why."""
        n_kept = 0
        try:
            with self._open() as container:
                self._tell(f"{self.name_told}: connected")
                frames = decoded(container, container.streams.video[0])
                for number, frame in enumerate(frames):
                    if self._ended.is_set():
                        break
                    if number % self._every == 0 and self._has_room():
                        self._keep(to_image(frame))
                        n_kept += 1
        except IndexError:
            return n_kept, "it has no pictures"
        except (self._av.error.FFmpegError, OSError) as error:
            return n_kept, getattr(error, "strerror", None) or type(error).__name__
        return n_kept, "it ended"

    def _open(self):
        options = {}
        if self._address.startswith("rtsp"):
            options["rtsp_transport"] = "tcp"  # lost packets would be torn frames
        return self._av.open(self._address, timeout=(TIMEOUT, TIMEOUT), options=options)

    def _has_room(self):
        """Tell whether a frame may be kept, and say when some were not."""
        if self._n_waiting() >= MOST_WAITING:
            self._n_left_out += 1
            return False
        if self._n_left_out:
            self._tell(
                f"{self.name_told}: {self._n_left_out:,} frames were left out, since "
                "scoring is slower than the stream; a larger --every takes fewer"
            )
            self._n_left_out = 0
        return True

    def _keep(self, image):
        now = datetime.now(timezone.utc)
        folder = self._folder / f"{now:%Y-%m-%d}"
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{now:%H-%M-%S}.{now.microsecond // 1000:03d}.jpg"
        n = 0
        while target.exists():  # two in a thousandth of a second
            n += 1
            target = folder / f"{target.stem.partition('_')[0]}_{n}.jpg"
        with atomic_write(target) as partial:
            image.save(partial, format="JPEG", quality=QUALITY, subsampling=0)
