"""`python -m bookbuild build|chapter|sync|linkcheck|numbers`."""

import sys

from bookbuild.command import main

if __name__ == "__main__":
    sys.exit(main())
