"""What tests and doctests share: no network, nobody's caches, no window."""

import gc
import os
import socket

import pytest

# Set before any test imports what reads them: huggingface_hub reads once, at import.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"


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


@pytest.fixture(autouse=True)
def caches_of_their_own(monkeypatch, tmp_path_factory):
    """Redirect every cache, so that no test reads or writes the user's own."""
    cache = tmp_path_factory.mktemp("cache")
    for variable in ("XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "TORCH_HOME"):
        monkeypatch.setenv(variable, str(cache / variable.lower()))
