"""Windows removes, moves and replaces no file that is open: none of ours is then."""

import contextlib
import os
import signal
from pathlib import Path

import pytest
from tables import read_table

from skclipad import cli
from skclipad._storage import files, locks
from skclipad.cli import _growing

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="needs /proc"
)


def open_files():
    """Return the paths of all files that this process has open."""
    paths = set()
    for handle in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            paths.add(os.readlink(f"/proc/self/fd/{handle}"))
    return paths


@pytest.fixture
def windows_files(monkeypatch):
    """Refuse, as Windows does, to remove or replace what this process has open."""

    def refusing(function):
        def guarded(*paths, **options):
            for path in paths:
                if os.path.realpath(path) in open_files():
                    raise PermissionError(13, "it is used by another process", path)
            return function(*paths, **options)

        return guarded

    for name in ("remove", "unlink", "rename", "replace"):
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))
    monkeypatch.setattr(locks, "fcntl", None)
    monkeypatch.setattr(files, "WINDOWS", True)
    monkeypatch.setattr(files, "WAITS", (0.01,))


def run(*arguments):
    return cli.main(list(map(str, arguments)))


def test_what_was_open_is_closed_before_it_is_removed_or_replaced(
    windows_files, photos, detector_file, tmp_path, capsys
):
    more = ["--maps", tmp_path / "maps", "--report", tmp_path / "r.html"]
    boxes = ["--boxes", tmp_path / "b.json"]
    once, grown = tmp_path / "s.csv", tmp_path / "grown.csv"
    how = [(once, *boxes), (once, "--resume", *boxes)] + 2 * [(grown, "--update")]
    for output in how:
        assert run("score", photos, "-d", detector_file, *more, "-o", *output) == 0
        assert len(read_table(output[0])) == 13
    fitted = tmp_path / "d.joblib"
    few = ["--model", "tiny", "--n-pairs", 50, "--cache", tmp_path / "cache"]
    for _ in range(2):
        assert run("fit", "-o", fitted, *few) == 0
    assert run("export", "-d", fitted, "-o", tmp_path / "d.onnx", "--no-maps") == 0
    assert not list(tmp_path.glob("*.partial"))


def test_a_table_that_a_spreadsheet_has_open_is_told_and_nothing_is_lost(
    windows_files, photos, detector_file, tmp_path, capsys
):
    table = tmp_path / "s.csv"
    table.write_text("path,score\n")
    with table.open():
        assert run("score", photos, "-d", detector_file, "-o", table) == 4
    said = capsys.readouterr().err
    assert "s.csv cannot be replaced" in said and "close it there" in said
    assert len(read_table(tmp_path / "s.csv.partial")) == 13
    again = run("score", photos, "-d", detector_file, "-o", table, "--resume")
    assert again == 0 and len(read_table(table)) == 13


def test_a_watch_goes_on_while_a_spreadsheet_has_its_table_open(
    windows_files, photos, detector_file, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(_growing, "WRITE_AGAIN", 0.05)
    table, said = tmp_path / "s.csv", []
    write = _growing.GrowingTable.write

    def opened_by_another(growing, *rows):
        if table.exists() and not said:
            with table.open():
                try:
                    write(growing, *rows)
                except PermissionError as error:
                    said.append(error)
                    raise
        elif len(said) == 1:
            said.append("and Ctrl-C is pressed")
            os.kill(os.getpid(), signal.SIGINT)
        write(growing, *rows)

    monkeypatch.setattr(_growing.GrowingTable, "write", opened_by_another)
    assert (
        run("watch", photos, "-d", detector_file, "-o", table, "--settle", "0.1") == 0
    )
    assert capsys.readouterr().err.count("cannot be replaced") == 1
    assert len(said) == 2 and len(read_table(table)) == 13
