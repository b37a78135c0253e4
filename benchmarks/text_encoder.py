"""Text encoding against open_clip's own ``encode_text``, and against the machine.

Training prompts with random words are encoded by turns with open_clip, padded to the
full context in batches of 64, and with this package, tokenization included. The
package's arithmetic (that of the tokens the texts have, no padding) per second is
compared with that of ``torch.mm`` at the shapes of the same batches::

    python benchmarks/text_encoder.py
    python benchmarks/text_encoder.py --model tiny --prompts 4000
    python benchmarks/text_encoder.py --precision bf16

Weights are random unless the model is "tiny": speed does not depend on them.
"""

import argparse
import warnings
from statistics import median

import numpy as np
import torch
from _common import (
    block_products,
    describe_machine,
    median_ratio,
    print_table,
    take_turns,
)

from skclipad._clip.backbone import load_backbone
from skclipad._clip.text import causal_tower, encode_texts, tokenize
from skclipad._method.prompts import BLOCK_SIZE, n_blocks, training_block

WORDS = {"normal_word": "a", "anomaly_word": "a damaged", "l_min": 5, "l_max": 10}


def training_prompts(n_prompts):
    """Write training prompts as the detector's default does."""
    blocks = range(n_blocks(n_prompts) // 2 + 1)
    return sum((training_block(i, seed=0, **WORDS) for i in blocks), [])[:n_prompts]


def open_clip_padded(backbone, tokens):
    """Encode padded tokens in batches of 64, as open_clip's examples do."""
    with torch.inference_mode():
        batches = tokens.to(backbone.device).split(64)
        return torch.cat([backbone.model.encode_text(b) for b in batches]).float()


def text_flop(tower, lengths):
    """Floating-point operations that texts of these lengths need.

    Two for each multiplication: linear layers, scores and values of attention for
    what a token sees; in the last block keys and values of all tokens, the rest of
    one.
    """
    width, n_layers = tower.transformer.width, len(tower.transformer.resblocks)
    n = lengths.astype(float)
    pairs = n * (n + 1) / 2
    full = 24 * n * width**2 + 4 * pairs * width
    last = 4 * n * width**2 + 20 * width**2 + 4 * n * width
    return float(((n_layers - 1) * full + last).sum())


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ViT-B-16-plus-240")
    parser.add_argument("--prompts", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32", help="of this package")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*random weights")
    describe_machine()

    exact = load_backbone(args.model, None, device=args.device, precision="fp32")
    backbone = load_backbone(
        args.model, None, device=args.device, precision=args.precision
    )
    texts = training_prompts(args.prompts)
    tokens = tokenize(exact, texts)
    lengths = tokens.argmax(dim=1).numpy() + 1
    tower = causal_tower(backbone.model)
    n_tokens = 1024 * torch.get_num_threads()
    products, product_flop = block_products(
        n_tokens, tower.transformer.width, dtype=backbone.dtype, device=backbone.device
    )

    for run in (
        lambda: open_clip_padded(exact, tokens[:64]),
        lambda: encode_texts(backbone, texts[:BLOCK_SIZE]),
        products,
    ):
        run()
    taken = take_turns(
        {
            "open_clip": lambda: open_clip_padded(exact, tokens),
            "skclipad": lambda: encode_texts(backbone, texts),
            "torch.mm": lambda: [products() for _ in range(8)],
        },
        args.repeats,
    )

    rate = {
        "open_clip": text_flop(tower, lengths) / median(taken["open_clip"]),
        "skclipad": text_flop(tower, lengths) / median(taken["skclipad"]),
        "torch.mm": 8 * product_flop / median(taken["torch.mm"]),
    }
    print(
        f"{args.model}, {len(texts)} prompts of {lengths.min()} to {lengths.max()} "
        f"tokens (mean {lengths.mean():.1f}), medians of {args.repeats} turns"
    )
    print_table(
        ["", "seconds", "prompts/s", "times open_clip", "GFLOP/s", "of torch.mm"],
        [
            [
                name,
                median(taken[name]),
                f"{len(texts) / median(taken[name]):.1f}" if used else "",
                f"{median_ratio(taken['open_clip'], taken[name]):.2f}" if used else "",
                f"{rate[name] / 1e9:.0f}",
                f"{rate[name] / rate['torch.mm']:.0%}",
            ]
            for name, used in (("open_clip", True), ("skclipad", True), ("torch.mm", 0))
        ],
    )
    reference = open_clip_padded(exact, tokens).cpu().numpy().astype(float)
    ours = encode_texts(backbone, texts).astype(float)
    cosines = (reference * ours).sum(axis=1) / (
        np.linalg.norm(reference, axis=1) * np.linalg.norm(ours, axis=1)
    )
    print(f"lowest cosine to open_clip's fp32 embeddings: {cosines.min():.8f}")


if __name__ == "__main__":
    main()
