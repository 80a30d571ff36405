"""A dataset larger than memory, logged from Python as it comes."""

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.integration.memory_limit import MemoryLimit, find_obstacle
from tests.integration.trainings import environment_of

STREAM = """
import sys
import numpy as np
import pyarrow as pa
import modelyard

def make(parts):
    for part in range(parts):
        rng = np.random.default_rng(part)
        columns = {f"x{n}": rng.integers(0, 50, 100_000).astype(float) for n in range(19)}
        split = np.where(np.arange(100_000) % 5, "train", "test")
        yield pa.table({**columns, "price": rng.integers(0, 50, 100_000).astype(float), "split": split})

with modelyard.connect() as session:
    modelyard.log_dataset(session, make(1), name="warm", targets=["price"])
    print("ready", flush=True)
    sys.stdin.readline()
    _, dataset = modelyard.log_dataset(session, make(40), name="streamed", targets=["price"])
    print(dataset.num_rows, flush=True)
"""


def test_a_stream_larger_than_memory_is_logged(stack, stack_settings, tmp_path):
    """4,000,000 rows of 20 doubles, 640 MB, by a process that may take 400 MiB more than it has."""
    if reason := find_obstacle():
        pytest.skip(reason)
    path = Path(sys.executable).parent
    with subprocess.Popen(
        [sys.executable, "-c", STREAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment_of(stack, stack_settings.mlflow_port)
        | {"PATH": str(path), "TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            with MemoryLimit(limit_bytes=400 * 2**20) as limit:
                limit.take_in(process.pid)
                told, _ = process.communicate("go\n", timeout=300)
        finally:
            process.kill()
    assert (process.returncode, told.strip()) == (0, "4000000")
    with psycopg.connect(stack.dsn(stack.person)) as connection:
        query = "SELECT num_rows, num_elements FROM exp.datasets WHERE name = 'streamed'"
        assert connection.execute(query).fetchall() == [(4_000_000, 84_000_000)]
