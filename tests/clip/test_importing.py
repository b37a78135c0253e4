"""open_clip is imported without torch's compiler, which is there when it is called."""

import importlib
import json
import subprocess
import sys

import pytest

from skclipad._clip import importing
from skclipad._clip.importing import compiler_left_for_later

IN_A_NEW_PROCESS = """
import json, sys
import numpy as np
import torch.utils.checkpoint  # which brings sympy along in older releases
brought = set(sys.modules)
from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad._clip.importing import compiler_left_for_later

# torch.optim and torch.nn.utils.skip_init import it, too.
detector = RandomWordCLIPDetector(N_p=50, embedder=CLIPImageEmbedder("tiny")).fit()
detector.predict_proba([np.zeros((9, 9, 3), np.uint8)])
needless = {"torch._dynamo", "sympy"}
seen = {"after an image": sorted(needless & (set(sys.modules) - brought))}

import torch
from torchvision.ops import roi_align

with compiler_left_for_later():
    double = torch.compiler.disable(lambda x: 2 * x)
    triple = torch.compiler.disable(recursive=False)(lambda x: 3 * x)
    seen["marks are real"] = "torch._dynamo.eval_frame" in sys.modules

box = torch.tensor([[0.0, 0.0, 4.0, 4.0]])
seen["torchvision"] = list(roi_align(torch.ones(1, 3, 8, 8), [box], 2).shape)
seen["marked"] = [int(double(2)), int(triple(2)), int(double(3))]
seen["once called"] = "torch._dynamo.eval_frame" in sys.modules
compiled = torch.compile(lambda x: double(x) + 1, backend="eager")
seen["compiled"] = compiled(torch.ones(2)).tolist()

from torch._dynamo.utils import is_compile_supported
seen["asked"] = isinstance(is_compile_supported("cpu"), bool)
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def seen():
    """What a new process sees of the compiler, step by step."""
    run = subprocess.run(
        [sys.executable, "-c", IN_A_NEW_PROCESS],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(run.stdout)


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """The name of a package that is laid out as torch's compiler is."""
    name = "compiler_of_a_test"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("version = 1\n")
    (tmp_path / name / "utils.py").write_text("counters = [2]\n")
    (tmp_path / name / "config.py").write_text("level = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(importing, "PACKAGE", name)
    monkeypatch.setattr(importing, "TAKEN", {name: {"disable"}, f"{name}.utils": set()})
    yield name
    for module in [m for m in sys.modules if m.partition(".")[0] == name]:
        del sys.modules[module]


def test_neither_training_nor_an_image_needs_the_compiler(seen):
    assert seen["after an image"] == []
    assert seen["marks are real"] is False


def test_what_was_put_off_computes_when_it_is_called(seen):
    assert seen["torchvision"] == [1, 3, 2, 2]
    assert seen["marked"] == [4, 6, 6]
    assert seen["once called"] is True
    assert seen["asked"] is True


def test_the_compiler_works_afterwards(seen):
    assert seen["compiled"] == [3.0, 3.0]


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [("", "version", 1), (".utils", "counters", [2]), (".config", "level", 3)],
)
def test_what_asks_for_more_of_the_compiler_gets_it_at_once(
    module, name, value, compiler
):
    with compiler_left_for_later():
        found = getattr(importlib.import_module(compiler + module), name)
    assert found == value
    assert importlib.import_module(compiler).version == 1


def test_what_has_imported_the_compiler_keeps_it(compiler):
    real = importlib.import_module(compiler)
    with compiler_left_for_later():
        assert sys.modules[compiler] is real
        assert f"{compiler}.utils" not in sys.modules
    assert sys.modules[compiler] is real
