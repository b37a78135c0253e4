"""The code on the pages of the documentation runs as it stands."""

import doctest
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(page for page in DOCS.glob("*.rst") if ">>>" in page.read_text())


def test_there_are_pages_with_code():
    assert "thresholds" in [page.stem for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_of_page_runs(page):
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    failures, tried = doctest.testfile(
        str(page), module_relative=False, optionflags=flags
    )
    assert tried > 0
    assert failures == 0
