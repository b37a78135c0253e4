"""How long fitting takes while other work keeps a core busy, and what helps.

OpenMP's threads wait for each other with their cores busy, for a while. If a core is
taken, a small product waits for a thread that is not running. The bundled model has
many small products; a real CLIP has large ones, and suffers less::

    python benchmarks/busy_cores.py
    python benchmarks/busy_cores.py --pairs 2000 --repeats 1

Every fit is a process of its own, since OpenMP reads these variables when it is loaded.
The command line sets GOMP_SPINCOUNT=10000 if nothing else is set.
"""

import argparse
import os
import subprocess
import sys
from contextlib import contextmanager
from statistics import median

from _common import describe_machine, print_table

FIT = """
import sys, time
from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
embedder = CLIPImageEmbedder("tiny")
detector = RandomWordCLIPDetector(N_p=100, embedder=embedder, random_state=1).fit()
print(detector.set_params(N_p=int(sys.argv[1]), random_state=0).fit().fit_time_)
"""
SETTINGS = {
    "nothing set": {},
    "GOMP_SPINCOUNT=10000": {"GOMP_SPINCOUNT": "10000"},
    "OMP_NUM_THREADS=1": {"OMP_NUM_THREADS": "1"},
}


def fit_seconds(n_pairs, variables):
    """Fit in a new process and return the seconds that `fit` took."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")}
    command = [sys.executable, "-c", FIT, str(n_pairs)]
    piped = {"env": inherited | variables, "stdout": subprocess.PIPE}
    return float(subprocess.run(command, check=True, **piped).stdout)


@contextmanager
def busy(n_cores):
    """Keep some cores busy."""
    loop = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(loop) for _ in range(n_cores)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()

    describe_machine()

    seconds = {}
    for n_cores in (0, 1):
        with busy(n_cores):
            for _ in range(args.repeats):
                for name, variables in SETTINGS.items():
                    taken = fit_seconds(args.pairs, variables)
                    seconds.setdefault((name, n_cores), []).append(taken)

    print_table(
        ["fit with the bundled model, seconds", "quiet", "one core busy"],
        [[name, *(median(seconds[name, n]) for n in (0, 1))] for name in SETTINGS],
    )


if __name__ == "__main__":
    main()
