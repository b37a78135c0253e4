"""Scripts that are no part of the package: those of benchmarks/ and tools/."""

import contextlib
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
TOOLS = ROOT / "tools"


@contextlib.contextmanager
def importable(folder):
    """Let scripts of a folder be imported by name, as they import each other."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        scripts = {path.stem for path in folder.glob("*.py")}
        for name in scripts & (set(sys.modules) - before):
            del sys.modules[name]
