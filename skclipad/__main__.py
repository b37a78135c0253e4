"""Run the command line: ``python -m skclipad``."""

import sys

from skclipad.cli import main

if __name__ == "__main__":
    sys.exit(main())
