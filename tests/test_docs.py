"""The documentation: its code runs as it stands, and nothing public is left out."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import skclipad

DOCS = Path(__file__).parent.parent / "docs"
# A build leaves one page of its own in the folder.
PAGES = sorted(set(DOCS.glob("*.rst")) - {DOCS / "sg_execution_times.rst"})
WITH_CODE = [page for page in PAGES if ">>>" in page.read_text(encoding="utf-8")]


def toctree_entries(page):
    """Yield the names that a page's toctrees list."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^\.\. toctree::\n((?:[ ]{3}.*\n|\n)*)", text, re.M):
        lines = (line.strip() for line in block.splitlines())
        yield from (line for line in lines if line and not line.startswith(":"))


def public_names():
    """Yield the dotted names that the package and its public modules list."""
    modules = [skclipad]
    for info in pkgutil.iter_modules(skclipad.__path__, "skclipad."):
        name = info.name.split(".")[1]
        # The folder of the bundled model is a package for its files' sake alone, and
        # the command line has a page of its own.
        if not name.startswith("_") and name not in {"tiny", "cli"}:
            modules.append(importlib.import_module(info.name))
    for module in modules:
        names = set(module.__all__) - {"__version__"}
        yield from (f"{module.__name__}.{name}" for name in sorted(names))


def test_there_are_pages_with_code():
    names = [page.stem for page in WITH_CODE]
    assert {"thresholds", "security", "user_guide"} <= set(names)


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.stem)
def test_code_of_page_runs(page):
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    failures, tried = doctest.testfile(
        str(page), module_relative=False, optionflags=flags
    )
    assert tried > 0
    assert failures == 0


def test_every_page_is_in_a_toctree():
    listed = {entry for page in PAGES for entry in toctree_entries(page)}
    assert {page.stem for page in PAGES} - {"index"} <= listed


def test_every_public_name_is_in_the_reference():
    text = (DOCS / "api.rst").read_text(encoding="utf-8")
    module, listed = "skclipad", set()
    for line in text.splitlines():
        if found := re.match(r"\.\. currentmodule:: (\S+)", line):
            module = found[1]
        elif found := re.match(r"\.\. py:data:: (\S+)", line):
            listed.add(found[1])
        elif found := re.match(r"   (\w+)$", line):
            listed.add(f"{module}.{found[1]}")
    assert listed == set(public_names())
