"""What needs an extra says which one, and why it could not be imported."""

import sys

import pytest

from skclipad._optional import import_optional


def test_what_is_there_is_imported():
    assert import_optional("json.decoder", "any") is sys.modules["json.decoder"]


def test_what_is_not_there_is_told_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "json.decoder", None)
    message = (
        r'json could not .* \(.*json\.decoder.*\).*pip install "skclipad\[parts\]"'
    )
    with pytest.raises(ImportError, match=message) as caught:
        import_optional("json.decoder", "parts")
    assert isinstance(caught.value.__cause__, ImportError)
