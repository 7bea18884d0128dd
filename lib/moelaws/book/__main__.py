"""`python -m moelaws.book build|sync|linkcheck`: the same commands as `moelaws book ...`."""

import sys

from moelaws.book.command import main

if __name__ == "__main__":
    sys.exit(main())
