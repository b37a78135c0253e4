"""Loading CLIPs: from every source, once, with the right settings or a clear error."""

import json
import logging
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from skclipad import CLIPImageEmbedder, WeightsNotFoundError, clear_backbone_cache
from skclipad._backbone import CACHE_SIZE, load_backbone, resolve_device

CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": 32,
        "layers": 2,
        "width": 32,
        "head_width": 16,
        "patch_size": 16,
    },
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 2,
    },
}
PREPROCESS = {
    "mean": [0.1, 0.2, 0.3],
    "std": [0.5, 0.6, 0.7],
    "interpolation": "bilinear",
    "resize_mode": "squash",
}


@pytest.fixture(autouse=True)
def empty_cache():
    clear_backbone_cache()
    yield
    clear_backbone_cache()


@pytest.fixture(scope="session")
def registry_name(tmp_path_factory):
    """Add a small model to open_clip's registry, as a plug-in would."""
    path = tmp_path_factory.mktemp("registry") / "skclipad-test.json"
    path.write_text(json.dumps(CONFIG))
    open_clip.add_model_config(path)
    return path.stem


@pytest.fixture(scope="session")
def state_dict(registry_name):
    torch.manual_seed(1)
    return open_clip.create_model(registry_name).state_dict()


@pytest.fixture
def folder(tmp_path, state_dict):
    save_file(state_dict, tmp_path / "open_clip_model.safetensors")
    described = {"model_cfg": CONFIG, "preprocess_cfg": PREPROCESS}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(described))
    return tmp_path


def load(model_name, pretrained=None, **kwargs):
    return load_backbone(model_name, pretrained, device="cpu", **kwargs)


def same_weights(backbone, state_dict):
    loaded = backbone.model.state_dict()
    return all(torch.equal(loaded[name], state_dict[name]) for name in state_dict)


def test_tiny_is_bundled_and_frozen():
    backbone = load("tiny")
    assert not backbone.model.training
    assert not any(p.requires_grad for p in backbone.model.parameters())
    tokens = backbone.tokenizer(["a photo of a damaged object"])
    width = backbone.model.encode_text(tokens).shape[1]
    assert width == backbone.embed_dim


def test_folder_brings_weights_and_preprocessing(folder, state_dict):
    backbone = load(f"local-dir:{folder}")
    assert same_weights(backbone, state_dict)
    assert backbone.mean == (0.1, 0.2, 0.3)
    assert backbone.std == (0.5, 0.6, 0.7)
    assert backbone.interpolation == "bilinear"
    assert backbone.image_size == (32, 32)
    assert backbone.embed_dim == 16
    assert backbone.context_length == 77


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
def test_weights_file_is_read(registry_name, state_dict, tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    save = save_file if suffix == ".safetensors" else torch.save
    save(state_dict, path)
    assert same_weights(load(registry_name, str(path)), state_dict)


def test_file_that_holds_code_is_not_run(registry_name, tmp_path):
    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    path = tmp_path / "weights.pt"
    torch.save({"x": Harmful()}, path)
    with pytest.raises(ValueError, match="weights_only=True"):
        load(registry_name, str(path))
    assert not (tmp_path / "harm").exists()


def test_weights_of_another_model_are_refused(registry_name, state_dict, tmp_path):
    wrong = dict(state_dict)
    wrong.pop("ln_final.weight")
    path = tmp_path / "wrong.safetensors"
    save_file(wrong, path)
    with pytest.raises(ValueError, match=r"(?s)wrong.safetensors.*ln_final.weight"):
        load(registry_name, str(path))


def test_random_weights_are_seeded_and_warned_about(registry_name):
    with pytest.warns(UserWarning, match="random weights"):
        first = load(registry_name)
    clear_backbone_cache()
    with pytest.warns(UserWarning, match="random weights"):
        second = load(registry_name)
    assert same_weights(first, second.model.state_dict())


def test_global_generators_and_root_logger_stay_as_they_were(registry_name):
    torch.manual_seed(7)
    np.random.seed(7)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    handlers = list(logging.getLogger().handlers)
    with pytest.warns(UserWarning, match="random weights"):
        load(registry_name)
    assert torch.equal(torch_state, torch.get_rng_state())
    np.testing.assert_array_equal(numpy_state, np.random.get_state()[1])
    assert logging.getLogger().handlers == handlers


def test_a_model_is_loaded_once_whatever_the_threads(folder, monkeypatch):
    calls = []
    create = open_clip.create_model
    monkeypatch.setattr(
        open_clip, "create_model", lambda *a, **k: calls.append(1) or create(*a, **k)
    )
    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(lambda _: load(f"local-dir:{folder}"), range(16)))
    assert len(calls) == 1
    assert all(backbone is loaded[0] for backbone in loaded)


def test_cache_is_bounded_and_keeps_the_last_used(folder, tmp_path_factory):
    names = []
    for _ in range(CACHE_SIZE + 1):
        copy = tmp_path_factory.mktemp("copies") / "model"
        shutil.copytree(folder, copy)
        names.append(f"local-dir:{copy}")
    loaded = [load(name) for name in names]
    assert load(names[-1]) is loaded[-1]
    assert load(names[0]) is not loaded[0]


def test_changed_file_is_read_again(folder, state_dict):
    before = load(f"local-dir:{folder}")
    changed = {name: tensor + 1 for name, tensor in state_dict.items()}
    path = folder / "open_clip_model.safetensors"
    save_file(changed, path)
    os.utime(path, ns=(1, 1))
    after = load(f"local-dir:{folder}")
    assert same_weights(after, changed)
    assert after.fingerprint != before.fingerprint


def test_fingerprint_is_the_same_in_another_folder_and_precision(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    names = {
        load(f"local-dir:{folder}").fingerprint,
        load(f"local-dir:{copy}").fingerprint,
        load(f"local-dir:{folder}", precision="bf16").fingerprint,
    }
    assert len(names) == 1


TUNED = ("visual.proj", "visual.ln_post.weight", "visual.ln_post.bias")


@pytest.mark.parametrize("tuned", [TUNED, ("text_projection",), ("ln_final.bias",)])
def test_weights_that_differ_anywhere_have_other_fingerprints(
    folder, state_dict, tmp_path_factory, tuned
):
    """Tuning a norm or a projection changes some kB, wherever in the file they lie."""
    other = tmp_path_factory.mktemp("tuned") / "model"
    shutil.copytree(folder, other)
    changed = dict(state_dict) | {name: state_dict[name] + 0.1 for name in tuned}
    save_file(changed, other / "open_clip_model.safetensors")
    names = [load(f"local-dir:{path}").fingerprint for path in (folder, other)]
    assert names[0] != names[1]


def test_every_byte_of_the_weights_counts(folder, tmp_path_factory):
    """Also of large files, in which samples would meet few of them."""
    path = folder / "open_clip_model.safetensors"
    content = bytearray(path.read_bytes())
    names = {load(f"local-dir:{folder}").fingerprint}
    places = np.random.default_rng(0).integers(100_000, len(content), 5).tolist()
    for place in places:
        content[place] ^= 1  # the lowest bits of a float: the model stays as good
        path.write_bytes(content)
        names.add(load(f"local-dir:{folder}").fingerprint)
    assert len(names) == 6


def test_a_change_in_place_is_seen_though_size_and_time_stay(folder, state_dict):
    path = folder / "open_clip_model.safetensors"
    os.utime(path, ns=(5, 5))
    before, size = load(f"local-dir:{folder}"), path.stat().st_size
    changed = {name: tensor + 1 for name, tensor in state_dict.items()}
    save_file(changed, folder / "new")
    path.write_bytes((folder / "new").read_bytes())
    os.utime(path, ns=(5, 5))
    assert path.stat().st_size == size
    after = load(f"local-dir:{folder}")
    assert same_weights(after, changed)
    assert after.fingerprint != before.fingerprint


def test_a_file_that_changes_while_it_is_read_is_refused(folder, monkeypatch):
    path = folder / "open_clip_model.safetensors"
    create = open_clip.create_model

    def then_change(*args, **kwargs):
        model = create(*args, **kwargs)
        path.write_bytes(path.read_bytes())
        return model

    with monkeypatch.context() as patch:
        patch.setattr(open_clip, "create_model", then_change)
        with pytest.raises(ValueError, match="changed while they were read"):
            load(f"local-dir:{folder}")
    load(f"local-dir:{folder}")


def test_weights_are_digested_once_in_a_process(folder, monkeypatch):
    load(f"local-dir:{folder}")
    clear_backbone_cache()
    monkeypatch.setattr("skclipad._backbone.hashlib.blake2b", None)
    load(f"local-dir:{folder}")


def test_another_tokenizer_is_another_clip(folder):
    names = [load(f"local-dir:{folder}").fingerprint]
    for words in ("{}", '{"a": 0}'):
        (folder / "tokenizer.json").write_text(words)
        names.append(load(f"local-dir:{folder}").fingerprint)
    (folder / "README.md").write_text("A card changes nothing.")
    assert load(f"local-dir:{folder}").fingerprint == names[-1]
    assert len(set(names)) == 3


def test_another_activation_is_another_clip(
    registry_name, state_dict, tmp_path, monkeypatch
):
    """Some tags bring QuickGELU, which the weights file alone does not."""
    path = tmp_path / "open_clip_model.safetensors"
    save_file(state_dict, path)
    tags = {
        name: {"hf_hub": "someone/clip/", **PREPROCESS, "quick_gelu": quick}
        for name, quick in (("plain", False), ("quick", True))
    }
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, registry_name, tags)
    monkeypatch.setattr(
        "huggingface_hub.try_to_load_from_cache", lambda repo, name: str(path)
    )
    plain, quick = (load(registry_name, tag).fingerprint for tag in tags)
    assert plain != quick


@pytest.mark.filterwarnings("ignore:.*random weights:UserWarning")
def test_seeded_weights_have_the_fingerprint_of_the_code_that_draws_them(
    registry_name, monkeypatch
):
    names = [load(registry_name).fingerprint]
    clear_backbone_cache()
    names.append(load(registry_name).fingerprint)
    clear_backbone_cache()
    monkeypatch.setattr(open_clip, "__version__", "another")
    names.append(load(registry_name).fingerprint)
    assert names[0] == names[1] != names[2]


def test_low_precision_computes_nearly_the_same(folder):
    texts = ["a photo of a object", "a photo of a damaged object"]
    exact, low = (
        CLIPImageEmbedder(f"local-dir:{folder}", device="cpu", precision=precision)
        for precision in ("fp32", "bf16")
    )
    assert low._load().dtype == torch.bfloat16
    difference = exact.encode_text(texts) - low.encode_text(texts)
    assert np.abs(difference).max() < 0.1 * np.abs(exact.encode_text(texts)).max()
    assert low.encode_text(texts).dtype == np.float32


@pytest.mark.parametrize(
    ("model_name", "pretrained", "error", "message"),
    [
        ("no-such-model", None, ValueError, "'no-such-model'.*list_models.*'tiny'"),
        ("ViT-B-32", "no-tag", WeightsNotFoundError, "'no-tag'.*laion400m_e32"),
        ("local-dir:no/such", None, WeightsNotFoundError, "open_clip_config.json"),
    ],
)
def test_unknown_names_are_refused(model_name, pretrained, error, message):
    with pytest.raises(error, match=message):
        load(model_name, pretrained)


def test_folder_without_weights_is_refused(folder):
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(WeightsNotFoundError, match="no weights file.*safetensors"):
        load(f"local-dir:{folder}")


@pytest.mark.parametrize(
    "model_name", ["ViT-B-16-plus-240", "hf-hub:someone/some-clip"]
)
def test_without_network_the_error_names_three_ways(model_name, monkeypatch):
    def no_network(*args, **kwargs):
        raise OSError("no network")

    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", no_network)
    with pytest.raises(WeightsNotFoundError) as caught:
        load(model_name, "laion400m_e32")
    message = str(caught.value)
    assert model_name in message and "no network" in message
    assert all(way in message for way in ("HF_HOME", "pretrained=", "local-dir:"))
    assert "tiny" in message


def test_cached_tag_gets_its_own_preprocessing(
    registry_name, state_dict, tmp_path, monkeypatch
):
    path = tmp_path / "open_clip_model.safetensors"
    save_file(state_dict, path)
    tag = {"hf_hub": "someone/clip/", **PREPROCESS, "quick_gelu": True}
    monkeypatch.setitem(
        open_clip.pretrained._PRETRAINED, registry_name, {"some_tag": tag}
    )
    import huggingface_hub

    monkeypatch.setattr(
        huggingface_hub, "try_to_load_from_cache", lambda repo, name: str(path)
    )
    backbone = load(registry_name, "some_tag")
    assert backbone.mean == (0.1, 0.2, 0.3)
    assert backbone.interpolation == "bilinear"
    activation = backbone.model.visual.transformer.resblocks[0].mlp.gelu
    assert type(activation).__name__ == "QuickGELU"


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("no-such-device", "expected 'auto', 'cpu'"),
        ("cuda:97", r"0|\d+ device\(s\) of type 'cuda'.*device='auto'"),
        ("xpu:97", "device='auto'"),
    ],
)
def test_device_that_is_not_there_is_refused(device, message):
    with pytest.raises(ValueError, match=message):
        resolve_device(device)


def test_auto_device_is_one_of_this_machine():
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")
    assert resolve_device("cpu") == torch.device("cpu")


def test_safetensors_is_preferred_to_other_files(folder, state_dict):
    torch.save({}, folder / "a.bin")
    backbone = load(f"local-dir:{folder}")
    assert same_weights(backbone, load_file(folder / "open_clip_model.safetensors"))


def test_caches_tell_number_formats_apart(folder):
    exact, low = (load(f"local-dir:{folder}", precision=p) for p in ("fp32", "bf16"))
    assert exact.fingerprint == low.fingerprint
    assert exact.cache_name != low.cache_name
