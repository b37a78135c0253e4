"""ONNX graphs: they say what the detector says, for any number of pictures."""

import json
import os
import runpy
import shutil
import sys
from functools import partial
from inspect import signature

import detectors
import numpy as np
import pytest
import sklearn
import torch
from PIL import Image
from small_clip import small_clip

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad._method.maps import pixel_map
from skclipad.datasets import make_defect_images
from skclipad.export import _int8, _onnx, export_onnx

onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.usefixtures("graphs_in_one_thread")

ROOT = os.path.dirname(os.path.dirname(__file__))
SCRIPT = "examples/score_with_onnxruntime.py"


tiny = partial(detectors.tiny, N_p=200)


@pytest.fixture(scope="module")
def photos():
    return make_defect_images(12, random_state=0)


@pytest.fixture(scope="module")
def few(photos):
    """A few images to compare graph and detector on: patterns of noise are 16."""
    return photos.images[:3]


@pytest.fixture(scope="module")
def exported(few, tmp_path_factory):
    detector = tiny(threshold=0.4).fit()
    path = tmp_path_factory.mktemp("onnx") / "detector.onnx"
    return detector, export_onnx(detector, path, images=few)


def run(path, images):
    session = onnxruntime.InferenceSession(str(path))
    names = [output.name for output in session.get_outputs()]
    pixels = np.stack(images).transpose(0, 3, 1, 2).astype(np.float32) / 255
    return dict(zip(names, session.run(names, {"pixels": pixels}), strict=True))


def check(path, detector, images, *, maps=True):
    found = run(path, images)
    expected = dict(detector.score_components(images))
    expected["score"] = detector.predict_proba(images)[:, 1]
    assert list(found) == [*expected, *(["map"] if maps else [])]
    if maps:
        height, width = images[0].shape[:2]
        for patches, made in zip(
            found["map"], detector.anomaly_map(images), strict=True
        ):
            drawn = pixel_map(patches, (width, height))
            np.testing.assert_allclose(drawn, made, atol=1e-4)
    for name, scores in expected.items():
        assert found[name].shape == (len(images),)
        np.testing.assert_allclose(found[name], scores, atol=1e-4)


def test_a_detector_of_8_bits_is_exported_in_single_precision(
    few, tmp_path, int8_products
):
    detector = tiny(embedder=CLIPImageEmbedder("tiny", precision="int8")).fit()
    path = export_onnx(detector, tmp_path / "d.onnx", images=few).path
    assert detector.embedder.precision == "int8"
    check(path, detector.set_params(embedder__precision="fp32"), list(few))


@pytest.mark.parametrize("n", [1, 2, 7])
def test_a_graph_says_what_the_detector_says_for_any_number(n, exported, photos):
    detector, result = exported
    check(result.path, detector, list(photos.images[:n]))


def test_the_agreement_reported_is_that_of_the_file(exported):
    _, result = exported
    names = {"s_pr", "s_fnn", "score", "map"}
    assert set(result.agreement["max_difference"]) == names
    assert max(result.agreement["max_difference"].values()) <= 1e-4
    assert result.agreement["same_label"] == 1.0
    assert result.agreement["rank_correlation"] > 0.999


def test_nothing_is_left_but_the_graph_and_how_to_feed_it(exported):
    _, result = exported
    assert sorted(os.listdir(result.path.parent)) == [
        "detector.onnx",
        "detector.preprocess.json",
    ]
    how = json.loads(result.preprocess_path.read_text(encoding="utf-8"))
    assert (how["size"], how["resize_mode"]) == ([64, 64], "squash")
    assert how["interpolation"] == "bicubic" and how["threshold"] == 0.4
    assert how["scores"] == ["s_pr", "s_fnn", "score"]
    assert how["outputs"] == [*how["scores"], "map"]
    assert how["map"]["output"] == "map" and how["map"]["box"] == "the whole image"
    assert how["detector"]["N_p"] == 200


@pytest.mark.parametrize(
    "settings",
    [
        {"scores": ("fnn",), "normalize": False},
        {"scores": ("prompt",), "prompt_set": "winclip", "temperature": 0.05},
    ],
)
def test_settings_of_the_detector_are_in_the_graph(settings, photos, few, tmp_path):
    detector = tiny(**settings).fit()
    result = export_onnx(detector, tmp_path / "d.onnx", images=few)
    check(result.path, detector, list(photos.images[9:]))


@pytest.mark.parametrize(
    "like, vision",
    [
        ("ViT-B-32", {"pool_type": "avg"}),
        ("RN50", {"layers": [1, 1, 1, 1], "width": 8, "patch_size": None}),
    ],
)
def test_other_image_towers_become_graphs_too(like, vision, tmp_path):
    backbone = small_clip(tmp_path, like, vision=vision)
    embedder = CLIPImageEmbedder(backbone.model_name, None, device="cpu")
    detector = RandomWordCLIPDetector(N_p=100, random_state=0, embedder=embedder).fit()
    height, width = backbone.image_size
    images = np.random.default_rng(0).integers(0, 256, (3, height, width, 3), np.uint8)
    result = export_onnx(detector, tmp_path / "d.onnx")
    check(result.path, detector, list(images), maps=False)
    assert json.loads(result.preprocess_path.read_text())["map"] is None
    with pytest.raises(ValueError, match="Got maps=True, but .* is no plain ViT"):
        export_onnx(detector, tmp_path / "d.onnx", maps=True)


def test_maps_can_be_left_out(exported, photos, few, tmp_path):
    detector, result = exported
    small = export_onnx(detector, tmp_path / "d.onnx", maps=False, images=few)
    check(small.path, detector, list(photos.images[:2]), maps=False)
    assert "map" not in small.agreement["max_difference"]
    assert small.path.stat().st_size < result.path.stat().st_size


def test_a_graph_of_scores_alone_costs_no_map(exported, photos):
    _, result = exported
    session = onnxruntime.InferenceSession(str(result.path))
    pixels = photos.images[:2].transpose(0, 3, 1, 2).astype(np.float32) / 255
    options = onnxruntime.RunOptions()
    options.only_execute_path_to_fetches = True
    (scores,) = session.run(["score"], {"pixels": pixels}, options)
    (expected, _) = session.run(["score", "map"], {"pixels": pixels})
    np.testing.assert_allclose(scores, expected, atol=1e-6)


@pytest.fixture(scope="module")
def smallest(tmp_path_factory):
    """A few-shot detector of the smallest ViT: torch.export takes long enough."""
    folder = tmp_path_factory.mktemp("smallest")
    backbone = small_clip(folder, "ViT-B-32", vision={"layers": 1})
    embedder = CLIPImageEmbedder(backbone.model_name, None, device="cpu")
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    detector = RandomWordCLIPDetector(
        N_p=100, n_shots=2, random_state=0, embedder=embedder
    ).fit(images)
    return detector, images


@pytest.mark.skipif(
    "dynamic_shapes" not in signature(torch.onnx.export).parameters,
    reason="torch before 2.6 exports by tracing alone",
)
def test_the_exporter_through_torch_export_gives_the_same_graph(
    smallest, tmp_path, uncounted, monkeypatch
):
    pytest.importorskip("onnxscript")
    monkeypatch.setattr(torch.onnx, "export", uncounted(torch.onnx.export))
    detector, images = smallest
    result = export_onnx(detector, tmp_path / "d.onnx", dynamo=True)
    assert sorted(os.listdir(tmp_path)) == ["d.onnx", "d.preprocess.json"]
    assert max(result.agreement["max_difference"].values()) <= 1e-4
    for n in (1, 5):
        check(result.path, detector, list(images[:n]))


def test_the_exporter_that_torch_has_not_is_refused(smallest, tmp_path, monkeypatch):
    def tracing_alone(model, args, f, *, dynamic_axes=None):
        raise AssertionError("not called")

    monkeypatch.setattr(torch.onnx, "export", tracing_alone)
    with pytest.raises(ValueError, match="dynamo=True.*by tracing alone"):
        export_onnx(smallest[0], tmp_path / "d.onnx", dynamo=True)


def test_without_onnxscript_the_message_says_what_to_install(smallest, monkeypatch):
    def newer(model, args, f, *, dynamic_shapes=None):
        raise AssertionError("not called")

    monkeypatch.setattr(torch.onnx, "export", newer)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r'pip install "skclipad\[onnx\]"'):
        export_onnx(smallest[0], "d.onnx")


@pytest.fixture(scope="module")
def folder(photos, tmp_path_factory):
    """A detector whose references are a folder of nine images, exported with these."""
    references = list(photos.images[:9])
    detector = tiny(n_shots="all", reference_method="mutual").fit(references)
    path = tmp_path_factory.mktemp("folder") / "d.onnx"
    return detector, export_onnx(detector, path, images=references)


def test_a_folder_as_reference_is_in_the_graph(folder, photos):
    detector, result = folder
    assert detector.reference_scales_ is not None  # scores are standardized
    for some in (photos.images[9:10], photos.images[9:]):
        check(result.path, detector, list(some))


def test_a_graph_compares_an_image_with_itself_if_it_is_a_reference(folder, photos):
    detector, result = folder
    assert result.agreement["n_pictures"] == 9
    assert max(result.agreement["max_difference"].values()) <= 1e-4
    references = list(photos.images[:9])
    expected = detector.score_components(references).s_img
    assert (run(result.path, references)["s_img"] < expected - 1e-3).all()


@pytest.mark.parametrize(
    "settings, later",
    [
        ({"reference_method": "winclip", "combine": "standardized"}, {}),
        ({"combine": "standardized"}, {"scores": ("fnn", "prompt")}),
        ({"combine": "standardized"}, {"scores": ("reference",)}),
        ({}, {"reference_share": 1.0, "reference_top": 0.2}),
    ],
)
def test_each_way_to_combine_scores_is_in_the_graph(
    settings, later, photos, few, tmp_path
):
    settings = {"n_shots": "all", "reference_method": "mutual", **settings}
    detector = tiny(**settings).fit(photos.images[:4]).set_params(**later)
    result = export_onnx(detector, tmp_path / "d.onnx", images=few)
    check(result.path, detector, list(photos.images[9:]))


LITE = {
    "timm_model_name": "tf_efficientnet_lite0",
    "timm_model_pretrained": False,
    "timm_pool": "avg",
    "timm_proj": "linear",
}


def fitted_on_noise(folder, like, vision, n_references):
    """Fit a detector with a small CLIP on noise; return it, and noise of its size."""
    backbone = small_clip(folder, like, vision=vision)
    images = np.random.default_rng(0).integers(
        0, 256, (n_references + 3, *backbone.image_size, 3), np.uint8
    )
    detector = RandomWordCLIPDetector(
        N_p=100,
        n_shots="all",
        reference_method="mutual",
        # Of random weights scores vary too little to be put on a scale.
        combine="sum",
        temperature=0.1,
        random_state=0,
        embedder=CLIPImageEmbedder(backbone.model_name, None, device="cpu"),
    ).fit(images[:-3])
    return detector, list(images[-3:])


@pytest.mark.parametrize(
    "like, vision",
    [
        ("ViT-B-32", {"image_size": 64, **LITE}),
        (
            "RN50",
            {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
        ),
        ("ViT-B-32", {"image_size": 64, "pool_type": "avg"}),
    ],
)
def test_a_folder_is_in_the_graphs_of_other_image_towers(like, vision, tmp_path):
    detector, images = fitted_on_noise(tmp_path, like, vision, 34)
    result = export_onnx(detector, tmp_path / "d.onnx")
    check(result.path, detector, images, maps=False)
    expected = detector.score_components(images).s_img  # small, of random weights
    np.testing.assert_allclose(run(result.path, images)["s_img"], expected, rtol=0.01)
    with pytest.raises(ValueError, match="Got maps=True, but .* is no plain ViT"):
        export_onnx(detector, tmp_path / "d.onnx", maps=True)


def test_stages_that_a_graph_cannot_bring_to_one_grid_are_refused(tmp_path):
    # Of 72 pixels a side, the stages have 9 and 5 places a side.
    vision = {"image_size": 72, **LITE}
    detector, _ = fitted_on_noise(tmp_path, "ViT-B-32", vision, 2)
    with pytest.raises(ValueError, match="could not be exported by torch.onnx"):
        export_onnx(detector, tmp_path / "d.onnx")
    assert not (tmp_path / "d.onnx").exists()


def test_references_are_in_the_graph(tmp_path):
    embedder = CLIPImageEmbedder(
        small_clip(tmp_path, "ViT-B-32-quickgelu").model_name, None, device="cpu"
    )
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    detector = RandomWordCLIPDetector(
        N_p=100, n_shots=2, random_state=0, embedder=embedder
    ).fit(images)
    result = export_onnx(detector, tmp_path / "d.onnx", images=images)
    assert result.agreement["n_pictures"] == 6
    check(result.path, detector, list(images))
    # A reference is its own nearest neighbour, at every patch and window.
    s_img = run(result.path, list(images))["s_img"]
    assert s_img[detector.reference_rows_].max() < 1e-3 < s_img.max()


def test_references_of_a_tower_without_tokens_are_refused(tmp_path):
    vision = {"layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
    backbone = small_clip(tmp_path, "RN50", vision=vision)
    embedder = CLIPImageEmbedder(backbone.model_name, None, device="cpu")
    images = np.random.default_rng(0).random((2, 32, 32, 3))
    detector = RandomWordCLIPDetector(N_p=100, n_shots=1, embedder=embedder).fit(images)
    with pytest.raises(ValueError, match="no plain ViT.*reference_method='mutual'"):
        export_onnx(detector, tmp_path / "d.onnx")


def test_eight_bits_are_smaller_and_say_how_far_off_they_are(
    exported, photos, tmp_path, caplog
):
    detector, result = exported
    small = export_onnx(
        detector, tmp_path / "small.onnx", int8=True, images=photos.images
    )
    assert small.path.stat().st_size < 0.5 * result.path.stat().st_size
    # The same batches: activations are scaled batch by batch.
    batches = np.split(photos.images, [1, 9])
    found = [run(small.path, list(batch))["score"] for batch in batches]
    expected = detector.predict_proba(photos.images)[:, 1]
    off = np.abs(np.concatenate(found) - expected).max()
    assert small.agreement["max_difference"]["score"] == pytest.approx(off, abs=1e-6)
    assert small.agreement["n_pictures"] == len(photos.images)
    assert 0 < off and small.agreement["rank_correlation"] > 0.8
    assert json.loads(small.preprocess_path.read_text())["int8"] is True
    assert [r for r in caplog.records if r.levelname == "WARNING"] == []


def export_in_both(detector, folder, images):
    """Export in 32 and in 8 bits; return both results and the ratio of sizes."""
    exact, small = (
        export_onnx(
            detector, folder / f"{int8}.onnx", int8=int8, images=images, maps=False
        )
        for int8 in (False, True)
    )
    return exact, small, small.path.stat().st_size / exact.path.stat().st_size


@pytest.mark.parametrize(
    "n_shots, method", [(0, "winclip"), (4, "winclip"), (4, "mutual")]
)
def test_eight_bits_are_smaller_with_and_without_references(
    n_shots, method, photos, tmp_path
):
    detector = tiny(n_shots=n_shots, reference_method=method).fit(photos.images)
    exact, small, ratio = export_in_both(detector, tmp_path, photos.images[:8])
    assert ratio < 0.4
    assert set(small.agreement["max_difference"]) == {
        *exact.agreement["max_difference"]
    }
    assert small.agreement["rank_correlation"] > 0.8


def test_eight_bits_are_smaller_for_convolutional_towers(tmp_path):
    vision = {"layers": [1, 1, 1, 1], "width": 32, "patch_size": None}
    backbone = small_clip(tmp_path, "RN50", vision=vision)
    embedder = CLIPImageEmbedder(backbone.model_name, None, device="cpu")
    detector = RandomWordCLIPDetector(N_p=100, random_state=0, embedder=embedder).fit()
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    _, small, ratio = export_in_both(detector, tmp_path, images)
    assert ratio < 0.5
    assert small.agreement["max_difference"]["score"] < 0.1


def test_eight_bits_that_save_nothing_are_refused(exported, few, tmp_path, monkeypatch):
    detector, _ = exported
    monkeypatch.setattr(
        "onnxruntime.quantization.quantize_dynamic",
        lambda path, target, **settings: shutil.copy(path, target),
    )
    monkeypatch.setattr(_int8, "_quantize_convolutions", lambda onnx, graph: None)
    with pytest.raises(ValueError, match="int8=True.*int8=False"):
        export_onnx(detector, tmp_path / "d.onnx", int8=True, maps=False, images=few)
    assert os.listdir(tmp_path) == []


def test_crops_are_refused_with_a_way_out(exported, tmp_path):
    detector = tiny().fit().set_params(embedder__crops="multi")
    with pytest.raises(ValueError, match="embedder__crops='whole'"):
        export_onnx(detector, tmp_path / "d.onnx")
    assert os.listdir(tmp_path) == []


def test_without_onnx_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r'pip install "skclipad\[onnx\]"'):
        export_onnx(tiny(), tmp_path / "d.onnx")


def test_a_graph_that_disagrees_is_not_kept(exported, few, tmp_path, monkeypatch):
    _, result = exported
    monkeypatch.setattr(
        _onnx,
        "write_graph",
        lambda graph, pixels, path, dynamo: shutil.copy(result.path, path),
    )
    detector = tiny(anomaly_word="a burnt").fit()
    with pytest.raises(RuntimeError, match="was not kept"):
        export_onnx(detector, tmp_path / "d.onnx", images=few)
    assert os.listdir(tmp_path) == []


@pytest.fixture
def run_example(monkeypatch, capsys):
    """Run the example on files; give its exit code and what it printed."""

    def run_it(graph, paths):
        monkeypatch.setattr(sys, "argv", [SCRIPT, str(graph), *paths])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(os.path.join(ROOT, SCRIPT))
        return stop.value.code, capsys.readouterr()

    return run_it


def combined_scores(printed):
    """Return the column `score` of what the example printed."""
    _, *lines = printed.out.splitlines()
    return [float(line.split(",")[-2]) for line in lines]


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory):
    return write_images_of_every_kind(tmp_path_factory.mktemp("kinds"))


@pytest.fixture(scope="module", params=["squash", "shortest", "longest"])
def of_mode(request, exported, few, tmp_path_factory):
    """A detector that resizes in one way, and its graph."""
    if request.param == exported[0].embedder.resize_mode:
        return exported
    embedder = CLIPImageEmbedder("tiny", resize_mode=request.param)
    detector = tiny(embedder=embedder).fit()
    path = tmp_path_factory.mktemp("mode") / "d.onnx"
    return detector, export_onnx(detector, path, images=few)


def write_images_of_every_kind(folder):
    """Write images of odd sizes and of every kind that the example has to know."""
    rng = np.random.default_rng(0)

    def painted(width, height, n_channels=3):
        coarse = rng.integers(0, 256, (7, 5, n_channels), np.uint8)
        return Image.fromarray(coarse).resize((width, height))

    turned = Image.Exif()
    turned[0x0112] = 6
    deep = rng.integers(0, 65536, (40, 51)).astype(np.uint16)
    see_through = painted(90, 70, 4)
    sizes = [(301, 157), (97, 640), (64, 64), (1000, 333), (65, 64), (50, 33), (1, 90)]
    images = {f"{w}x{h}.png": (painted(w, h), {}) for w, h in sizes}
    images |= {
        "grey.png": (painted(81, 60).convert("L"), {}),
        "bilevel.png": (painted(81, 60).convert("1"), {}),
        "deep.png": (Image.fromarray(deep), {}),
        "float.tif": (Image.fromarray((deep / 65535).astype(np.float32)), {}),
        "see-through.png": (see_through, {}),
        "grey-see-through.png": (see_through.convert("LA"), {}),
        "palette.png": (painted(81, 60).convert("P"), {}),
        "hole.png": (painted(60, 81).convert("P"), {"transparency": 3}),
        "cmyk.jpg": (painted(120, 77).convert("CMYK"), {}),
        "turned.jpg": (painted(120, 77), {"exif": turned}),
    }
    for name, (image, how) in images.items():
        image.save(folder / name, **how)
    return [str(folder / name) for name in images]


def test_the_example_prepares_every_kind_of_image(of_mode, every_kind, run_example):
    detector, result = of_mode
    code, printed = run_example(result.path, every_kind)
    assert (code, printed.err) == (0, "")
    expected = detector.predict_proba(every_kind)[:, 1]
    np.testing.assert_allclose(combined_scores(printed), expected, atol=2e-5)


def test_the_example_draws_the_detectors_maps(
    of_mode, every_kind, tmp_path, run_example
):
    detector, result = of_mode
    code, printed = run_example(result.path, ["--maps", str(tmp_path), *every_kind])
    assert (code, printed.err) == (0, "")
    for path, made in zip(every_kind, detector.anomaly_map(every_kind), strict=True):
        with Image.open(tmp_path / f"{os.path.basename(path)}.png") as image:
            drawn = np.asarray(image) / 65535
        np.testing.assert_allclose(drawn, made, atol=1e-4, err_msg=path)


@pytest.mark.parametrize("resize_mode", ["squash", "shortest", "longest"])
def test_the_example_prepares_for_oblong_towers(
    resize_mode, every_kind, tmp_path, run_example
):
    backbone = small_clip(tmp_path, "ViT-B-32", vision={"image_size": [24, 40]})
    embedder = CLIPImageEmbedder(
        backbone.model_name, None, device="cpu", resize_mode=resize_mode
    )
    detector = RandomWordCLIPDetector(N_p=100, random_state=0, embedder=embedder).fit()
    result = export_onnx(detector, tmp_path / "d.onnx", maps=False)
    code, printed = run_example(result.path, every_kind)
    assert (code, printed.err) == (0, "")
    expected = detector.predict_proba(every_kind)[:, 1]
    np.testing.assert_allclose(combined_scores(printed), expected, atol=2e-5)


def test_the_example_refuses_values_that_the_detector_refuses(
    exported, tmp_path, run_example
):
    _, result = exported
    path = tmp_path / "wide.tif"
    Image.fromarray(np.full((8, 8), 3.0, np.float32)).save(path)
    code, printed = run_example(result.path, [str(path)])
    assert code == 3 and "0..1" in printed.err


def test_the_example_gives_the_detectors_scores(
    exported, photos, tmp_path, run_example
):
    detector, result = exported
    rng = np.random.default_rng(0)
    deep = rng.integers(0, 65536, (40, 50)).astype(np.uint16)
    clear = rng.integers(0, 256, (90, 70, 4)).astype(np.uint8)
    pictures = {
        "photo.png": Image.fromarray(photos.images[0]).resize((200, 100)),
        "deep.png": Image.fromarray(deep),
        "clear.png": Image.fromarray(clear),
    }
    paths = [str(tmp_path / name) for name in pictures]
    for path, picture in zip(paths, pictures.values(), strict=True):
        picture.save(path)
    turned = Image.Exif()
    turned[0x0112] = 6
    paths.append(str(tmp_path / "turned.jpg"))
    pictures["photo.png"].save(paths[-1], exif=turned)

    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    for more, code in (([str(broken)], 3), ([], 0)):
        found, said = run_example(result.path, [*more, *paths])
        assert found == code
        assert (str(broken) in said.err) == bool(more)
    header, *lines = said.out.splitlines()
    assert header == "path,s_pr,s_fnn,score,label"
    scores = detector.predict_proba(paths)[:, 1]
    for line, path, score in zip(lines, paths, scores, strict=True):
        name, *numbers, label = line.split(",")
        assert name == path
        assert float(numbers[-1]) == pytest.approx(score, abs=1e-4)
        assert int(label) == int(score > 0.4)


def test_an_export_does_not_depend_on_the_output_that_scikit_learn_is_set_to(
    exported, few, tmp_path
):
    detector, _ = exported
    with sklearn.config_context(transform_output="pandas"):
        result = export_onnx(detector, tmp_path / "d.onnx", images=few)
    assert result.agreement["same_label"] == 1.0


def test_a_region_is_refused(tmp_path):
    embedder = CLIPImageEmbedder("tiny", region="0,0,32,32")
    with pytest.raises(ValueError, match="region='0,0,32,32', but a graph reads all"):
        export_onnx(tiny(embedder=embedder).fit(), tmp_path / "d.onnx")
