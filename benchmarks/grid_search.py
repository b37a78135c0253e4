"""A grid search over words and pairs, against its unique parts computed once.

``GridSearchCV`` over l_min x l_max x N_p = 2 x 2 x 3 with five folds, embeddings of
pictures given, is 60 fits and a refit. The baseline encodes the prompt blocks of the
largest N_p once for each pair of lengths and trains the twelve networks once::

    python benchmarks/grid_search.py
    python benchmarks/grid_search.py --pairs 1000 5000 10000 --repeats 1

All caches are emptied before each turn. Weights are random unless the model is "tiny".
"""

import argparse
import warnings
from statistics import median

import numpy as np
from _common import describe_machine, print_table, take_turns
from sklearn.model_selection import GridSearchCV, ParameterGrid

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad._embedder import load_clip
from skclipad._method import training as _training
from skclipad._method.prompt_embeddings import clear_prompt_cache, encode_pairs
from skclipad._method.prompts import n_blocks
from skclipad._method.scores import unit

LENGTHS = {"l_min": [3, 5], "l_max": [8, 10]}
TRAINING = ("hidden_layer_sizes", "dropout", "n_epochs", "batch_size")
TRAINING += ("learning_rate", "weight_decay", "lr_decay")
WORDS = ("normal_word", "anomaly_word", "l_min", "l_max")


class CountingEmbedder(CLIPImageEmbedder):
    """An embedder that counts the training prompts it encodes."""

    n_prompts = 0

    def encode_text(self, texts):
        """Encode texts; those with random words are counted."""
        n_queries = sum(text.startswith("a photo of") for text in texts)
        CountingEmbedder.n_prompts += len(texts) - n_queries
        return super().encode_text(texts)


class Counter:
    """A function that counts its calls."""

    def __init__(self, function):
        self.function = function
        self.n_calls = 0

    def __call__(self, *args, **kwargs):
        self.n_calls += 1
        return self.function(*args, **kwargs)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ViT-B-16-plus-240")
    parser.add_argument("--pairs", type=int, nargs=3, default=[100, 200, 400])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*random weights")
    describe_machine()
    embedder = CountingEmbedder(args.model, None)
    backbone = load_clip(embedder)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((args.images, backbone.embed_dim)).astype(np.float32)
    y = np.arange(args.images) % 2
    detector = RandomWordCLIPDetector(embedder=embedder, random_state=0)
    grid = {**LENGTHS, "N_p": args.pairs}
    train = Counter(_training.train_network)
    _training.train_network = train

    def empty():
        clear_prompt_cache()
        _training._fits.clear()
        CountingEmbedder.n_prompts = train.n_calls = 0

    def search():
        empty()
        GridSearchCV(detector, grid, scoring="roc_auc", cv=5).fit(X, y)

    def parts_once():
        empty()
        parameters = detector.get_params()
        training = {name: parameters[name] for name in TRAINING}
        for lengths in ParameterGrid(LENGTHS):
            words = {name: parameters[name] for name in WORDS} | lengths
            pairs = encode_pairs(
                embedder.encode_text, "parts", max(args.pairs), seed=0, **words
            )
            for n_pairs in args.pairs:
                texts = [unit(label[:n_pairs]) for label in pairs]
                train(*texts, seed=0, device=backbone.device, **training)

    counts = {}

    def counted(name, function):
        def run():
            function()
            counts[name] = (CountingEmbedder.n_prompts / 200, train.n_calls)

        return run

    embedder.encode_text(["a photo of a cup"])  # the tower is warm
    contenders = {"parts, once each": parts_once, "GridSearchCV": search}
    taken = take_turns(
        {name: counted(name, function) for name, function in contenders.items()},
        args.repeats,
    )
    unique = len(ParameterGrid(LENGTHS)) * n_blocks(max(args.pairs))
    print(
        f"{args.model}, N_p {args.pairs}, {args.images} embeddings, medians of "
        f"{args.repeats} turns; {unique} unique blocks of 200 prompts, "
        f"{len(ParameterGrid(grid))} settings"
    )
    baseline = taken["parts, once each"]
    print_table(
        ["", "seconds", "of the parts", "blocks encoded", "networks trained"],
        [
            [
                name,
                median(turns),
                f"{median(t / b for t, b in zip(turns, baseline, strict=True)):.2f}",
                f"{counts[name][0]:g}",
                counts[name][1],
            ]
            for name, turns in taken.items()
        ],
    )


if __name__ == "__main__":
    main()
