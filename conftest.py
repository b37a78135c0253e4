"""What tests and doctests share: no network, nobody's caches, no window, no traces."""

import contextlib
import gc
import importlib
import itertools
import os
import pkgutil
import socket
import sys
import tempfile

import pytest

import skclipad

# Set before any test imports what reads them: huggingface_hub reads once, at import.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"

# What runs the package as a whole, line for line what the tests of its rooms run, too.
AS_A_WHOLE = {
    "test_common.py",
    "test_concurrency.py",
    "test_docs.py",
    "test_docstrings.py",
    "test_examples.py",
    "test_fuzz.py",
    "test_imports.py",
    "test_mutants.py",
    "test_persistence.py",
    "test_photos.py",
    "test_properties.py",
    "test_readme.py",
    "test_report_browser.py",
    "test_tiny.py",
    "test_train_lite.py",
}


@contextlib.contextmanager
def resting_coverage():
    """Let coverage rest, which slows all that is written in Python by half."""
    trace = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(trace)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Count no lines where each of them is counted elsewhere, too."""
    whole = item.path.name in AS_A_WHOLE or isinstance(item, pytest.DoctestItem)
    with resting_coverage() if whole else contextlib.nullcontext():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """Count the lines that an import runs, but not while tests are looked for."""
    if sys.gettrace() and session.config.getoption("dist", "no") == "no":
        for module in pkgutil.walk_packages(skclipad.__path__, "skclipad."):
            if module.name != "skclipad.__main__":
                importlib.import_module(module.name)
    with resting_coverage():
        return (yield)


def pytest_collection_finish():
    """Spare the garbage collector what stays to the end: all modules and all tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Fail any look-up of a host but this one, instead of waiting for an answer."""
    getaddrinfo = socket.getaddrinfo

    def local_only(host, *args, **kwargs):
        if host in (None, "", "localhost", "127.0.0.1", "::1"):
            return getaddrinfo(host, *args, **kwargs)
        raise OSError(f"a test looked for {host!r}, but tests run without network")

    monkeypatch.setattr(socket, "getaddrinfo", local_only)


@pytest.fixture(scope="session")
def uncounted():
    """Make a function run without its lines being counted: others' slow ones."""
    return resting_coverage()


@pytest.fixture(scope="session")
def places(tmp_path_factory):
    """Give places for the caches of one test after the other.

    Nothing is made: pytest's numbered folders are looked for anew each time, among
    thousands.
    """
    root = tmp_path_factory.mktemp("caches")
    return (root / str(i) for i in itertools.count())


@pytest.fixture(autouse=True)
def caches_of_their_own(places, monkeypatch):
    """Redirect every cache, so that no test reads or writes the user's own."""
    cache = next(places)
    for variable in ("XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "TORCH_HOME"):
        monkeypatch.setenv(variable, str(cache / variable.lower()))


@pytest.fixture(scope="session", autouse=True)
def temporary_files_of_their_own(tmp_path_factory):
    """Let pytest remove what pages and essays make for their reader to look at."""
    with pytest.MonkeyPatch.context() as context:
        context.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
        yield
