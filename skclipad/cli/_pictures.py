"""Which images the arguments of a command name."""

import glob
import os
import sys
from collections import Counter
from pathlib import Path

from skclipad._images.endings import image_endings
from skclipad._images.video import (
    VIDEO_ENDINGS,
    frame_names,
    is_address,
    is_video,
    shown_address,
)
from skclipad._system import WINDOWS
from skclipad.cli._console import echo

MAP_MARK = "skclipad map"  # the PNG text by which a map is known, at its beginning
MOST_ENDINGS = 8  # that are named on the terminal
# Network drives of Windows may number all files alike.
NUMBERS_TELL_APART = not WINDOWS
# Windows' other kind of links to folders, which os.walk passes by from Python 3.12 on.
is_junction = getattr(os.path, "isjunction", lambda path: False)
PICTURES_HELP = """\
files, folders to search with all that is in them, patterns such as "day-*/**/*.jpg", or
- for a list of names, one a line, from standard input"""


def find_images(arguments, leave_out=None, every=None):
    """Return the images that arguments name, and say what folders hold beside them.

    Arguments are files, folders, patterns, and "-" for a list of them on standard
    input. Files come as they were named, folders and patterns sorted, what links to
    folders lead to after the rest of a folder. A file that is not there is among them,
    so that it gets its row, with the reason; and so is a pattern that nothing matches.
    If nothing at all is there of what the arguments name, that is a FileNotFoundError.
    The folder `leave_out` is not searched where it lies in another one. With `every`
    videos are images, too: every n-th of their frames.
    """
    search, found = _Search(leave_out, videos=every is not None), []
    for argument in arguments:
        if is_address(argument):
            raise ValueError(
                f"{shown_address(argument)} is the address of a stream, but expected "
                "files: `skclipad watch` keeps its frames in a folder, and scores them."
            )
        for name in _listed_names() if argument == "-" else [argument]:
            found += search.images_of(name)

    if found == list(arguments) and not any(map(os.path.lexists, found)):
        raise FileNotFoundError(
            f"{', '.join(found)}: no such file or folder, and no pattern that matches "
            "one. Look for a slip in the name."
        )
    search.echo_what_was_passed_over()
    return found if every is None else _with_frames(found, every)


def _with_frames(paths, every):
    """Return images, every n-th frame of a video in its place; say what broke off."""
    found = []
    for path in paths:
        if not is_video(path) or not os.path.exists(path):
            found.append(path)
            continue
        names, reason = frame_names(path, every)
        if reason is not None:
            echo(f"{path} breaks off ({reason}): {len(names):,} frames are taken")
        found += names
    return found


def images_in(folder, leave_out=None):
    """Return the images of a folder and of those in it, and say nothing of the rest.

    An OSError says that it cannot be looked through.
    """
    os.scandir(folder).close()
    return _Search(leave_out).images_of(folder)


def image_filter(folder, leave_out=None):
    """Return what tells of a path in a folder whether `images_in` would find it."""
    search = _Search(None)

    def is_image(path):
        names = os.path.relpath(path, folder).split(os.sep)
        if any(name.startswith(".") for name in names) or not search.takes(path):
            return False
        # Anew each time: the folder may be removed, and made again by the next move.
        closed = None if leave_out is None else folder_identity(leave_out)
        around = (os.path.join(folder, *names[:n]) for n in range(1, len(names)))
        return closed is None or closed not in map(folder_identity, around)

    return is_image


def path_as_named(path, folder):
    """Return a path in a folder with the folder's own name before it.

    macOS tells of full paths with links followed, however the folder was named.
    """
    if path.startswith(os.path.join(folder, "")):
        return path
    identity = folder_identity(folder)
    for around in Path(path).parents:
        if identity is not None and folder_identity(around) == identity:
            return os.path.join(folder, os.path.relpath(path, around))
    return path


def folder_identity(folder):
    """Return what tells a folder from all others, None if it is not there."""
    try:
        status = os.stat(folder)
    except OSError:
        return None
    if NUMBERS_TELL_APART and status.st_ino:
        return status.st_dev, status.st_ino
    return os.path.normcase(os.path.realpath(folder))


def is_map(path):
    """Tell whether a file is an anomaly map that `skclipad score --maps` wrote."""
    try:
        with open(path, "rb") as file:
            return f"tEXt{MAP_MARK}\0".encode() in file.read(100)
    except OSError:
        return False


def _listed_names():
    lines = _decoded(sys.stdin.buffer.read()).split("\n")
    return [line.removesuffix("\r") for line in lines if line]


def _decoded(names):
    """Read names, of any bytes, as the system writes them."""
    if not WINDOWS:
        return os.fsdecode(names)
    try:
        return names.decode("utf-8-sig")
    except UnicodeDecodeError:  # cmd.exe pipes letters of old
        return names.decode("oem")


class _Search:
    """A search through folders and patterns that remembers what it passes over."""

    def __init__(self, leave_out, videos=False):
        self.endings = image_endings() | (VIDEO_ENDINGS if videos else set())
        self.left_out = None if leave_out is None else folder_identity(leave_out)
        self.passed_over = Counter()  # by their endings, or in other words why

    def images_of(self, name):
        if os.path.isdir(name):
            return self._in_folder(name)
        if os.path.lexists(name) or not glob.has_magic(name):
            return [name]

        # Patterns in quotes: shells differ in `**`, and some expand none at all.
        images = []
        for match in sorted(glob.glob(name, recursive=True)):
            if os.path.isdir(match):
                images += self._in_folder(match)
            elif self._is_own_map(match):
                self.passed_over["made by --maps"] += 1
            else:
                images.append(match)

        # A folder that `**` finds is searched, and then its files are found once more.
        return list(dict.fromkeys(images)) or [name]

    def takes(self, path):
        """Tell whether a file has the ending of an image and is none of our maps."""
        ending = os.path.splitext(path)[1].lower()
        return ending in self.endings and not self._is_own_map(path)

    def echo_what_was_passed_over(self):
        if not self.passed_over:
            return

        counts = self.passed_over.most_common()
        said = [f"{n:,} {reason}" for reason, n in counts[:MOST_ENDINGS]]
        if others := sum(n for _, n in counts[MOST_ENDINGS:]):
            said.append(f"{others:,} others")
        n = self.passed_over.total()
        what = "1 file or folder" if n == 1 else f"{n:,} files or folders"
        echo(f"passed over {what}: {', '.join(said)} (a file that you name is read)")

    def _in_folder(self, folder):
        found, seen, folders = [], set(), [folder]
        while folders:
            # Links wait for the rest: what lies there goes by its own name if it can.
            links = []

            for start in folders:
                for place, subfolders, files in os.walk(start, onerror=_raise):
                    if self._is_closed(place, start, seen):
                        subfolders.clear()
                        continue
                    links += self._choose(place, subfolders)
                    found += self._images(place, sorted(files))
            folders = links
        return found

    def _is_closed(self, place, start, seen):
        """Tell whether a folder was searched already or shall be left out."""
        identity = folder_identity(place)
        if identity in seen or (identity == self.left_out and place != start):
            return True
        seen.add(identity)
        return False

    def _choose(self, place, subfolders):
        """Leave the folders that are to be walked through; return links to others."""
        hidden = [name for name in subfolders if name.startswith(".")]
        self.passed_over.update({"hidden": len(hidden)} if hidden else {})

        links = []
        for name in sorted(set(subfolders) - set(hidden)):
            path = os.path.join(place, name)
            if not (os.path.islink(path) or is_junction(path)):
                continue
            if _is_inside(place, path):
                self.passed_over["linked in a loop"] += 1
            else:
                links.append(path)

        subfolders[:] = sorted(set(subfolders) - set(hidden))
        return links

    def _images(self, place, files):
        images = []
        for file in files:
            path = os.path.join(place, file)
            ending = os.path.splitext(file)[1].lower()

            if file.startswith("."):  # also ._*, which macOS leaves beside images
                self.passed_over["hidden"] += 1
            elif ending not in self.endings:
                self.passed_over[ending or "without ending"] += 1
            elif self._is_own_map(path):
                self.passed_over["made by --maps"] += 1
            else:
                images.append(path)
        return images

    def _is_own_map(self, path):
        # Maps are called IMAGE.png: no other file is opened to find out.
        stem, ending = os.path.splitext(path)
        double = os.path.splitext(stem)[1].lower() in self.endings or "#t=" in stem
        return ending == ".png" and double and is_map(path)


def _is_inside(place, link):
    """Tell whether a link in a folder leads to this folder or to one around it."""
    return Path(place).resolve().is_relative_to(Path(link).resolve())


def _raise(error):
    raise error
