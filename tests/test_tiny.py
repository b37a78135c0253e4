"""The bundled model: small, whole, aligned; and the captions that it learnt from."""

import importlib
import json
import random
import re
import string
import time

import numpy as np
import open_clip
import pytest
import torch
from safetensors import safe_open
from scripts import TOOLS, importable

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad._method.prompts import training_block
from skclipad.datasets import DEFECTS, OBJECTS, SURFACES, make_defect_images
from skclipad.metrics import auroc
from skclipad.tiny import FOLDER

CONFIG = json.loads((FOLDER / "open_clip_config.json").read_text())
# w0 a w1 photo w2 of w3 STATE w4: the detector's training prompts, in any state.
WORD = "[a-z0-9]{5,10}"
DETECTOR_TEMPLATE = re.compile(
    f"{WORD} a {WORD} photo {WORD} of {WORD} an?( .+)? {WORD}"
)


@pytest.fixture(scope="module")
def embedder():
    return CLIPImageEmbedder(model_name="tiny", device="cpu")


@pytest.fixture(scope="module")
def tokenizer():
    return open_clip.SimpleTokenizer(bpe_path=str(FOLDER / "bpe_vocab.txt.gz"))


@pytest.fixture(scope="module")
def captions():
    with importable(TOOLS):
        return importlib.import_module("captions")


def known_pictures(n_samples, seed):
    """Paint new pictures of what the training showed."""
    held = CONFIG["training"]
    return make_defect_images(
        n_samples,
        categories=[
            name
            for name in (*SURFACES, *OBJECTS)
            if name not in held["held_out_categories"]
        ],
        defects=[name for name in DEFECTS if name not in held["held_out_defects"]],
        random_state=seed,
    )


def test_folder_is_small():
    assert sum(p.stat().st_size for p in FOLDER.iterdir() if p.is_file()) <= 8e6


def test_weights_are_half_precision_on_disk():
    with safe_open(FOLDER / "open_clip_model.safetensors", "pt") as file:
        tensors = [file.get_tensor(name) for name in file.keys()]
    assert {tensor.dtype for tensor in tensors} == {torch.float16}
    assert all(tensor.isfinite().all() for tensor in tensors)


def test_open_clip_loads_the_folder_by_itself(embedder):
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{FOLDER}")
    assert model.visual.image_size == (64, 64)
    image = make_defect_images(1, image_size=64, random_state=0).images
    pixels = torch.from_numpy(image).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        expected = model.encode_image(preprocess.transforms[-1](pixels)).numpy()
    np.testing.assert_allclose(embedder.transform(image), expected, atol=1e-4)


def test_vocabulary_and_model_have_one_size(tokenizer):
    assert tokenizer.vocab_size == CONFIG["model_cfg"]["text_cfg"]["vocab_size"]
    assert tokenizer.eot_token_id == tokenizer.vocab_size - 1  # open_clip pools there
    assert tokenizer.decode(tokenizer.encode("a damaged object")) == "a damaged object "


def test_prompts_fit_the_context(tokenizer):
    words = {"normal_word": "a", "anomaly_word": "a damaged", "l_min": 5, "l_max": 10}
    prompts = [p for i in range(10) for p in training_block(i, **words, seed=0)]
    longest = max(len(tokenizer.encode(prompt)) + 2 for prompt in prompts)
    assert longest <= CONFIG["model_cfg"]["text_cfg"]["context_length"]


def test_loads_fast():
    # Well under a second on a quiet machine; the margin is for busy ones.
    start = time.perf_counter()
    open_clip.create_model_from_pretrained(f"local-dir:{FOLDER}")
    assert time.perf_counter() - start < 10


def test_prompts_tell_whole_from_damaged(embedder):
    bunch = known_pictures(300, seed=77)
    detector = RandomWordCLIPDetector(N_p=1000, embedder=embedder, random_state=0).fit()
    scores = detector.score_components(bunch.images)
    assert auroc(bunch.target, scores.s_pr) > 0.88
    assert auroc(bunch.target, scores.s_fnn) > 0.8


def test_known_object_is_recognised(embedder):
    names = ["wood", "coin", "gear", "egg"]
    bunch = make_defect_images(80, categories=names, anomaly_fraction=0, random_state=3)
    texts = embedder.encode_text([f"a photo of a {name}" for name in names])
    guesses = np.array(names)[(embedder.transform(bunch.images) @ texts.T).argmax(1)]
    assert np.mean(guesses == bunch.category) > 0.8


def test_captions_never_are_the_detectors_prompts(captions):
    rng = random.Random(0)
    letters = string.ascii_lowercase + string.digits
    for _ in range(50_000):
        strays = ["".join(rng.choices(letters, k=8)) for _ in range(5)]
        frame = captions.draw_frame(rng, "wood", None, strays)
        state = captions.draw_state(rng, rng.random() < 0.5, "hole")
        text = " ".join(captions.write(frame, state))
        assert not DETECTOR_TEMPLATE.fullmatch(text), text


def test_twin_captions_differ_in_state_alone(captions):
    rng = random.Random(0)
    frame = captions.draw_frame(rng, "wood", None, ["x1"])
    whole = captions.write(frame, captions.State(False))
    damaged = captions.write(frame, captions.State(True, adjective="damaged"))
    assert [word for word in damaged if word != "damaged"] == whole


def test_captions_know_every_kind_of_defect(captions):
    assert set(captions.DEFECT_WORDS) == set(DEFECTS)
