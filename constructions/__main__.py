"""``python -m constructions`` is the command ``radial``."""

import sys

from constructions.cli import main

if __name__ == "__main__":
    sys.exit(main())
