"""What the scripts of this folder share: turns, medians, tables, the machine."""

import os
import platform
from importlib.metadata import version
from math import prod
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from torch.utils.flop_counter import FlopCounterMode

PACKAGES = ("skclipad", "torch", "open_clip_torch", "scikit-learn", "numpy")


def describe_machine():
    """Print processor, threads, GPU and versions, as every table needs them."""
    print(f"{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        print(torch.cuda.get_device_name())
    versions = [f"{package} {_version(package)}" for package in PACKAGES]
    print(", ".join([f"python {platform.python_version()}", *versions]), end="\n\n")


def _processor():
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    lines = [line for line in info.read_text().splitlines() if "model name" in line]
    return lines[0].split(":")[1].strip() if lines else platform.machine()


def _version(package):
    try:
        return version(package)
    except ImportError:  # a checkout that is on the path but not installed
        return "(not installed)"


def seconds(function, clock=perf_counter):
    """Time one call."""
    start = clock()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock() - start


def take_turns(contenders, repeats, clock=perf_counter):
    """Time contenders by turns, so that what else the machine does hits all alike.

    Parameters
    ----------
    contenders : dict of str to callable
        What to time, already warm.
    repeats : int
        Turns of each.
    clock : callable, default=time.perf_counter
        Tells the time; `time.process_time` leaves out what others compute.

    Returns
    -------
    dict of str to list of float
        Seconds of each turn.
    """
    taken = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, function in contenders.items():
            taken[name].append(seconds(function, clock))
    return taken


def median_ratio(baseline, taken):
    """Return how many times faster, as the median over the turns."""
    return median(b / t for b, t in zip(baseline, taken, strict=True))


def print_table(header, rows):
    """Print rows of strings and numbers under a header, columns aligned."""
    cells = [[_cell(value) for value in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for i, row in enumerate(cells):
        first, *others = (
            cell.ljust(width) if j == 0 else cell.rjust(width)
            for j, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *others]).rstrip())
        if i == 0:
            print("  ".join("-" * width for width in widths))
    print()


def _cell(value):
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def block_products(n_tokens, width, *, dtype=torch.float32, device="cpu"):
    """Return the matrix products of one transformer block, and what they compute.

    Parameters
    ----------
    n_tokens : int
        Tokens in a batch.
    width : int
        Width of the transformer; its MLP is four times as wide.

    Returns
    -------
    run : callable
        Does the four products once, with `torch.mm`.
    flop : int
        Floating-point operations of a run.
    """
    shapes = [
        (width, 3 * width),
        (width, width),
        (width, 4 * width),
        (4 * width, width),
    ]
    made = {"dtype": dtype, "device": device}
    operands = [
        (
            torch.randn(n_tokens, k, **made),
            torch.randn(m, k, **made).t(),  # as a linear layer keeps its weight
            torch.empty(n_tokens, m, **made),
        )
        for k, m in shapes
    ]

    def run():
        for x, weight, out in operands:
            torch.mm(x, weight, out=out)

    return run, sum(2 * n_tokens * k * m for k, m in shapes)


def count_flop(function):
    """Call a function and count the operations of its matrix products.

    Parameters
    ----------
    function : callable
        Takes nothing; computes with torch in this thread.

    Returns
    -------
    int
        Floating-point operations.
    """
    # The counter has no entries for products added in place, for those of 8 bits, nor
    # for attention on a CPU.
    aten = torch.ops.aten
    counted = {aten.addmm_: _added_product_flop, aten._int_mm: _product_flop}
    counted[aten._scaled_dot_product_flash_attention_for_cpu] = _attention_flop
    with FlopCounterMode(display=False, custom_mapping=counted) as counter:
        function()
    return counter.get_total_flops()


def _added_product_flop(added_to, left, right, **kwargs):
    return _product_flop(left, right)


def _product_flop(left, right, **kwargs):
    return 2 * left[0] * left[1] * right[1]


def _attention_flop(queries, keys, values, *args, **kwargs):
    *batch, n, width = queries
    return 2 * prod(batch) * n * keys[-2] * (width + values[-1])
