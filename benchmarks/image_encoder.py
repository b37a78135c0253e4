"""Image files to embeddings against a bare loop of open_clip's ``encode_image``.

Painted images are written as JPEG files. By turns, open_clip embeds them from
normalised tensors that are already in memory, and this package embeds the files:
reading, decoding, resizing and normalising included::

    python benchmarks/image_encoder.py
    python benchmarks/image_encoder.py --model ViT-B-32 --images 256
    python benchmarks/image_encoder.py --model RN50 --images 128
    python benchmarks/image_encoder.py --model lite --images 256 --size 256

"decoding" is what one thread takes for that part alone; on a CPU whose cores all
compute, no thread can hide it. Weights are random unless the model is bundled.
"""

import argparse
import tempfile
import warnings
from pathlib import Path
from statistics import median
from unittest.mock import patch

import numpy as np
import torch
from _common import (
    block_products,
    describe_machine,
    median_ratio,
    print_table,
    seconds,
    take_turns,
)
from PIL import Image

from skclipad._clip.backbone import clear_backbone_cache, load_backbone
from skclipad._clip.features import stream_features
from skclipad._clip.preparation import ImageOptions
from skclipad._clip.vision import (
    encode_pixels,
    normalized,
    reads_class_token,
)
from skclipad._images.crops import resize_image
from skclipad._images.reading import read_image
from skclipad.datasets import make_defect_images


def write_images(folder, n_images, size):
    """Paint images and write them as JPEG files; return their paths."""
    images = make_defect_images(n_images, image_size=256, random_state=0).images
    paths = [folder / f"{i}.jpg" for i in range(n_images)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).resize((size, size)).save(path, quality=90)
    return paths


def decoded(backbone, path):
    """Decode a file to the pixels that the model sees."""
    image = read_image(path)
    box, size = (0, 0, *image.size), backbone.image_size
    return resize_image(image, box, size, "squash", backbone.interpolation)


def load_plain(model, **options):
    """Load a model as open_clip builds it, no layer of it folded into another."""
    with patch("skclipad._clip.backbone.folded", lambda visual, _: visual):
        plain = load_backbone(model, None, **options)
    clear_backbone_cache()
    return plain


def open_clip_loop(backbone, tensors, batch_size):
    """Embed normalised tensors in memory, as open_clip's examples do."""
    with torch.inference_mode():
        batches = tensors.split(batch_size)
        return torch.cat([backbone.model.encode_image(b) for b in batches]).float()


def image_flop(visual):
    """Floating-point operations of a plain ViT's blocks for one image.

    As `benchmarks/text_encoder.py` counts them: of the last block, keys and values of
    all tokens, the rest of one.
    """
    n, width = visual.positional_embedding.shape
    n_layers = len(visual.transformer.resblocks)
    full = 24 * n * width**2 + 4 * n * n * width
    last = 4 * n * width**2 + 20 * width**2 + 4 * n * width
    return (n_layers - 1) * full + last


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ViT-B-16-plus-240")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--size", type=int, default=700, help="of the files, in pixels")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*random weights")
    describe_machine()
    options = {"device": args.device, "precision": args.precision}
    plain = load_plain(args.model, **options)
    backbone = load_backbone(args.model, None, **options)
    visual = backbone.model.visual
    with tempfile.TemporaryDirectory() as folder:
        paths = write_images(Path(folder), args.images, args.size)
        pixels = torch.from_numpy(np.stack([decoded(backbone, p) for p in paths]))
        tensors = normalized(backbone, pixels).contiguous()

        def files():
            options = ImageOptions(batch_size=args.batch_size)
            return [one.views for one in stream_features(backbone, paths, options)]

        def in_memory():
            batches = pixels.split(args.batch_size)
            return torch.cat([encode_pixels(backbone, b) for b in batches])

        contenders = {
            "open_clip, tensors in memory": lambda: open_clip_loop(
                plain, tensors, args.batch_size
            ),
            "skclipad, pixels in memory": in_memory,
            "skclipad, JPEG files": files,
        }
        open_clip_loop(plain, tensors[:4], 4)
        list(stream_features(backbone, paths[:4], ImageOptions()))
        taken = take_turns(contenders, args.repeats)
        decoding = seconds(lambda: [decoded(backbone, path) for path in paths])
        reference = open_clip_loop(plain, tensors, args.batch_size).cpu().numpy()
        ours = np.concatenate(files())
    baseline = taken["open_clip, tensors in memory"]
    header = ["", "seconds", "images/s", "times open_clip"]
    rows = [
        [
            name,
            median(turns),
            f"{args.images / median(turns):.1f}",
            f"{median_ratio(baseline, turns):.2f}",
        ]
        for name, turns in taken.items()
    ]
    if reads_class_token(visual):
        products, flop = block_products(
            1024 * torch.get_num_threads(),
            visual.transformer.width,
            dtype=backbone.dtype,
            device=backbone.device,
        )
        products()
        rate = flop / median(take_turns({"mm": products}, 9)["mm"])
        header += ["GFLOP/s", "of torch.mm"]
        for row, turns in zip(rows, taken.values(), strict=True):
            achieved = args.images * image_flop(visual) / median(turns)
            row += [f"{achieved / 1e9:.0f}", f"{achieved / rate:.0%}"]
    print(
        f"{args.model}, {args.images} images of {args.size} x {args.size} pixels, "
        f"batches of {args.batch_size}, medians of {args.repeats} turns"
    )
    print_table(header, rows)
    cosines = (reference * ours).sum(axis=1) / (
        np.linalg.norm(reference, axis=1) * np.linalg.norm(ours, axis=1)
    )
    print(f"decoding alone, one thread: {decoding:.3g} s")
    print(f"lowest cosine to open_clip's embeddings: {cosines.min():.8f}")


if __name__ == "__main__":
    main()
