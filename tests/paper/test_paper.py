"""`run_benchmark`: right numbers, nothing twice, and nothing lost when it is killed."""

import os
import signal
import subprocess
import sys
from collections import Counter
from importlib import import_module

import joblib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.utils import Bunch

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad._method import training as _training
from skclipad._method.prompt_embeddings import clear_prompt_cache
from skclipad.datasets import OBJECTS, SURFACES, make_defect_images
from skclipad.paper import read_results, run_benchmark
from skclipad.paper._plan import COLUMNS
from skclipad.paper._results import ResultsFile

N_P = 40


@pytest.fixture(scope="module")
def photos():
    bunch = make_defect_images(20, categories=["wood", "coin"], random_state=3)
    return bunch | {"name": "painted"}


@pytest.fixture(scope="module")
def normals():
    kinds = {"categories": ["wood", "coin"], "anomaly_fraction": 0}
    return make_defect_images(16, random_state=4, **kinds)


def detector(**parameters):
    embedder = CLIPImageEmbedder("tiny", device="cpu")
    return RandomWordCLIPDetector(N_p=N_P, embedder=embedder).set_params(**parameters)


@pytest.fixture(scope="module")
def results(photos, normals):
    return run_benchmark(
        Bunch(**photos),
        references=normals,
        detector=detector(),
        seeds=[1],
        shots=(0, 2),
        pairs=[20],
        word_pairs=[("a good", "a broken")],
        word_lengths=[(2, 3)],
    )


@pytest.fixture
def work(monkeypatch):
    """Count what is shown to CLIP, and trainings, with empty caches of the process."""
    counts = Counter()

    def count(module, name, size):
        module = import_module(f"skclipad.{module}")
        original = getattr(module, name)

        def counted(*args, **kwargs):
            counts[name] += size(*args)
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, counted)

    count("_clip.features", "encode_pixels", lambda backbone, pixels: len(pixels))
    count("_clip.features", "token_features", lambda clip, pixels: len(pixels))
    count("_embedder", "encode_texts", lambda backbone, texts: len(texts))
    count("_method.training", "train_network", lambda *pairs: 1)
    forget()
    yield counts
    forget()  # what other tests must not find: embeddings of no model


@pytest.fixture
def quick_texts(work, monkeypatch):
    """Count texts without encoding them, where their embeddings do not matter."""

    def encode(backbone, texts, verbose):
        work["encode_texts"] += len(texts)
        seed = sum(map(len, texts))
        return np.random.default_rng(seed).normal(size=(len(texts), 96)).astype("f4")

    monkeypatch.setattr(import_module("skclipad._embedder"), "encode_texts", encode)


def forget():
    clear_prompt_cache()
    _training._fits.clear()


def one(results, **where):
    for name, value in where.items():
        results = results[results[name] == value]
    (value,) = results.value
    return value


def images_of(bunch, category):
    rows = np.flatnonzero(bunch["category"] == category)
    return bunch["images"][rows], bunch["target"][rows]


# -- numbers -----------------------------------------------------------------------


def test_rows_are_tidy_and_complete(results):
    assert tuple(results.columns) == COLUMNS
    assert not results.duplicated(list(COLUMNS[:-1])).any()
    assert results.value.between(0, 1).all()
    main = results[results.N_p == N_P]
    main = main[(main.normal_word == "a") & (main.l_min == 5)]
    # categories, set-ups, crops, shots, methods with a network, metrics
    assert len(main) == 2 * 2 * 2 * 2 * 2 * 3
    assert set(results.N_p.dropna()) == {N_P, 20}
    assert results[results.method == "CLIP"].N_p.isna().all()
    zero_shot = results[(results.method == "CLIP") & (results.shots == 0)]
    assert zero_shot.seed.isna().all()
    other_words = results[results.normal_word == "a good"]
    assert set(other_words.method) == {"CLIP", "ours", "CLIP + ours"}
    assert set(other_words.crops) == {"multi"}


@pytest.mark.parametrize("setup", ["unknown", "known"])
@pytest.mark.parametrize("crops", ["whole", "multi"])
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("CLIP", {"scores": ("prompt",)}),
        ("ours", {"scores": ("fnn",)}),
        ("CLIP + ours", {}),
        ("WinCLIP prompts", {"scores": ("prompt",), "prompt_set": "winclip"}),
    ],
)
def test_values_are_those_of_a_detector(results, photos, setup, crops, method, options):
    images, target = images_of(photos, "coin")
    fitted = detector(
        embedder__crops=crops,
        object_name="coin" if setup == "known" else "object",
        random_state=1,
        **options,
    ).fit()
    scores = fitted.predict_proba(images)[:, 1]
    where = {"category": "coin", "setup": setup, "crops": crops, "method": method}
    found = results[(results.seed == 1) | results.seed.isna()]
    found = found[found.N_p.isin([N_P]) | found.N_p.isna()]
    found = found[found.normal_word.isin(["a"]) | found.normal_word.isna()]
    found = found[found.l_min.isin([5]) | found.l_min.isna()]
    found = found[found.shots == 0]
    auroc = one(found, metric="auroc", **where)
    assert auroc == pytest.approx(roc_auc_score(target, scores))
    aupr = one(found, metric="aupr", **where)
    assert aupr == pytest.approx(average_precision_score(target, scores))


def test_few_shot_values_are_those_of_a_detector(results, photos, normals):
    images, target = images_of(photos, "wood")
    fitted = detector(n_shots=2, random_state=1, object_name="wood")
    fitted.fit(images_of(normals, "wood")[0])
    expected = roc_auc_score(target, fitted.predict_proba(images)[:, 1])
    where = {"method": "CLIP + ours", "shots": 2, "seed": 1, "metric": "auroc"}
    where |= {"category": "wood", "setup": "known", "crops": "whole"}
    assert one(results, **where) == pytest.approx(expected)


def test_other_settings_are_those_of_a_detector(results, photos):
    images, target = images_of(photos, "coin")
    where = {"method": "ours", "metric": "auroc", "category": "coin"}
    for columns, options in (
        ({"N_p": 20}, {"N_p": 20}),
        ({"l_max": 3}, {"l_min": 2, "l_max": 3}),
        (
            {"normal_word": "a good"},
            {"normal_word": "a good", "anomaly_word": "a broken"},
        ),
    ):
        options |= {"random_state": 1, "scores": ("fnn",), "embedder__crops": "multi"}
        scores = detector(**options).fit().predict_proba(images)[:, 1]
        expected = roc_auc_score(target, scores)
        assert one(results, **where, **columns) == pytest.approx(expected)


def test_objects_may_have_names_of_their_own(photos):
    options = {"detector": detector(), "seeds": 1, "crops": "whole", "setups": "known"}
    named = run_benchmark(
        Bunch(**photos), object_names={"coin": "damaged coin"}, **options
    )
    plain = run_benchmark(Bunch(**photos), **options)
    differs = (named.value != plain.value).groupby(named.category).any()
    assert differs.to_dict() == {"coin": True, "wood": False}


# -- work --------------------------------------------------------------------------


@pytest.mark.usefixtures("quick_texts")
def test_fifteen_categories_and_ten_seeds_repeat_no_encoding(work):
    categories = sorted({*SURFACES, *OBJECTS})[:15]
    parts = [
        make_defect_images(4, categories=[name], random_state=i)
        for i, name in enumerate(categories)
    ]
    names = ("images", "target", "category")
    data = Bunch(**{n: np.concatenate([part[n] for part in parts]) for n in names})
    options = {"setups": "unknown", "crops": "whole", "detector": detector()}
    results = run_benchmark(data, seeds=10, **options)
    assert results.category.nunique() == 15
    assert work["encode_pixels"] == 60
    assert work["train_network"] == 10
    # A block of 100 pairs for each seed, the two prompts, WinCLIP's 154 and 88.
    assert work["encode_texts"] == 10 * 200 + 2 + 154 + 88


@pytest.mark.usefixtures("quick_texts")
def test_whole_images_and_crops_come_from_one_pass(work, photos):
    options = {"setups": "unknown", "detector": detector()}
    run_benchmark(Bunch(**photos), seeds=1, crops=["whole", "multi"], **options)
    assert work["encode_pixels"] == 20 * 5  # the whole image and four crops


@pytest.mark.usefixtures("quick_texts")
def test_references_are_seen_once_whatever_the_seeds_and_shots(work, photos, normals):
    options = {"crops": "whole", "setups": "unknown", "detector": detector()}
    run_benchmark(
        Bunch(**photos), references=normals, seeds=3, shots=(1, 2, 4), **options
    )
    assert work["encode_pixels"] == 20
    assert 20 + 2 * 4 <= work["token_features"] <= 20 + 16


# -- interruptions -----------------------------------------------------------------

KILLED = """
import os, signal, sys
import joblib
from skclipad.paper import _results, run_benchmark

def kill_in_a_write(path, text):
    global left
    left -= path.name == "results.csv"
    if left < 0:
        path.with_name(path.name + ".partial").write_text(text[: len(text) // 2 + 7])
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, text)

left, write = 2, _results.atomic_write_text
_results.atomic_write_text = kill_in_a_write
run_benchmark(**joblib.load(sys.argv[1]))
"""


def test_killed_run_goes_on_with_the_same_rows_and_repeats_no_work(
    tmp_path, photos, normals, work
):
    options = {
        "data": Bunch(**photos),
        "references": normals,
        "detector": detector(),
        "seeds": 1,
        "setups": "unknown",
        "crops": "whole",
        "shots": (0, 1),
        "pairs": [20, 30],
    }
    undisturbed = tmp_path / "undisturbed"
    run_benchmark(**options, output=undisturbed)
    total = Counter(work)
    work.clear()
    forget()

    killed = tmp_path / "killed"
    joblib.dump(options | {"output": killed}, tmp_path / "options")
    # Four writes make the whole table: CLIP alone, then three networks.
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "options"], capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    content = (killed / "results.csv").read_bytes()
    assert (killed / "results.csv.partial").exists()
    whole = (undisturbed / "results.csv").read_bytes()
    assert whole.startswith(content) and content.count(b"\n") > 1

    run_benchmark(**options, output=killed)
    assert (killed / "results.csv").read_bytes() == whole
    assert total["train_network"] == 3
    # Nothing is encoded again but the two prompts that each process needs to fit.
    assert +work in ({"train_network": 2}, {"train_network": 2, "encode_texts": 2})

    work.clear()
    forget()
    again = run_benchmark(**options, output=killed)
    assert not +work  # nothing at all
    pd.testing.assert_frame_equal(
        again, pd.DataFrame(read_results(killed / "results.csv"))
    )


@pytest.mark.usefixtures("quick_texts")
def test_run_interrupted_among_images_shows_only_the_others(
    tmp_path, photos, work, monkeypatch
):
    features = import_module("skclipad._clip.features")
    encode = features.encode_pixels

    def interrupted(backbone, pixels):
        if work["encode_pixels"] >= 12:
            raise KeyboardInterrupt
        return encode(backbone, pixels)

    options = {"detector": detector(embedder__batch_size=4), "seeds": 1}
    options |= {"crops": "whole", "setups": "unknown", "output": tmp_path}
    with monkeypatch.context() as patched:
        patched.setattr(features, "encode_pixels", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_benchmark(Bunch(**photos), **options)
    work.clear()
    run_benchmark(Bunch(**photos), **options)
    assert work["encode_pixels"] <= 20 - 8


@pytest.mark.usefixtures("quick_texts")
def test_output_grows_by_seeds_and_settings_without_repeating(tmp_path, photos, work):
    options = {"detector": detector(), "crops": "whole", "setups": "unknown"}
    options["output"] = tmp_path
    first = run_benchmark(Bunch(**photos), seeds=1, **options)
    assert work.pop("train_network") == 1
    assert work.pop("encode_pixels") == 20
    forget()
    more = run_benchmark(Bunch(**photos), seeds=[0, 5], pairs=[20], **options)
    assert work["train_network"] == 3
    assert work["encode_pixels"] == 0
    pd.testing.assert_frame_equal(more[: len(first)], first)
    assert not (tmp_path / "prompts").exists()


def test_rows_of_other_settings_do_not_mix(tmp_path, photos):
    options = {"seeds": 1, "crops": "whole", "setups": "unknown", "output": tmp_path}
    run_benchmark(Bunch(**photos), detector=detector(), **options)
    with pytest.raises(ValueError, match="temperature=0.02.*measured with 0.01"):
        run_benchmark(Bunch(**photos), detector=detector(temperature=0.02), **options)
    other = photos | {"images": photos["images"][:, ::-1]}
    with pytest.raises(ValueError, match="pictures of 'coin' are not those"):
        run_benchmark(Bunch(**other), detector=detector(), **options)


def test_two_runs_do_not_write_to_one_folder(tmp_path):
    with ResultsFile(tmp_path, {}):
        with pytest.raises(BlockingIOError, match="another run"):
            ResultsFile(tmp_path, {}).__enter__()
    with ResultsFile(tmp_path, {}) as freed:
        assert freed.rows == []


def test_foreign_files_are_left_alone(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="without settings.json"):
        ResultsFile(tmp_path, {}).__enter__()
    with pytest.raises(ValueError, match="has the columns a, b"):
        read_results(path)
    assert path.read_text() == "a,b\n1,2\n"


def test_settings_know_images_by_name_size_and_label(tmp_path, photos):
    paths = []
    for i, image in enumerate(photos["images"]):
        paths.append(os.fspath(tmp_path / f"{i}.png"))
        Image.fromarray(image).save(paths[-1])
    data = Bunch(**{n: photos[n] for n in ("target", "category")}, paths=paths)
    options = {"detector": detector(), "seeds": 1, "crops": "whole"}
    options |= {"setups": "unknown", "output": tmp_path / "out"}
    from_files = run_benchmark(data, **options)
    from_arrays = run_benchmark(Bunch(**photos), **options | {"output": None})
    np.testing.assert_allclose(from_files.value, from_arrays.value)
    data.target = np.roll(data.target, 1)
    with pytest.raises(ValueError, match="choose|Choose another folder"):
        run_benchmark(data, **options)


# -- arguments ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "seeds=0"),
        ({"seeds": [1, 1]}, "different ones"),
        ({"crops": ["tiles"]}, "crops=.*whole, multi"),
        ({"setups": []}, "setups"),
        ({"shots": [-1]}, "shots"),
        ({"shots": [1]}, "without references"),
    ],
)
def test_wrong_arguments_are_told(photos, options, message):
    with pytest.raises(ValueError, match=message):
        run_benchmark(Bunch(**photos), detector=detector(), **options)


def test_too_few_references_are_told(photos, normals):
    few = Bunch(**{n: normals[n][:3] for n in ("images", "target", "category")})
    with pytest.raises(ValueError, match="normal images of '(coin|wood)'"):
        run_benchmark(Bunch(**photos), references=few, detector=detector())


def test_category_of_one_class_is_told(photos):
    data = Bunch(**photos | {"target": np.zeros(20, dtype=int)})
    with pytest.raises(ValueError, match="0 anomalous images of 'coin'"):
        run_benchmark(data, detector=detector())


def test_missing_pandas_is_told_before_the_work(photos, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r'pip install "skclipad\[benchmark\]"'):
        run_benchmark(Bunch(**photos), detector=detector())
