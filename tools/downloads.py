"""Say what the first set-up of `make` will download, and how large it is.

    python tools/downloads.py demo
    python tools/downloads.py test --index https://download.pytorch.org/whl/cpu

`make` runs this before pip. Sizes are those of the files that pip fetches, in GB.
"""

import argparse
import platform
import shutil

CPU_INDEX = "https://download.pytorch.org/whl/cpu"  # as pytorch.org says for "CPU"
WITH_CUDA, ON_DISK_WITH_CUDA = 3.1, 6.0
WITHOUT, ON_DISK_WITHOUT = 0.3, 1.3
TESTS, TESTS_ON_DISK = 0.3, 0.6  # what the tests need beside


def announcement(target, index, system, has_gpu):
    """Return the lines to print.

    Parameters
    ----------
    target : str
        What is made: "demo" or "test".
    index : str
        Where torch and torchvision are to come from; empty for where all comes from.
    system : str
        As `platform.system` names it. On Linux alone torch brings CUDA unless told
        otherwise.
    has_gpu : bool
        Whether the machine has an NVIDIA GPU.
    """
    brings_cuda = system == "Linux" and not index
    download = WITH_CUDA if brings_cuda else WITHOUT
    on_disk = ON_DISK_WITH_CUDA if brings_cuda else ON_DISK_WITHOUT
    if target == "test":
        download, on_disk = download + TESTS, on_disk + TESTS_ON_DISK
    source = f" from {index}" if index else ""
    what = "torch with CUDA" if brings_cuda else "torch"
    lines = [
        f"make {target}: the first set-up downloads {what}{source} and what else is "
        f"needed, about {download:.1f} GB ({on_disk:.1f} GB on disk), into .venv"
    ]
    if brings_cuda and not has_gpu:
        less = WITHOUT + (TESTS if target == "test" else 0)
        lines += [
            f"This machine shows no NVIDIA GPU. Without CUDA it is {less:.1f} GB: "
            f"press Ctrl-C and run `make {target} TORCH_INDEX={CPU_INDEX}`"
        ]
    return lines


def main():
    """Print the announcement for this machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target")
    parser.add_argument("--index", default="")
    args = parser.parse_args()
    has_gpu = shutil.which("nvidia-smi") is not None
    print(*announcement(args.target, args.index, platform.system(), has_gpu), sep="\n")


if __name__ == "__main__":
    main()
