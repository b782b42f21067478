"""``python -m warren``: the command, where it is not on the PATH."""

import sys

from warren.command import main

if __name__ == "__main__":
    sys.exit(main())
