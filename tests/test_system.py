"""What is done in another way on Windows."""

import pytest

from skclipad import _system


@pytest.mark.parametrize("windows, line", [(False, "a 'b c'"), (True, 'a "b c"')])
def test_a_line_to_copy_has_the_quotes_of_the_shell(windows, line, monkeypatch):
    monkeypatch.setattr(_system, "WINDOWS", windows)
    assert _system.shell_line(["a", "b c"]) == line
