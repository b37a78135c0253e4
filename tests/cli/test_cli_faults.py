"""What stops a run is told, with what is kept; warnings are summed up."""

import errno
import io
import itertools
import logging
import os
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image
from tables import read_rows

from skclipad import RandomWordCLIPDetector, cli
from skclipad.cli import _fit, _maps, _score_report
from skclipad.scoring import _rows

TINY = ["--model", "tiny", "--n-pairs", "50"]


class OutOfMemoryError(RuntimeError):
    """As torch calls its own."""


FAULTS = [
    (
        OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nAnd so on."),
        "stopped: out of memory (CUDA out of memory. Tried to allocate 9 GiB). A "
        "smaller --batch-size",
    ),
    (MemoryError(), "out of memory (of this machine)"),
    (RuntimeError("the driver is gone"), "stopped: the driver is gone"),
    (OSError(errno.ENOSPC, "No space left on device"), "no space is left on the disk."),
    (OSError(errno.EIO, "Input/output error"), "Input/output error"),
    (ValueError("what no argument can mend"), "what no argument can mend"),
    (
        IndexError("list index out of range"),
        "IndexError: list index out of range (PLACE)",
    ),
    (KeyError("a"), "KeyError: 'a' (PLACE)"),
]


def check_told(message, said):
    """Assert that a fault is told in one line, with its place where it says nothing."""
    pattern = re.escape(message).replace("PLACE", r"\w+\.py, line \d+")
    assert re.search(pattern, said) and "Traceback" not in said


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for i in range(6):
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    return tmp_path / "photos"


def raising(error):
    def fail(*args, **kwargs):
        raise error

    return fail


@pytest.mark.parametrize("error, message", FAULTS, ids=lambda x: type(x).__name__)
def test_a_fault_in_the_middle_is_told_and_the_run_goes_on(
    error, message, photos, detector_file, blocks_of, stopped, tmp_path, capsys
):
    blocks_of(3)
    table = tmp_path / "scores.csv"
    score = ["score", str(photos), "-d", detector_file, "-o", str(table)]
    with stopped(error):
        assert cli.main(score) == 4
    said = capsys.readouterr().err
    check_told(message, said)
    assert "3 rows are kept; the same command with --resume goes on" in said
    assert not table.exists()
    assert cli.main([*score, "--resume"]) == 0
    assert "3 of 6 pictures were scored before" in capsys.readouterr().err
    assert len(table.read_text("utf-8").splitlines()) == 7


def test_without_a_table_what_was_scored_is_on_standard_output(
    photos, detector_file, blocks_of, stopped, capsys
):
    blocks_of(3)
    with stopped(RuntimeError("gone")):
        assert cli.main(["score", str(photos), "-d", detector_file]) == 4
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 4
    assert "what was scored is on standard output" in output.err


def test_a_full_disk_leaves_the_journal_that_fits_on_it(
    photos, detector_file, tmp_path, monkeypatch, capsys
):
    table = tmp_path / "scores.csv"
    full = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "maps"))
    monkeypatch.setattr(_maps.MapFolder, "_write", raising(full))
    maps = ["--maps", str(tmp_path / "maps")]
    score = ["score", str(photos), "-d", detector_file, "-o", str(table)]
    assert cli.main([*score, *maps]) == 4
    said = capsys.readouterr().err
    assert f"no space is left on the disk of {tmp_path / 'maps'}" in said
    assert "0 rows are kept" in said


def test_a_report_that_fails_leaves_a_whole_table(
    photos, detector_file, tmp_path, monkeypatch, capsys
):
    table = tmp_path / "scores.csv"
    monkeypatch.setattr(_score_report, "write_report", raising(MemoryError()))
    score = ["score", str(photos), "-d", detector_file, "-o", str(table)]
    assert cli.main([*score, "--report", str(tmp_path / "r.html")]) == 4
    assert f"{table} is whole" in capsys.readouterr().err
    assert len(table.read_text("utf-8").splitlines()) == 7


@pytest.mark.parametrize("error, message", FAULTS, ids=lambda x: type(x).__name__)
def test_a_detector_that_cannot_be_written_is_told(
    error, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(_fit.joblib, "dump", raising(error))
    assert cli.main(["fit", "-o", str(tmp_path / "d.joblib"), *TINY]) == 4
    said = capsys.readouterr().err
    check_told(message, said)
    assert os.listdir(tmp_path) == []


def test_training_that_fails_is_no_wrong_argument(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(RandomWordCLIPDetector, "fit", raising(FAULTS[0][0]))
    assert cli.main(["fit", "-o", str(tmp_path / "d.joblib"), *TINY]) == 4
    assert "CUDA out of memory" in capsys.readouterr().err
    assert cli.main(["demo", "--out", str(tmp_path / "demo")]) == 4


def test_the_exit_codes_are_in_the_help(capsys):
    for command in ([], ["score"]):
        assert cli.main([*command, "--help"]) == 0
        assert "4 stopped by an error" in capsys.readouterr().out


# Processes of their own


def skclipad(*arguments, stdout=subprocess.PIPE, **environment):
    command = [sys.executable, "-m", "skclipad", *arguments]
    environment = os.environ | environment
    return subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, env=environment
    )


def test_an_ascii_terminal_gets_escapes(photos, detector_file):
    (photos / "0.png").rename(photos / "M\u00fchle \u20ac.png")
    run = skclipad(
        "score", str(photos), "-d", detector_file, PYTHONIOENCODING="ascii", LC_ALL="C"
    )
    assert run.returncode == 0, run.stderr
    rows = read_rows(run.stdout.decode("ascii"))
    assert len(rows) == 6
    assert rows[-1]["path"] == str(photos / "M\\xfchle \\u20ac.png")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_standard_output_on_a_full_disk_is_told(photos, detector_file):
    with open("/dev/full", "w") as full:
        run = skclipad("score", str(photos), "-d", detector_file, stdout=full)
    assert run.returncode == 4
    said = run.stderr.decode()
    assert "no space is left on the disk" in said
    assert "Traceback" not in said and "Exception ignored" not in said


def test_developers_see_the_traceback(tmp_path):
    program = (
        "import sys; from types import SimpleNamespace; from skclipad import cli\n"
        "cli._module_of = lambda name: SimpleNamespace(run=lambda args: [][0])\n"
        "sys.exit(cli.main(['drift', 'a.csv', '--reference', 'b.csv']))"
    )
    for environment, n in (({}, 0), ({"PYTHONDEVMODE": "1"}, 1)):
        run = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            capture_output=True,
            text=True,
            env=os.environ | environment,
        )
        assert run.returncode == 4
        assert run.stderr.count("Traceback") == n
        assert "IndexError: list index out of range" in run.stderr


# Warnings


def damaged_tiffs(folder, n):
    rng = np.random.default_rng(0)
    pixels = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for i in range(n):
        file = io.BytesIO()
        pixels.save(file, "TIFF", compression=("tiff_lzw", "tiff_deflate")[i % 2])
        content = bytearray(file.getvalue())
        # The pixels; the table of tags stands behind them.
        middle = len(content) // 2
        content[middle : middle + 30] = rng.bytes(30)
        (folder / f"{i:02d}.tif").write_bytes(content)


def test_a_folder_of_damaged_files_does_not_bury_the_summary(
    photos, detector_file, capfd
):
    damaged_tiffs(photos, 40)
    assert cli.main(["score", str(photos), "-d", detector_file]) in (0, 3)
    # What libtiff itself writes counts, too.
    said = capfd.readouterr().err
    lines = said.splitlines()
    # The summary, five failures and their heading, four kinds of warning and theirs.
    assert any(" of 46 pictures scored in " in line for line in lines)
    assert len(lines) <= 15, said


def test_warnings_are_told_once_each_with_their_number(
    photos, detector_file, monkeypatch, capsys
):
    score_rows = _rows.score_rows

    def warned(detector, paths):
        for i in range(len(paths)):
            warnings.warn(f"Corrupt EXIF data. Expecting {i} bytes", stacklevel=1)
            logging.getLogger("PIL.TiffImagePlugin").error("Too many samples: %d", i)
        for kind in "abcde":
            warnings.warn(f"kind {kind}", RuntimeWarning, stacklevel=1)
        return score_rows(detector, paths)

    monkeypatch.setattr(_rows, "score_rows", warned)
    before = warnings.showwarning
    assert cli.main(["score", str(photos), "-d", detector_file]) == 0
    lines = capsys.readouterr().err.splitlines()
    start = lines.index("17 warnings:")
    assert lines[start + 1 :] == [
        "  6 times: Corrupt EXIF data. Expecting 0 bytes",
        "  6 times: Too many samples: 0",
        "  kind a",
        "  kind b",
        "  ... and 3 of 3 other kinds",
    ]
    assert warnings.showwarning is before
    assert logging.getLogger("PIL").propagate and not logging.getLogger("PIL").handlers


def test_a_warning_is_told_also_where_the_run_is_stopped(monkeypatch, capsys):
    def fit(self):
        warnings.warn("the store was moved aside", RuntimeWarning, stacklevel=1)
        raise RuntimeError("gone")

    monkeypatch.setattr(RandomWordCLIPDetector, "fit", fit)
    assert cli.main(["score", ".", *TINY]) in (2, 4)
    assert cli.main(["fit", "-o", "d.joblib", *TINY]) == 4
    said = capsys.readouterr().err
    assert "1 warning:\n  the store was moved aside\n" in said and "gone" in said


def test_kinds_of_warnings_without_end_are_counted_and_not_kept(
    photos, detector_file, monkeypatch, capsys
):
    score_rows = _rows.score_rows

    def warned(detector, paths):
        for word in map("".join, itertools.product("abcdefgh", repeat=4)):  # 4,096
            warnings.warn(f"{word}.png is damaged", stacklevel=1)
        warnings.warn("aaaa.png is damaged", stacklevel=1)
        return score_rows(detector, paths)

    monkeypatch.setattr(_rows, "score_rows", warned)
    assert cli.main(["score", str(photos), "-d", detector_file]) == 0
    *_, head, first, _, _, _, last = capsys.readouterr().err.splitlines()
    assert head == "4,097 warnings:" and first == "  2 times: aaaa.png is damaged"
    assert last == "  ... and 4,092 of 996 or more other kinds"
