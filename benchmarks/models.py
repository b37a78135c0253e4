"""What CLIPs cost: operations of an image, a text and a map, images a second, a fit.

Each model is built with random weights, the bundled ones with theirs, one at a time,
and the operations of its matrix products and convolutions are counted while it embeds
what the package embeds: images of its own size, the windows of a map, and random-word
prompts of the default lengths, each as long as it is. A map is told in images: its
operations by those of one. The minutes of a `fit` with the default settings are those
of its 20,000 texts, at the texts a second that are measured; training the network adds
seconds. The largest model takes 8 GB::

    python benchmarks/models.py
    python benchmarks/models.py --models RN50 MobileCLIP2-S0 --batches 5
    python benchmarks/models.py --write       # into the table that the docs show
    python benchmarks/models.py --cpu-time    # where other work keeps the cores busy

Tokenizers that would be fetched from the network are stood in for by CLIP's own, whose
tokens a prompt are about as many.
"""

import argparse
import csv
import gc
import io
import warnings
from pathlib import Path
from statistics import median
from time import process_time

import open_clip
import torch
from _common import count_flop, describe_machine, print_table, seconds

import skclipad
from skclipad._clip.backbone import clear_backbone_cache, load_backbone
from skclipad._clip.features import stream_features
from skclipad._clip.preparation import ImageOptions
from skclipad._clip.sources import BUNDLED
from skclipad._clip.text import encode_texts
from skclipad._clip.vision import encode_pixels
from skclipad._method.prompts import training_block
from skclipad._storage.files import atomic_write_text

TABLE = Path(skclipad.__file__).parent / "cli" / "models.csv"
N_TEXTS = 64
N_TEXTS_OF_FIT = 20_000  # two for each of the default's pairs


class StandIn:
    """CLIP's tokenizer in a vocabulary of another size, with another end of text."""

    def __init__(self, backbone):
        self.tokenizer = open_clip.SimpleTokenizer()
        self.n_tokens = backbone.vocab_size
        self.end = getattr(backbone.model, "text_eos_id", None) or 1

    def __call__(self, texts, context_length):
        tokens = self.tokenizer(texts, context_length)
        end = tokens == self.tokenizer.eot_token_id
        tokens = torch.where(tokens == 0, 0, 3 + tokens % (self.n_tokens - 3))
        return torch.where(end, self.end, tokens)


def load(name):
    """Load a model with random weights, and a tokenizer that needs no network."""
    clear_backbone_cache()
    gc.collect()
    backbone = load_backbone(name, None, device="cpu", precision="fp32")
    config = {} if name in BUNDLED else open_clip.get_model_config(name)["text_cfg"]
    if config.get("hf_tokenizer_name"):
        vars(backbone)["_tokenizer"] = StandIn(backbone)
    return backbone


def prompts(backbone):
    """Return random-word prompts of the default lengths that fit a model's context."""
    is_short = backbone.context_length < 64
    l_min, l_max = (3, 6) if is_short else (5, 10)
    words = {"normal_word": "a", "anomaly_word": "a damaged"}
    return training_block(0, **words, l_min=l_min, l_max=l_max, seed=0)[:N_TEXTS]


def a_second(function, n, n_batches, cpu_time):
    """Return how many of n a second a call gets done, as the median of some calls.

    With `cpu_time` it is the CPU time of one thread, and two are twice as fast.
    """
    if not cpu_time:
        return n / median(seconds(function) for _ in range(n_batches))
    torch.set_num_threads(1)
    return 2 * n / median(seconds(function, process_time) for _ in range(n_batches))


def counted(backbone, pixels, texts):
    """Return the operations of an image, of a text, and of a map."""

    def make_map():
        list(stream_features(backbone, [pixels], ImageOptions(parts=("windows",))))

    torch.backends.mha.set_fastpath_enabled(False)  # the counter does not see into it
    image = count_flop(lambda: encode_pixels(backbone, torch.from_numpy(pixels[None])))
    text = count_flop(lambda: encode_texts(backbone, texts)) / len(texts)
    one_map = count_flop(make_map)
    torch.backends.mha.set_fastpath_enabled(True)
    return image, text, one_map


def measure(name, batch_size, n_batches, cpu_time):
    """Return the cells of a row that are counted or measured."""
    backbone = load(name)
    height, width = backbone.image_size
    pixels = torch.randint(0, 256, (batch_size, height, width, 3), dtype=torch.uint8)
    texts = prompts(backbone)
    image, text, one_map = counted(backbone, pixels[0].numpy(), texts)

    how = n_batches, cpu_time
    images = a_second(lambda: encode_pixels(backbone, pixels), batch_size, *how)
    texts_a_second = a_second(lambda: encode_texts(backbone, texts), N_TEXTS, *how)
    return {
        "GFLOP image": f"{image / 1e9:.3g}",
        "GFLOP text": f"{text / 1e9:.3g}",
        "images/map": f"{one_map / image:.2g}",
        "images/s": f"{images:.3g}",
        "fit min": f"{N_TEXTS_OF_FIT / texts_a_second / 60:.2g}",
    }


def main():
    """Measure the models of the table, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", help="of the table (all)")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--batches", type=int, default=3)
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--write", action="store_true", help=f"into {TABLE.name}")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*random weights")
    describe_machine()

    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if not args.models or row["name"] in args.models:
            how = args.batch_size, args.batches, args.cpu_time
            row |= measure(row["name"], *how)
            print(*row.values(), sep="  ", flush=True)
    print()

    print_table(list(rows[0]), [list(row.values()) for row in rows])
    if args.write:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        atomic_write_text(TABLE, text.getvalue())


if __name__ == "__main__":
    main()
