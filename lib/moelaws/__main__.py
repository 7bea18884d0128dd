"""``python -m moelaws``: the command, where its script is on no path."""

import sys

from moelaws.cli import main

if __name__ == "__main__":
    sys.exit(main())
