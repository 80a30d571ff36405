"""A fork server with next to no imports: its processes do what the order says, and need no stack."""

import os
import random
import subprocess
import sys
import time

import numpy as np

from modelyard.workers.fork_server import follow_orders


def run(order):
    """Say who this is, start a process of its own where asked, wait, and end with the code that was ordered."""
    print(os.getpid(), os.getppid(), os.environ["TMPDIR"], random.random(), np.random.random(), flush=True)
    if order.get("starts"):
        print(subprocess.Popen(["sleep", "600"]).pid, flush=True)
    time.sleep(order.get("wait_s", 0))
    return order.get("code", 0)


if __name__ == "__main__":
    sys.exit(follow_orders(run, forks=True))
