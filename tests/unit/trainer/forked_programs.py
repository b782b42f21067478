"""What forks of the tests run: the first argument says what."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time

import numpy as np

PRELOADED = ("numpy", "trainer.no_such_module")


def main(arguments: list[str]) -> int:
    what, *rest = arguments
    if what == "say":
        sys.stdout.write(f"{os.getpid()} {os.getppid()} {os.nice(0)} {os.getsid(0)} {' '.join(rest)}\n")
        sys.stderr.write("in passing\n")
    if what == "draw":
        sys.stdout.write(f"{np.random.random()} {random.random()} {threading.active_count()}\n")
    if what == "fail":
        raise ValueError("as asked")
    if what == "exit":
        sys.exit(int(rest[0]))
    if what == "stay":
        own = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
        sys.stdout.write(f"{os.getpid()} {own.pid}\n")
        sys.stdout.flush()
        time.sleep(300)
    return 0
