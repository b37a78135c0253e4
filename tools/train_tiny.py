"""Train the bundled model from nothing: paint, caption, train, evaluate, write.

One command does it all, on a CPU or a GPU, and may be stopped and started again::

    python tools/train_tiny.py --work build/tiny --out skclipad/tiny --minutes 90

The model is open_clip's own CLIP class. What is special about the training is that it
knows which caption is true of which image, since both were made here:

- the contrastive loss takes every true caption of the batch as a positive, so that "a
  photo of a damaged object" is right for all damaged things;
- every caption has a twin that states the opposite, and each image chooses between
  the twins of every caption that else fits it: the paper's ``s_pr``, as a loss;
- a ridge classifier fitted to the states of the batch's captions must also tell the
  batch's images apart: what the detector does, as a loss;
- every scene is painted twice, whole and damaged, so that it is known which patches of
  an image are damaged: a linear head, which is not shipped, reads it off their tokens.

Held-out categories and kinds of defect are painted for evaluation alone.
"""

import argparse
import copy
import gzip
import json
import math
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import captions
import losses
import numpy as np
import open_clip
import painting
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score
from torch.nn.attention import SDPBackend, sdpa_kernel

from skclipad import RandomWordCLIPDetector
from skclipad._clip.transformer import run_blocks, run_last_block
from skclipad._method.network import network_layers, train_network
from skclipad._method.prompts import training_block
from skclipad._method.training import TrainingSettings
from skclipad.datasets import DEFECTS, OBJECTS, SURFACES

VOCABULARY_SIZE = 4096
VOCABULARY_FILE = "bpe_vocab.txt.gz"
MODEL_CONFIG = {
    "embed_dim": 96,
    "vision_cfg": {
        "image_size": painting.IMAGE_SIZE,
        "layers": 4,
        "width": 192,
        "head_width": 64,
        "patch_size": painting.PATCH_SIZE,
    },
    "text_cfg": {
        "context_length": 77,
        "vocab_size": VOCABULARY_SIZE,
        "tokenizer_kwargs": {"bpe_path": VOCABULARY_FILE},
        "width": 128,
        "heads": 4,
        "layers": 3,
    },
}
PREPROCESS_CONFIG = {
    "mean": list(open_clip.OPENAI_DATASET_MEAN),
    "std": list(open_clip.OPENAI_DATASET_STD),
    "interpolation": "bicubic",
    "resize_mode": "squash",
}
# The detector's network, with the hidden layers that suit embeddings of this width.
NETWORK = TrainingSettings.of(
    RandomWordCLIPDetector(hidden_layer_sizes=(64, 32, 16)), seed=0
)


def normalize(images):
    """Turn uint8 images (n, h, w, 3) into what the image tower reads."""
    mean = torch.tensor(PREPROCESS_CONFIG["mean"]) * 255
    std = torch.tensor(PREPROCESS_CONFIG["std"]) * 255
    return ((images.float() - mean) / std).permute(0, 3, 1, 2).contiguous()


# Texts -------------------------------------------------------------------------------


def write_vocabulary(path):
    """Write the first merges of CLIP's own byte-pair table, as a table of its own."""
    with gzip.open(open_clip.tokenizer.default_bpe()) as file:
        lines = file.read().decode().split("\n")
    n_merges = VOCABULARY_SIZE - 2 * 256 - 2  # bytes, bytes at a word's end, specials
    text = "\n".join([lines[0], *lines[1 : 1 + n_merges]])
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(text.encode())


class WordTokenizer:
    """open_clip's tokenizer, remembering every word: captions repeat theirs.

    Parameters
    ----------
    path : Path
        Byte-pair table.
    """

    def __init__(self, path):
        self.tokenizer = SimpleTokenizer(bpe_path=str(path), context_length=77)
        if self.tokenizer.vocab_size != VOCABULARY_SIZE:
            raise ValueError(f"{path} makes {self.tokenizer.vocab_size} tokens.")
        self.words = {}

    def __call__(self, texts):
        """Tokenize lists of words; return tokens (n, longest) and lengths (n,)."""
        start, end = self.tokenizer.all_special_ids
        rows = []
        for text in texts:
            row = [start]
            for word in text:
                if word not in self.words:
                    self.words[word] = self.tokenizer.encode(word)
                row += self.words[word]
            rows.append([*row[:76], end])

        lengths = torch.tensor([len(row) for row in rows])
        tokens = torch.zeros(len(rows), int(lengths.max()), dtype=torch.long)
        for i, row in enumerate(rows):
            tokens[i, : len(row)] = torch.tensor(row)
        return tokens, lengths


class Claims:
    """What each caption of a batch claims, as arrays; -1 claims nothing.

    Parameters
    ----------
    frames : list of captions.Frame
        One an image.
    states : list of captions.State
        A whole state for each frame, then a damaged state for each frame.
    code : callable
        Number of a category, colour or defect; -1 of None.
    """

    def __init__(self, frames, states, code):
        self.category = torch.tensor([code(f.category) for f in frames]).repeat(2)
        self.color = torch.tensor([code(f.color) for f in frames]).repeat(2)
        self.damaged = torch.tensor([s.damaged for s in states])
        self.defect = torch.tensor([code(s.defect) for s in states])

    def fit(self, category, color, defect):
        """Tell which caption fits which image but for whole or damaged.

        Returns
        -------
        torch.Tensor of shape (n_images, n_captions), bool
        """

        def agree(claim, fact):
            return (claim < 0) | (claim == fact[:, None])

        return (
            agree(self.category, category)
            & agree(self.color, color)
            & agree(self.defect, defect)
        )


# Model -------------------------------------------------------------------------------


def embed_with_patches(model, x, kept=None):
    """Embed normalised images; return their patch tokens before the last block too.

    The embedding is ``model.encode_image``'s; the last block runs for one token alone.
    With `kept`, of shape (n, n_kept), the tower sees only these patches.
    """
    visual = model.visual
    *blocks, last = visual.transformer.resblocks
    tokens = visual._embeds(x)
    if kept is not None:
        rows = torch.arange(len(x), device=x.device)[:, None]
        tokens = torch.cat([tokens[:, :1], tokens[rows, kept + 1]], dim=1)
    tokens = run_blocks(blocks, tokens)
    first = torch.zeros(len(x), dtype=torch.long, device=x.device)
    x = visual.ln_post(run_last_block(last, tokens, first))
    return F.normalize((x @ visual.proj).float(), dim=-1), tokens[:, 1:]


def embed_tokens(model, tokens, lengths, n_buckets=3):
    """Embed token rows: ``model.encode_text``, each bucket cut at its longest row."""
    order = lengths.argsort(stable=True)
    dtype = model.positional_embedding.dtype
    parts = []
    for rows in order.tensor_split(n_buckets):
        length, ends = int(lengths[rows].max()), lengths[rows] - 1
        x = model.token_embedding(tokens[rows, :length]).to(dtype)
        x = x + model.positional_embedding[:length]
        *blocks, last = model.transformer.resblocks
        x = run_blocks(blocks, x, causal=True)
        x = run_last_block(last, x, ends.to(x.device), causal=True)
        parts.append(model.ln_final(x) @ model.text_projection)
    return F.normalize(torch.cat(parts)[order.argsort()].float(), dim=-1)


class Trainer:
    """Weights in full precision, a half-precision copy that computes, their average.

    Parameters
    ----------
    seed : int
        Seed of the initial weights.
    device : torch.device
        Where to train.
    compiled : bool
        Whether to compile the image tower.
    """

    decay = 0.999

    def __init__(self, seed, device, compiled):
        torch.manual_seed(seed)
        self.model = CLIP(**MODEL_CONFIG).to(device)
        self.average = copy.deepcopy(self.model)
        self.half = copy.deepcopy(self.model).bfloat16()

        # Gradients of frequent tokens are sums that bfloat16 would cut off.
        self.half.token_embedding = self.model.token_embedding
        self.half.logit_scale = self.model.logit_scale
        embed = embed_with_patches
        self.embed = torch.compile(embed) if compiled else embed
        # Judges single patches in training, where twins tell which ones are damaged.
        self.head = torch.nn.Linear(MODEL_CONFIG["vision_cfg"]["width"], 1).to(device)

        # Matrices of the blocks take Muon's orthogonal steps, all else AdamW's.
        matrices, decayed, plain = [], [], []
        for name, p in self.model.named_parameters():
            if p.ndim == 2 and "resblocks" in name:
                matrices.append(p)
            else:
                big = p.ndim >= 2 and "embedding" not in name
                (decayed if big else plain).append(p)
        groups = [
            {"params": decayed, "weight_decay": 0.1},
            {"params": plain, "weight_decay": 0.0},
        ]

        self.optimizers = (
            torch.optim.Muon(
                matrices, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(groups, betas=(0.9, 0.98), foreach=True),
            torch.optim.AdamW(self.head.parameters(), lr=1e-3),
        )
        self.n_steps = 0
        self.seconds = 0.0

    def step(self, loss, learning_rate):
        """Take one step down a loss and bring copy and average up to date."""
        loss.backward()
        pairs = list(zip(self.model.parameters(), self.half.parameters(), strict=True))
        for p, q in pairs:
            if p is not q:
                p.grad, q.grad = q.grad.float(), None

        torch.nn.utils.clip_grad_norm_(
            [*self.model.parameters(), *self.head.parameters()], 1.0
        )
        for optimizer in self.optimizers[:2]:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()

        self.n_steps += 1
        decay = min(self.decay, (1 + self.n_steps) / (10 + self.n_steps))
        with torch.no_grad():
            self.model.logit_scale.clamp_(max=np.log(100))
            for p, q in pairs:
                if p is not q:
                    q.copy_(p)
            for p, q in zip(
                self.average.parameters(), self.model.parameters(), strict=True
            ):
                p.lerp_(q, 1 - decay)

    def save(self, path):
        """Write all that is needed to go on."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "head": self.head.state_dict(),
            "progress": (self.n_steps, self.seconds),
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def load(self, path):
        """Go on from what `save` wrote."""
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.head.load_state_dict(state["head"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.n_steps, self.seconds = state["progress"]
        with torch.no_grad():
            for p, q in zip(
                self.model.parameters(), self.half.parameters(), strict=True
            ):
                if p is not q:
                    q.copy_(p)


# Evaluation --------------------------------------------------------------------------


@torch.inference_mode()
def embed_pool(model, pool, device):
    """Embed all images of a pool; return an array of unit rows."""
    parts = [
        embed_with_patches(model, normalize(batch.to(device)))[0]
        for batch in pool.images.split(250)
    ]
    return torch.cat(parts).cpu().numpy()


@torch.inference_mode()
def embed_texts(model, tokenizer, texts, device):
    """Embed strings; return an array of unit rows."""
    tokens, lengths = tokenizer([text.split() for text in texts])
    n_buckets = 1 + len(texts) // 500
    return (
        embed_tokens(model, tokens.to(device), lengths, n_buckets=n_buckets)
        .cpu()
        .numpy()
    )


def evaluate(model, tokenizer, pools, device, sizes=(1000, 10000)):
    """Measure prompts and text-trained networks on pools of images.

    Returns
    -------
    dict
        AUROC for each pool by what judged it: "prompts" and one entry for each
        number of training pairs.
    """
    model = model.eval()
    embedded = {name: embed_pool(model, pool, device) for name, pool in pools.items()}
    words = {"normal_word": "a", "anomaly_word": "a damaged"}
    blocks = [
        training_block(i, **words, l_min=5, l_max=10, seed=1)
        for i in range(max(sizes) // 100)
    ]

    half = len(blocks[0]) // 2
    normal = embed_texts(
        model, tokenizer, [t for b in blocks for t in b[:half]], device
    )
    anomalous = embed_texts(
        model, tokenizer, [t for b in blocks for t in b[half:]], device
    )

    prompts = ["a photo of a object", "a photo of a damaged object"]
    whole, damaged = embed_texts(model, tokenizer, prompts, device)

    results = {name: {} for name in pools}
    for name, pool in pools.items():
        scores = embedded[name] @ (damaged - whole)
        results[name]["prompts"] = roc_auc_score(pool.target, scores)

    for size in sizes:
        network = train_network(normal[:size], anomalous[:size], NETWORK)
        for name, pool in pools.items():
            scores = embedded[name]
            scores = network_layers(scores, network.coefs, network.intercepts)[-1][:, 0]
            results[name][f"N_p={size}"] = roc_auc_score(pool.target, scores)
    return results


# Training ----------------------------------------------------------------------------


class Difficulty:
    """How hard categories are, so that batches show hard ones more often.

    Parameters
    ----------
    category : torch.Tensor of shape (n_images,)
        Category of each image of the pool by number.
    n_numbers : int
        Numbers in use.
    """

    floor = 0.25

    def __init__(self, category, n_numbers):
        self.category = category
        self.losses = torch.ones(n_numbers)

    def weights(self):
        """Return how often to draw each scene, in proportion: loss over mean loss."""
        shares = self.losses / self.losses[self.category.unique()].mean()
        return shares.clamp(min=self.floor)[self.category[::2]]

    def update(self, category, each):
        """Take in the loss of each image of a batch."""
        counts = torch.bincount(category, minlength=len(self.losses))
        sums = torch.bincount(category, each, minlength=len(self.losses)).float()
        # An average over some fifty images of each category.
        weight = (0.02 * counts).clamp(max=1)
        self.losses.lerp_(sums / counts.clamp(min=1), weight)


def draw_batch(pool, size, weights, rng, generator, code):
    """Draw images and the captions that go with them.

    Parameters
    ----------
    pool : painting.Pictures
        Twins to draw from.
    size : int
        Images in a batch.
    weights : torch.Tensor of shape (n_scenes,)
        How often to draw each scene, in proportion.
    rng, generator : random.Random and torch.Generator
        Sources of randomness.
    code : callable
        Number of a category, colour or defect.

    Returns
    -------
    images : torch.Tensor of shape (size, 64, 64, 3), float32
        Whole images, then their damaged twins.
    facts : tuple of torch.Tensor of shape (size,)
        Category, colour and defect of each image by number, and whether damaged.
    texts : list of size lists of str
        One caption a scene that calls it whole, then their twins.
    claims : Claims
    """
    scenes = torch.multinomial(weights, size // 2, True, generator=generator)
    rows = torch.cat([2 * scenes, 2 * scenes + 1])
    images, grey = painting.augment(pool.images[rows], generator)
    rows = rows.numpy()
    colors = np.where(grey.numpy(), None, pool.color[rows])

    frames, whole_states, damaged_states = [], [], []
    for row, color in zip(rows[size // 2 :], colors[size // 2 :], strict=True):
        n_strays = rng.randint(1, 8) if rng.random() < 0.36 else 0
        strays = [rng.choice(pool.strays) for _ in range(n_strays)]
        frames.append(captions.draw_frame(rng, pool.category[row], color, strays))
        whole_states.append(captions.draw_state(rng, False))
        damaged_states.append(captions.draw_state(rng, True, pool.defect[row]))

    states = whole_states + damaged_states
    texts = [
        captions.write(frame, state)
        for frame, state in zip(frames * 2, states, strict=True)
    ]

    facts = (
        torch.tensor([code(name) for name in pool.category[rows]]),
        torch.tensor([code(name) for name in colors]),
        torch.tensor([code(name) for name in pool.defect[rows]]),
        torch.from_numpy(pool.target[rows]),
    )
    return images, facts, texts, Claims(frames, states, code)


def batch_loss(trainer, tokenizer, batch, args, rng, generator, device):
    """Compute the four losses of a batch.

    Returns
    -------
    total : torch.Tensor
        Their weighted sum.
    parts : ndarray of shape (4,)
        Each as a number.
    each : torch.Tensor of shape (n_images,)
        State loss of each image.
    """
    images, (category, color, defect, target), texts, claims = batch
    hit, kept = painting.damaged_patches(images), None
    if rng.random() < args.windows:
        kept = painting.draw_windows(hit, generator)
        hit = hit.gather(1, kept)
        # What lies outside the window does not make what is inside damaged.
        target = target * hit.any(1)
        defect = torch.where(target == 1, defect, -2)
        kept = kept.to(device)

    seen, patches = trainer.embed(
        trainer.half, normalize(images).to(device).bfloat16(), kept
    )
    hit = hit.to(device)
    tokens, lengths = tokenizer(texts)
    embedded = embed_tokens(trainer.half, tokens.to(device), lengths)
    similarity = trainer.model.logit_scale.exp() * seen @ embedded.T

    fit = claims.fit(category, color, defect)
    true = fit & (claims.damaged == (target[:, None] == 1))
    fit, true, target = fit.to(device), true.to(device), target.to(device)

    ridge = 10 ** rng.uniform(-2, 0.5)
    each = losses.state_loss(similarity, fit, target)
    parts = (
        losses.contrastive_loss(similarity, true),
        each.mean(),
        losses.transfer_loss(seen, embedded, target, ridge),
        losses.patch_loss(trainer.head(patches.float())[..., 0], hit),
    )

    # A text tower that has no states yet gives no classifier to go by.
    ramp = min(max((trainer.n_steps - 500) / 1000, 0.0), 1.0)
    weights = *args.weights[:2], args.weights[2] * ramp, args.weights[3]
    total = sum(w * loss for w, loss in zip(weights, parts, strict=True))
    return total, np.array([part.item() for part in parts]), each.detach().cpu()


def learning_rate(progress, n_steps, peak):
    """Warm up over 200 steps, then fall along a cosine to a hundredth."""
    warm = min(1.0, (n_steps + 1) / 200)
    return peak * warm * (0.01 + 0.99 * (1 + math.cos(math.pi * min(progress, 1))) / 2)


def train(trainer, tokenizer, pool, pools, args, device):
    """Train until the time is up, evaluating, saving and writing as it goes."""
    names = sorted({*SURFACES, *OBJECTS, *DEFECTS, *pool.color})
    numbers = {name: i for i, name in enumerate(names)}

    def code(name):
        return -1 if name is None else numbers.get(name, -1)

    # A resumed run goes on with other numbers than those it began with.
    rngs = [random.Random(f"{args.seed} {trainer.n_steps} {i}") for i in range(2)]
    seeds = [2 * (args.seed + trainer.n_steps) + i for i in range(2)]
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    pool.strays = [captions.stray_token(rngs[0]) for _ in range(200_000)]
    category = torch.tensor([code(name) for name in pool.category])
    difficulty = Difficulty(category, len(names))
    ahead = ThreadPoolExecutor(1)

    def next_batch():
        weights = difficulty.weights()
        return ahead.submit(
            draw_batch, pool, args.batch_size, weights, rngs[0], generators[0], code
        )

    budget, recent, batch = args.minutes * 60, [], next_batch()
    trainer.half.train()
    last = time.monotonic()
    due = trainer.seconds + args.evaluate_every * 60
    while trainer.seconds < budget:
        rate = learning_rate(trainer.seconds / budget, trainer.n_steps, args.rate)
        drawn, batch = batch.result(), next_batch()
        loss, parts, each = batch_loss(
            trainer, tokenizer, drawn, args, rngs[1], generators[1], device
        )
        difficulty.update(drawn[1][0], each)
        trainer.step(loss, rate)
        recent.append(parts)
        now = time.monotonic()
        trainer.seconds += now - last
        last = now
        if trainer.n_steps % 50 == 0:
            contrast, state, transfer, patch = np.mean(recent[-50:], axis=0)
            print(
                f"step {trainer.n_steps} {trainer.seconds:.0f} s rate {rate:.1e} "
                f"contrast {contrast:.3f} state {state:.3f} transfer {transfer:.3f} "
                f"patch {patch:.3f} "
                f"scale {trainer.model.logit_scale.exp():.1f}",
                flush=True,
            )
        if trainer.seconds >= due or trainer.seconds >= budget:
            due += args.evaluate_every * 60
            trainer.save(args.work / "checkpoint.pt")
            write_model(trainer.average, args.out)
            results = evaluate(trainer.average, tokenizer, pools, device)
            print(json.dumps({k: _rounded(v) for k, v in results.items()}), flush=True)


def _rounded(values):
    return {key: round(float(value), 4) for key, value in values.items()}


def write_model(model, folder):
    """Write configuration and half-precision weights as open_clip reads them."""
    held_out = {
        "held_out_categories": painting.HELD_OUT_CATEGORIES,
        "held_out_defects": painting.HELD_OUT_DEFECTS,
    }
    config = {
        "model_cfg": MODEL_CONFIG,
        "preprocess_cfg": PREPROCESS_CONFIG,
        "training": held_out,
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")

    weights = {
        name: tensor.half().contiguous().cpu()
        for name, tensor in model.state_dict().items()
        if name != "attn_mask"
    }
    part = folder / "open_clip_model.part"
    save_file(weights, part)
    part.chmod(0o644)
    part.replace(folder / "open_clip_model.safetensors")


def main():
    """Read the arguments and do it all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("build/tiny"))
    parser.add_argument("--out", type=Path, default=Path("skclipad/tiny"))
    parser.add_argument("--minutes", type=float, default=90, help="training time")
    parser.add_argument("--scenes", type=int, default=60_000)
    parser.add_argument("--batch-size", type=int, default=192)
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument(
        "--weights",
        type=float,
        nargs=4,
        default=(0.5, 1.0, 0.5, 2.0),
        help="of the contrastive, the state and the transfer loss",
    )
    parser.add_argument(
        "--windows",
        type=float,
        default=0.2,
        help="share of steps that see a window of 2 to 5 patches a side alone",
    )
    parser.add_argument("--evaluate-every", type=float, default=6, help="minutes")
    parser.add_argument("--workers", type=int, default=2, help="painting processes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()

    args.out.mkdir(parents=True, exist_ok=True)
    write_vocabulary(args.out / VOCABULARY_FILE)
    tokenizer = WordTokenizer(args.out / VOCABULARY_FILE)
    pool, pools = painting.read_pools(args.work / "pictures", args.scenes, args.workers)
    print({name: len(p) for name, p in {"train": pool, **pools}.items()}, flush=True)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer = Trainer(args.seed, device, args.compile)
    if (args.work / "checkpoint.pt").exists():
        trainer.load(args.work / "checkpoint.pt")
    # On CPUs the fused attention's backward pass is slower than plain products.
    backends = [SDPBackend.MATH] if device.type == "cpu" else list(SDPBackend)[1:4]
    with sdpa_kernel(backends):
        train(trainer, tokenizer, pool, pools, args, device)


if __name__ == "__main__":
    main()
