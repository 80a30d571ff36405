"""Faults at exact points of a job's process, laid down by a test as files; it does nothing in any other process.

Python runs this file when it starts, where its folder is on PYTHONPATH, as in workers that a test has started. For each
attempt that faults await, the folder FAULTS holds a file ``<training>.<kind>.<attempt>``, named after the training's id
or its seed, with lines such as ``kill before modelyard.pipeline.flow:log_dataset``. Where one strikes it leaves
``….struck`` with the ids of this process and its worker. ORDERS names a file that stands in for the module of a job's
orders.
"""

import importlib.util
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

ORDERS = "modelyard.workers.orders"
HOLD_S = 600.0
WORKER = os.getppid()  # of the fork server, whose copies are the jobs' processes


class OrdersFinder:
    """Finds the module of a job's orders once, and changes it when it is there; all else is imported by then."""

    def find_spec(self, name, *_):
        if name != ORDERS:
            return None
        sys.meta_path.remove(self)
        if stand_in := os.environ.get("ORDERS"):
            return importlib.util.spec_from_file_location(ORDERS, stand_in)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def execute_and_watch(module):
            execute(module)
            watch(module)

        spec.loader.exec_module = execute_and_watch
        return spec


def watch(orders):
    """Let each run of an attempt begin with a look for its fault."""
    from points import arm  # beside this file

    from modelyard.store.connections import connect
    from modelyard.store.jobs import get_job

    run = orders.run

    def run_with_fault(config, *, job_id, attempt, output):
        with connect(config.dsn) as connection:
            job = get_job(connection, job_id=job_id)
            training = job if job.parent_job_id is None else get_job(connection, job_id=job.parent_job_id)
        for name in (str(training.job_id), f"seed {training.arguments.get('parameters', {}).get('seed')}"):
            path = Path(os.environ["FAULTS"], f"{name}.{job.kind}.{attempt}")
            for line in path.read_text().splitlines() if path.exists() else ():
                do, when, place = line.split()
                arm(place, when=when, strike=partial(strike, path, do))
        return run(config, job_id=job_id, attempt=attempt, output=output)

    orders.run = run_with_fault


def strike(path, do):
    if do == "pause":
        time.sleep(1)
        return
    unfinished = path.with_suffix(f"{path.suffix}.unfinished")
    unfinished.write_text(f"{os.getpid()} {WORKER}")
    unfinished.rename(f"{path}.struck")
    if do == "fail":
        raise RuntimeError("made to fail")
    if do == "memory-error":
        raise MemoryError("cannot allocate 8 TiB")
    if do == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "kill-worker":
        os.kill(WORKER, signal.SIGKILL)
    give_up_s = time.monotonic() + HOLD_S
    while not Path(f"{path}.released").exists():
        if time.monotonic() > give_up_s:
            raise TimeoutError("nobody has released this fault")
        time.sleep(0.02)
    if do == "eat":
        eaten = []
        while True:
            eaten.append(bytearray(os.urandom(2**16)) * 2**8)


if os.environ.get("FAULTS") and sys.orig_argv[1:3] == ["-m", "modelyard.workers.fork_server"]:
    sys.meta_path.insert(0, OrdersFinder())
