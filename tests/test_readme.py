"""What README.md shows works: its Python, its commands, its links."""

import re
import shlex
from pathlib import Path

import pytest
from detectors import few_pairs

from skclipad import cli
from skclipad.cli import _demo, _fit, _score

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NOT_RUN = "<!-- not run by the tests: needs the weights -->\n"


def blocks(language):
    """Return the code blocks of a language, without those marked as not run."""
    pattern = rf"({re.escape(NOT_RUN)})?```{language}\n(.*?)```"
    return [code for mark, code in re.findall(pattern, README, re.S) if not mark]


def console_lines(program):
    lines = [line for block in blocks("console") for line in block.splitlines()]
    return [line for line in lines if line.startswith(f"{program} ")]


def test_python_blocks_run_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = blocks("python")
    assert len(code) >= 4 and len(code) == README.count("```python") - 1
    namespace = {}
    with few_pairs():
        for block in code:
            exec(compile(block, "README.md", "exec"), namespace)
    assert re.search(r"^words alone 0\.\d+$", capsys.readouterr().out, re.M)


def test_the_block_that_is_not_run_is_python_all_the_same():
    (block,) = re.findall(rf"{re.escape(NOT_RUN)}```python\n(.*?)```", README, re.S)
    compile(block, "README.md", "exec")


@pytest.mark.parametrize("line", console_lines("skclipad"))
def test_commands_are_ones_that_the_command_line_knows(line, monkeypatch):
    for module in (_demo, _fit, _score):
        monkeypatch.setattr(module, "run", lambda args: 0)
    assert cli.main(shlex.split(line, comments=True)[1:]) == 0


@pytest.mark.parametrize("line", console_lines("make"))
def test_make_targets_exist(line):
    target = line.split()[1]
    assert f"\n{target}:" in (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:)(.*?)\)", README))
def test_links_lead_somewhere(target):
    assert (ROOT / target).exists()
