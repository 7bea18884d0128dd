"""`python -m bookbuild build|sync|linkcheck|numbers`."""

import sys

from bookbuild.command import main

if __name__ == "__main__":
    sys.exit(main())
