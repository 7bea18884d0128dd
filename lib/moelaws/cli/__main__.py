import sys

from moelaws.cli import main

sys.exit(main())
