"""The fuzz run in a bounded form; `python tools/fuzz.py` is the whole of it."""

import subprocess
import sys
from pathlib import Path

import pytest
from scripts import TOOLS

PROGRAM = TOOLS / "fuzz.py"

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="reads its size from Linux's /proc"
)


def run(*arguments):
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@needs_proc
def test_damaged_files_are_pictures_or_refused(tmp_path):
    process = run("--n", 750, "--seed", 1, "--keep", tmp_path / "failures")
    assert process.returncode == 0, process.stdout
    assert "750 inputs (seed 1)" in process.stdout
    assert process.stdout.rstrip().endswith(" 0 failures")
    assert not (tmp_path / "failures").exists()


# Faults put into the reader, to see that the fuzz run would find them.
FAULTS = {
    "raise KeyError('odd')": "KeyError: 'odd'",
    "os._exit(3)": "crash, exit code 3",
    "os.abort()": "crash, exit code -6",
    "bytearray(8 << 30)": "MemoryError",
    "time.sleep(60)": "hang",
}


@needs_proc
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_its_input_kept(tmp_path, fault):
    source = PROGRAM.read_text(encoding="utf-8")
    place = "    identity = image_identity(path)\n"
    faulty = f"    if path.read_bytes()[:3] == b'GIF': {fault}\n"
    assert place in source and "PATIENCE = 60.0" in source
    source = source.replace(place, faulty + place)
    program = tmp_path / "fuzz.py"
    program.write_text(source.replace("PATIENCE = 60.0", "PATIENCE = 1.0"))
    command = [sys.executable, str(program), "--n", "10", "--keep", str(tmp_path)]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 1
    assert FAULTS[fault] in process.stdout
    kept = sorted(path.name for path in tmp_path.glob("seed-0-*"))
    assert kept and all(name.endswith(".gif") for name in kept)
    assert all((tmp_path / name).read_bytes()[:3] == b"GIF" for name in kept)
