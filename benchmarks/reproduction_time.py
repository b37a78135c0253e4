"""How long the paper's tables take on this machine, from measured throughput.

Images, windows, texts and trainings are timed for a moment each and multiplied by
what ``skclipad benchmark`` needs of them (see ``docs/reproducing.rst``)::

    python benchmarks/reproduction_time.py --model ViT-B-16-plus-240 --random-weights

Random weights take as long as trained ones. Reading images from disk is part of it,
as PNG of 900 x 900 pixels.
"""

import argparse
import tempfile
import warnings
from pathlib import Path
from time import perf_counter

import numpy as np
from _common import describe_machine
from PIL import Image

from skclipad import CLIPImageEmbedder
from skclipad._clip.features import stream_features
from skclipad._embedder import image_options, load_clip
from skclipad._method.maps import reference_map
from skclipad._method.network import train_network
from skclipad._method.prompts import training_block
from skclipad._method.references import stack_features

SIDE = 900
NETWORK = {
    **{"hidden_layer_sizes": (128, 32, 16), "dropout": 0.5, "n_epochs": 2},
    **{"batch_size": 128, "learning_rate": 1e-3, "weight_decay": 1e-4},
    **{"lr_decay": 0.1, "seed": 0},
}
# Test images, reference comparisons of each (10 seeds x 1, 2 and 4 shots) and
# categories; texts and pairs trained on by 10 seeds with all tables and figures.
MAIN_TEXTS, ALL_TEXTS = 20_000 * 10, (100_000 + 15 * 20_000) * 10
MAIN_PAIRS = 10_000 * 10
ALL_PAIRS = (86_000 + 15 * 10_000) * 10
RUNS = {
    "MVTec-AD, all": (1_725, 30, 15, ALL_TEXTS, ALL_PAIRS),
    "MVTec-AD, Tables 1 5 6 7": (1_725, 30, 15, MAIN_TEXTS, MAIN_PAIRS),
    "VisA, all": (2_162, 30, 12, ALL_TEXTS, ALL_PAIRS),
    "VisA, Tables 1 8 9 10": (2_162, 30, 12, MAIN_TEXTS, MAIN_PAIRS),
    "SewerML, Table 4": (130_046, 0, 1, MAIN_TEXTS, MAIN_PAIRS),
}


def rate(function, amount, seconds):
    """Return how much is done in a second, after one call to warm up."""
    function()
    start, n_calls = perf_counter(), 0
    while perf_counter() - start < seconds:
        function()
        n_calls += 1
    return amount * n_calls / (perf_counter() - start)


def measure(embedder, folder, n_images, seconds):
    """Measure images (5 views), windows, comparisons, texts and pairs in a second."""
    rng = np.random.default_rng(0)
    paths = []
    for i in range(n_images):
        small = rng.integers(0, 256, (30, 30, 3), dtype=np.uint8)
        paths.append(str(Path(folder) / f"{i}.png"))
        Image.fromarray(small).resize((SIDE, SIDE)).save(paths[-1])
    clip, whole = load_clip(embedder), image_options(embedder)
    parts = image_options(embedder, crops="whole", parts=("windows", "patches"))
    features = list(stream_features(clip, paths[:2], parts))
    references = stack_features(features)
    texts = training_block(
        0, normal_word="a", anomaly_word="a damaged", l_min=5, l_max=10, seed=0
    )

    width = len(embedder.encode_text(texts[:1])[0])
    pairs = rng.normal(size=(2, 2_000, width)).astype(np.float32)
    device = clip.device

    return {
        "images": rate(
            lambda: list(stream_features(clip, paths, whole)), n_images, seconds
        ),
        "images' windows": rate(
            lambda: list(stream_features(clip, paths, parts)),
            n_images,
            seconds,
        ),
        "comparisons with two references": rate(
            lambda: reference_map(features[0].parts, references), 1, seconds
        ),
        "texts": rate(lambda: embedder.encode_text(texts), len(texts), seconds),
        "pairs trained on": rate(
            lambda: train_network(*pairs, **NETWORK, device=device), 2_000, seconds
        ),
    }


def main():
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ViT-B-16-plus-240")
    parser.add_argument("--pretrained", default="laion400m_e32")
    parser.add_argument("--random-weights", action="store_true")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=10, help="for each rate")
    args = parser.parse_args()

    describe_machine()
    embedder = CLIPImageEmbedder(
        args.model,
        None if args.random_weights else args.pretrained,
        device=args.device,
        batch_size=args.batch_size,
        crops="multi",
    )

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that weights are random
        rates = measure(embedder, folder, args.pictures, args.seconds)
    for name, value in rates.items():
        print(f"{value:10.1f} {name} a second")

    print("\nhours     images  references     texts  networks       all")
    for name, (n_images, n_compared, n_categories, texts, pairs) in RUNS.items():
        seen = n_images / rates["images"]
        compared = 0.0
        if n_compared:
            n_windows = n_images + 40 * n_categories
            compared = n_windows / rates["images' windows"]
            n_maps = n_images * n_compared
            compared += n_maps / rates["comparisons with two references"]

        parts = [seen, compared, texts / rates["texts"]]
        parts.append(pairs / rates["pairs trained on"])
        hours = [part / 3600 for part in (*parts, sum(parts))]
        print("".join(f"{h:10.2f}" for h in hours), f"  {name}")


if __name__ == "__main__":
    main()
