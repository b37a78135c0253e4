"""Print the oldest versions that setup.cfg allows, as requirements for pip.

    python tools/oldest.py > oldest.txt && pip install -r oldest.txt --editable .

Of each lower bound the newest patch: ``numpy>=1.26`` becomes ``numpy==1.26.*``. The
tools that run the tests (pytest, ruff, hypothesis ...) are no part of the package and
stay as they are.
"""

import configparser
import re
from pathlib import Path

PATTERN = r"([\w.\-\[\],]+?)>=([\d.]+)(?:,<[\d.]+)?"
SETUP = Path(__file__).parent.parent / "setup.cfg"
TOOLS = {
    *("hypothesis", "numpydoc", "pytest", "pytest-cov", "pytest-xdist", "ruff"),
    "selenium",
}


def oldest(requirements):
    """Return requirements as they are to be installed: pinned, but for the tools."""
    pinned = []
    for requirement in requirements:
        name, bound = re.fullmatch(PATTERN, requirement).groups()
        pinned.append(requirement if name in TOOLS else f"{name}=={bound}.*")
    return pinned


def main():
    """Read setup.cfg and print."""
    config = configparser.ConfigParser()
    config.read(SETUP)
    lines = config["options"]["install_requires"].split("\n")
    lines += config["options.extras_require"]["test"].split("\n")
    print("\n".join(oldest(filter(None, map(str.strip, lines)))))


if __name__ == "__main__":
    main()
