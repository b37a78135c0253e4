"""open_clip is imported without torch's compiler, which is there when it is called."""

import json
import subprocess
import sys

import pytest

IN_A_NEW_PROCESS = """
import json, sys
import numpy as np
from skclipad import CLIPImageEmbedder
from skclipad._clip.importing import compiler_left_for_later

CLIPImageEmbedder("tiny", None).transform([np.zeros((9, 9, 3), np.uint8)])
seen = {"after an image": "torch._dynamo" in sys.modules}

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
with compiler_left_for_later():  # nothing is to be put off any more
    seen["left alone"] = sys.modules["torch._dynamo"] is torch._dynamo
print(json.dumps(seen))
"""
# As a release of torchvision or timm may ask that takes more than those of today.
ASKS_FOR_MORE = """
import json, sys
from skclipad._clip.importing import compiler_left_for_later

with compiler_left_for_later():
    import torch._dynamo.config
    from torch._dynamo import optimize
    from torch._dynamo.utils import counters
print(json.dumps([torch._dynamo.config.__name__, optimize.__module__, len(counters)]))
"""


def in_a_new_process(code):
    """Return what a new process sees of the compiler."""
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def seen():
    return in_a_new_process(IN_A_NEW_PROCESS)


def test_no_image_needs_the_compiler(seen):
    assert seen["after an image"] is False
    assert seen["marks are real"] is False


def test_what_was_put_off_computes_when_it_is_called(seen):
    assert seen["torchvision"] == [1, 3, 2, 2]
    assert seen["marked"] == [4, 6, 6]
    assert seen["once called"] is True
    assert seen["asked"] is True


def test_the_compiler_works_afterwards(seen):
    assert seen["compiled"] == [3.0, 3.0]
    assert seen["left alone"] is True


def test_what_asks_for_more_of_the_compiler_gets_it_at_once():
    config, optimize, _ = in_a_new_process(ASKS_FOR_MORE)
    assert config == "torch._dynamo.config"
    assert optimize.startswith("torch._dynamo.")
