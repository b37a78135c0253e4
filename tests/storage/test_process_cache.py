"""What the process keeps: the last used, up to a limit, and all of it can be freed."""

import gc
import weakref

import pytest

import skclipad
from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad._clip import transformer as _transformer
from skclipad._clip.backbone import load_backbone
from skclipad._method import training as _training
from skclipad._storage.process_cache import ProcessCache


def test_the_last_used_are_kept_up_to_the_limit():
    cache = ProcessCache(10, size_of=len)
    for text in ("aaaa", "bbbb"):
        cache.put(text[0], text)
    assert cache.get("a") == "aaaa"
    cache.put("c", "cccc")
    assert [cache.get(key) for key in "abc"] == ["aaaa", None, "cccc"]
    assert (len(cache), cache.size) == (2, 8)


def test_what_exceeds_the_limit_alone_drives_nothing_out():
    cache = ProcessCache(10, size_of=len)
    cache.put("a", "aaaa")
    cache.put("b", "b" * 11)
    assert [cache.get(key) for key in "ab"] == ["aaaa", None]


def test_without_a_size_results_are_counted():
    cache = ProcessCache(2)
    for key in range(3):
        cache.put(key, str(key))
    assert [cache.get(key) for key in range(3)] == [None, "1", "2"]


@pytest.fixture
def fitted():
    embedder = CLIPImageEmbedder("tiny", device="cpu")
    return RandomWordCLIPDetector(N_p=100, random_state=0, embedder=embedder).fit()


def test_clear_caches_frees_model_prompts_and_networks(fitted, monkeypatch):
    model = weakref.ref(load_backbone("tiny", None, device="cpu").model)
    network = weakref.ref(_training._fits._results.popitem()[1])
    scores = fitted.predict_proba([[0.1] * 96])
    skclipad.clear_caches()
    gc.collect()
    assert model() is None and network() is None

    def counted(*args, **kwargs):
        runs.append(1)
        return run(*args, **kwargs)

    runs, run = [], _transformer.run_packed_blocks
    monkeypatch.setattr("skclipad._clip.text.run_packed_blocks", counted)
    again = fitted.fit()
    assert runs  # no prompt was known any more
    assert (again.predict_proba([[0.1] * 96]) == scores).all()


def test_clear_backbone_cache_leaves_prompts_and_networks(fitted, monkeypatch):
    model = weakref.ref(load_backbone("tiny", None, device="cpu").model)
    skclipad.clear_backbone_cache()
    gc.collect()
    assert model() is None
    monkeypatch.setattr("skclipad._clip.text.run_packed_blocks", None)
    fitted.fit()
