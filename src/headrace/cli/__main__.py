"""``python -m headrace.cli``."""

import sys

from headrace.cli import main

if __name__ == "__main__":  # processes of our own import this module again
    sys.exit(main())
