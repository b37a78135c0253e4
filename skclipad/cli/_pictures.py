"""Which pictures the arguments of a command name."""

import glob
import os
import sys

IMAGE_SUFFIXES = frozenset(
    ".bmp .gif .jp2 .jpeg .jpg .pbm .pgm .png .pnm .ppm .tif .tiff .webp".split()
)
PICTURES_HELP = """\
files, folders to search with all that is in them, patterns such as 'day-*/**/*.jpg', or
- for a list of names, one a line, from standard input"""


def find_pictures(arguments):
    """Return the pictures that arguments name.

    Parameters
    ----------
    arguments : sequence of str
        Files, folders, patterns, and "-" for a list of them on standard input.

    Returns
    -------
    list of str
        Paths: files as they were named, folders and patterns sorted. A file that is
        not there is among them, so that it gets its row, with the reason; and so is a
        pattern that nothing matches.

    Raises
    ------
    FileNotFoundError
        If nothing is there of all that the arguments name.
    """
    found = []
    for argument in arguments:
        if argument == "-":
            # Names may hold any bytes: they are read as the system writes them.
            lines = sys.stdin.buffer.read().split(b"\n")
            names = [os.fsdecode(line.removesuffix(b"\r")) for line in lines if line]
            for name in names:
                found += _pictures_of(name)
        else:
            found += _pictures_of(argument)
    if found == list(arguments) and not any(map(os.path.lexists, found)):
        raise FileNotFoundError(
            f"{', '.join(found)}: no such file or folder, and no pattern that matches "
            "one. Look for a slip in the name."
        )
    return found


def _pictures_of(argument):
    if os.path.isdir(argument):
        return _pictures_in(argument)
    if os.path.lexists(argument) or not glob.has_magic(argument):
        return [argument]
    # Patterns in quotes: shells differ in `**`, and some expand none at all.
    pictures = []
    for match in sorted(glob.glob(argument, recursive=True)):
        pictures += _pictures_in(match) if os.path.isdir(match) else [match]
    # A folder that `**` finds is searched, and then its files are found once more.
    return list(dict.fromkeys(pictures)) or [argument]


def _pictures_in(folder):
    found = []
    for place, subfolders, files in os.walk(folder, onerror=_raise):
        subfolders.sort()
        found += [
            os.path.join(place, file)
            for file in sorted(files)
            if os.path.splitext(file)[1].lower() in IMAGE_SUFFIXES
        ]
    return found


def _raise(error):
    raise error
