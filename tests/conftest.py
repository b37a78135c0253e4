"""Fixtures of several test files.

What needs torch is imported by the fixture that uses it: the process that hands out the
tests reads this file, too, and has no use for torch.
"""

from functools import partial

import numpy as np
import pytest
from pictures import CORNERS

from skclipad._storage.store import open_store


@pytest.fixture(scope="session", autouse=True)
def byte_pairs_read_once():
    """Let the tokenizers of hundreds of small CLIPs share CLIP's own table.

    open_clip reads it anew for each of them, in 0.07 seconds.
    """
    from open_clip.tokenizer import SimpleTokenizer

    init, kept = SimpleTokenizer.__init__, {}

    def init_from_kept(self, *table, **settings):
        if table or "bpe_path" in settings:
            init(self, *table, **settings)
            return
        key = tuple(sorted(settings.items()))
        if key not in kept:
            init(self, **settings)
            kept[key] = vars(self).copy()
        vars(self).update(kept[key])

    with pytest.MonkeyPatch.context() as context:
        context.setattr(SimpleTokenizer, "__init__", init_from_kept)
        yield


@pytest.fixture(autouse=True)
def narrow_stand_in():
    """Give the stand-in its own width back, which scikit-learn's checks change."""
    from standin import StandInEmbedder

    StandInEmbedder.width = 4


@pytest.fixture(scope="session")
def picture():
    """An upright picture, 48 wide and 32 high, in four colours."""
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:16, :24], pixels[:16, 24:], pixels[16:, :24], pixels[16:, 24:] = (
        CORNERS.values()
    )
    return pixels


@pytest.fixture
def store(tmp_path):
    """An embedding store of its own."""
    with open_store(tmp_path / "memory") as store:
        yield store


@pytest.fixture(scope="session")
def graphs_in_one_thread():
    """Run ONNX graphs in one thread: others would spin while they wait for work."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = partial(onnxruntime.InferenceSession, sess_options=options)
    with pytest.MonkeyPatch.context() as context:
        context.setattr(onnxruntime, "InferenceSession", session)
        yield


@pytest.fixture
def int8_products(monkeypatch):
    """Compute products of 8 bits exactly where the processor has no units for them."""
    import torch

    from skclipad._clip import int8_model
    from skclipad._clip.precision import FAST_INT8, cpu_units

    if set(FAST_INT8) & set(cpu_units() or ()):
        return

    def product(x, weight, out=None):
        exact = (x.double() @ weight.double()).int()
        return exact if out is None else out.copy_(exact)

    monkeypatch.setattr(torch, "_int_mm", product)
    monkeypatch.setattr(int8_model, "SLOWEST", 1e6)
