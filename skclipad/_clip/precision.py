"""Number formats of a model, and what this machine's processor has for them."""

import platform
from pathlib import Path

import torch

PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")

FAST_BF16 = ("amx_bf16", "avx512_bf16")
"""What processors call their units for products in bfloat16, best first."""

FAST_INT8 = ("amx_int8", "avx512_vnni", "avx_vnni")
"""The same for products of 8 bits."""

CPUINFO = Path("/proc/cpuinfo")
"""Where Linux tells of its processor."""


def resolve_precision(precision, device):
    """Turn "auto" into the number format of a device, and refuse what it has not.

    Parameters
    ----------
    precision : str
        One of `PRECISIONS`.
    device : torch.device
        Where the model runs.

    Returns
    -------
    str
        "auto" is fp16 on CUDA and fp32 elsewhere, whatever a CPU is fast at: nothing
        changes scores without being asked.

    Raises
    ------
    ValueError
        If it is int8, and the device no CPU.
    """
    if precision == "auto":
        return "fp16" if device.type == "cuda" else "fp32"
    if precision == "int8" and device.type != "cpu":
        raise ValueError(
            f"Got precision='int8' on the device {str(device)!r}, but expected a CPU: "
            "8 bits are for processors. Set precision='fp16' there, or device='cpu'."
        )
    return precision


def cpu_units():
    """Return which units for products in fewer bits the processor has.

    Returns
    -------
    tuple of str or None
        Those of `FAST_BF16` and `FAST_INT8` that it has; None where neither the system
        nor torch tells.
    """
    words = _flags_of_linux() or _flags_of_torch()
    if not words:
        return None
    return tuple(name for name in (*FAST_BF16, *FAST_INT8) if name in words)


def cpu_name():
    """Return what the processor is called."""
    for line in _cpuinfo():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cpuinfo():
    if not CPUINFO.exists():
        return []
    return CPUINFO.read_text(errors="replace").splitlines()


def _flags_of_linux():
    for line in _cpuinfo():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()


def _flags_of_torch():
    # Older releases have no such function. What it lists is True, False or a number.
    told = getattr(torch.cpu, "get_capabilities", dict)()
    return {name for name, value in told.items() if value is True}
