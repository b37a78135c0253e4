"""The ways to install: what they fetch is said first, and what they name is there."""

import ast
import configparser
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from scripts import TOOLS, importable

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
INDEX = "https://download.pytorch.org/whl/cpu"


def planned(target, folder, *settings):
    """Return what make would run for a target, in an environment of its own."""
    venv = folder / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").touch()
    command = ["make", "--dry-run", target, f"VENV={venv}", *settings]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.replace("\\\n", " ").splitlines()


@pytest.mark.parametrize("target", ["demo", "test"])
def test_make_takes_torch_from_an_index_only_if_told_to(target, tmp_path):
    lines = planned(target, tmp_path / "plain", "TORCH_INDEX=")
    assert not any("--index-url" in line for line in lines)
    lines = planned(target, tmp_path / "cpu", f"TORCH_INDEX={INDEX}")
    first, *others = [shlex.split(line) for line in lines if "pip install" in line]
    assert first[-4:] == ["--index-url", INDEX, "torch", "torchvision"]
    assert all("--editable" in line and INDEX not in line for line in others[:1])


def test_make_takes_the_oldest_torch_from_an_index_if_told_to(tmp_path):
    venv = f"MIN_VENV={tmp_path}"
    plain = planned("test-min", tmp_path / "plain", venv, "TORCH_INDEX=")
    chosen = planned("test-min", tmp_path / "cpu", venv, f"TORCH_INDEX={INDEX}")
    (torch,) = set(chosen) - set(plain)
    assert (
        f"--index-url {INDEX}" in torch and f"^torch== {tmp_path}/oldest.txt" in torch
    )
    (rest,) = (line for line in plain if "--editable" in line)
    assert chosen.index(torch) < chosen.index(rest)


def test_the_oldest_of_all_that_users_install_is_tried():
    with importable(TOOLS):
        import oldest
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = {
        name: set(filter(None, map(str.strip, lines.split("\n"))))
        for name, lines in setup["options.extras_require"].items()
    }
    for name in extras.keys() - {"benchmark", "docs", "others"}:
        assert extras[name] <= extras["test"], name
    assert extras["benchmark"] <= extras["test"]

    # The tools that stay as they are bring nothing that the package imports.
    named = {re.match(r"[\w-]+", one)[0]: one for one in extras["test"]}
    assert oldest.TOOLS <= named.keys()
    for one in extras["all"]:
        (pinned,) = oldest.oldest([one])
        assert pinned.replace("==", ">=").removesuffix(".*") == one
    assert oldest.oldest(["open_clip_torch>=3.0,<5"]) == ["open_clip_torch==3.0.*"]


FAKE_PYTHON = """#!/bin/sh
case "$2 $3" in
"pip list") echo torch==2.9.1+cpu; echo av==17.0;;
pip_audit*) cat "{folder}/audited.txt"; {answer};;
esac
"""


def audit(folder, answer):
    """Run `make audit` with a python that lists two packages and audits as told."""
    python = folder / "bin" / "python"
    python.parent.mkdir()
    python.write_text(FAKE_PYTHON.format(folder=folder, answer=answer))
    python.chmod(0o755)
    (folder / ".ready-test").touch()
    command = ["make", "audit", f"VENV={folder}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_make_audits_the_versions_that_the_lists_name(tmp_path):
    done = audit(tmp_path, "exit 0")
    assert done.returncode == 0, done.stderr
    assert "torch==2.9.1\nav==17.0\n" in done.stdout
    assert "make:" not in done.stderr


def test_make_audit_fails_and_says_that_perhaps_nothing_could_be_looked_up(tmp_path):
    done = audit(tmp_path, "echo 'av: not found on PyPI' >&2; exit 1")
    assert done.returncode != 0
    found, said, *_ = done.stderr.splitlines()
    assert found == "av: not found on PyPI"
    assert "could not be looked up" in said and "PyPI itself" in said


@pytest.mark.parametrize("target", ["demo", "test"])
def test_make_says_what_it_downloads_before_it_does(target, tmp_path):
    lines = planned(target, tmp_path, f"TORCH_INDEX={INDEX}")
    said = next(i for i, line in enumerate(lines) if "tools/downloads.py" in line)
    assert f'{target} --index "{INDEX}"' in lines[said]
    assert not any("pip install" in line for line in lines[:said])


@pytest.mark.parametrize(
    ("index", "system", "has_gpu", "cuda", "hint"),
    [
        ("", "Linux", False, True, True),
        ("", "Linux", True, True, False),
        (INDEX, "Linux", False, False, False),
        ("", "Darwin", False, False, False),
        ("", "Windows", False, False, False),
    ],
)
def test_sizes_are_those_of_the_machine(index, system, has_gpu, cuda, hint):
    with importable(TOOLS):
        from downloads import announcement
    text = " ".join(announcement("demo", index, system, has_gpu))
    (size,) = re.findall(r"about (\d\.\d) GB", text)
    assert (float(size) > 1) == cuda == ("with CUDA" in text)
    assert (f"TORCH_INDEX={INDEX}" in text) == hint
    assert (f"from {index}" in text) == bool(index)


def copied():
    lines = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.M)
    return [name for line in lines for name in line.split()]


def test_the_image_copies_what_is_there_and_what_the_build_needs():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for name in copied():
        assert (ROOT / name).exists()
        assert f"!{name}" in ignored
    assert {"setup.cfg", "pyproject.toml", "skclipad"} <= set(copied())
    assert "*" in ignored


def test_the_image_runs_the_command_as_nobody_special():
    _, final = DOCKERFILE.split("\nFROM ", 2)[1:]
    assert re.findall(r"^USER (\w+)$", final, re.M) == ["1000"]
    assert 'ENTRYPOINT ["skclipad"]' in final
    assert "apt-get" not in DOCKERFILE  # libGL and its like
    assert "-slim\n" in final


def test_the_image_installs_extras_that_there_are():
    (extras,) = re.findall(r"^ARG EXTRAS=(\S+)$", DOCKERFILE, re.M)
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    for extra in extras.split(","):
        assert f"\n{extra} =\n" in setup


# What a test imports -> the package that brings it, where the names differ.
BROUGHT_BY = {
    "distributed": "dask",
    "label_studio_sdk": "label-studio-sdk",
    "sklearn": "scikit-learn",  # a part of it that older releases have not
}
# Why else a test is skipped -> what tells that it is not where `.ci/run` runs `make
# test`: on Linux, with a browser and the newest packages.
RUN_BY_CI = {
    "forking is for Linux": "linux",
    "needs Linux calls": "linux",
    "needs os.fork": "linux",
    "needs /proc": "linux",
    "reads its size from Linux's /proc": "linux",
    "no /dev/full here": "linux",
    "no links here": "linux",
    "this file system takes no such name": "linux",
    "needs chromium and chromedriver (Debian: the packages chromium and "
    "chromium-driver)": "SKCLIPAD_REQUIRE_BROWSER=1",
    "torch before 2.6 exports by tracing alone": "exec make test",
}


def skips():
    """Yield (file, "importorskip", "skip" or "skipif", name or reason) of all skips."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            kind = getattr(getattr(node, "func", None), "attr", None)
            if kind == "importorskip" or kind == "skip":
                yield path.name, kind, ast.literal_eval(node.args[0])
            elif kind == "skipif":
                (reason,) = (k.value for k in node.keywords if k.arg == "reason")
                yield path.name, kind, ast.literal_eval(reason)


def test_no_test_is_skipped_in_every_run():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = setup["options.extras_require"]
    # `make test` installs the first two, `make test-others` all.
    wanted = setup["options"]["install_requires"] + extras["test"] + extras["others"]
    installed = re.findall(r"^[\w-]+", wanted, re.M)

    reasons = set()
    for file, kind, what in skips():
        if kind == "importorskip":
            package = what.partition(".")[0]
            assert BROUGHT_BY.get(package, package) in installed, (file, what)
        else:
            assert what in RUN_BY_CI, (file, what)
            reasons.add(what)
    assert reasons == set(RUN_BY_CI)  # none that no test gives any more


def test_continuous_integration_has_what_tests_need():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for needed in set(RUN_BY_CI.values()) - {"linux"}:
        assert needed in script


@pytest.mark.parametrize(
    "there",
    ["os.fork", "os.symlink", "/proc/self/fd", "/proc/self/statm", "/dev/full"],
)
def test_linux_has_what_tests_need(there):
    if there.startswith("os."):
        found = hasattr(os, there.removeprefix("os."))
    else:
        found = Path(there).exists()
    assert found or sys.platform != "linux"
