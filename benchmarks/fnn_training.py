"""Training of the network, against the same network under ``torch.optim.AdamW``.

20,000 texts of the default's width, two epochs, the detector's default sizes. The
first training of a process is timed too, in a process of its own: there torch's
optimizer also imports torch's compiler::

    python benchmarks/fnn_training.py
"""

import argparse
import subprocess
import sys
from statistics import median
from time import perf_counter

import numpy as np
import torch
from _common import describe_machine, median_ratio, print_table, take_turns

from skclipad import RandomWordCLIPDetector
from skclipad._method import network as network_module
from skclipad._method.network import train_network

NAMES = ("hidden_layer_sizes", "dropout", "n_epochs", "batch_size", "learning_rate")
NAMES += ("weight_decay", "lr_decay")


class TorchAdamW:
    """torch's own optimizer in the place of the package's."""

    def __init__(self, parameters, weight_decay):
        self.optimizer = torch.optim.AdamW(parameters, weight_decay=weight_decay)

    def step(self, learning_rate):
        """Move the parameters and forget the gradients."""
        self.optimizer.param_groups[0]["lr"] = learning_rate
        self.optimizer.step()
        self.optimizer.zero_grad()


def trainer(optimizer, n_texts, width):
    """Return a function that trains with an optimizer on random embeddings."""
    pairs = np.random.default_rng(0).standard_normal(
        (2, n_texts // 2, width), dtype=np.float32
    )
    detector = RandomWordCLIPDetector()
    setting = {name: getattr(detector, name) for name in NAMES}

    def train():
        network_module.AdamW = optimizer
        return train_network(*pairs, seed=0, **setting)

    return train


OPTIMIZERS = {"torch.optim.AdamW": TorchAdamW, "skclipad": network_module.AdamW}


def first_training(name, args):
    """Time the first training of a new process."""
    command = [sys.executable, __file__, "--first", name]
    command += ["--texts", str(args.texts), "--width", str(args.width)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--first", help=argparse.SUPPRESS)
    args = parser.parse_args()

    if args.first:
        train = trainer(OPTIMIZERS[args.first], args.texts, args.width)
        start = perf_counter()
        train()
        print(perf_counter() - start)
        return

    describe_machine()
    train = {
        name: trainer(optimizer, args.texts, args.width)
        for name, optimizer in OPTIMIZERS.items()
    }
    losses = {name: run().loss_curve for name, run in train.items()}
    taken = take_turns(train, args.repeats)

    first = {
        name: [first_training(name, args) for _ in range(args.repeats)]
        for name in train
    }

    print(
        f"{args.texts} x {args.width}, {len(losses['skclipad'])} steps, "
        f"medians of {args.repeats} turns"
    )
    baseline = "torch.optim.AdamW"
    print_table(
        ["", "seconds", "times torch.optim", "first of a process", "times torch.optim"],
        [
            [
                name,
                median(taken[name]),
                f"{median_ratio(taken[baseline], taken[name]):.2f}",
                median(first[name]),
                f"{median_ratio(first[baseline], first[name]):.2f}",
            ]
            for name in train
        ],
    )

    apart = np.abs(np.subtract(*losses.values())).max()
    print(f"largest difference of the losses: {apart:.1e}")


if __name__ == "__main__":
    main()
