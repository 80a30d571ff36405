"""The Compose stack beside the embedded one: seconds to start and to train, memory, images, MLflow's answers.

    python benchmarks/stack.py [--rounds 3] [--json]

Needs a Docker engine. The images are made before anything is measured; the stack has a project name and ports of its
own and is removed with its volumes at the end, as is the embedded one's folder. Each command is what make runs: the
launcher for Compose, ``modelyard`` of this Python for embedded. Goals: idle the whole Compose stack holds 1.5 GB or
less, the trainer's image 1.2 GB, and MLflow answers five times faster than with its own defaults (four workers on
uvicorn's own loop, as where uvloop is not installed), asked in turns on the same tables. Other work on the same cores
makes every figure worse, so the lowest and the highest of the rounds stand beside the median.
"""

import argparse
import http.client
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from modelyard.workloads.registry import get_workload

ROOT = Path(__file__).parents[1]
WORKLOAD, MODEL = "california_housing", "california_housing_model"
PROJECT = f"modelyard-bench-{os.getpid()}"
UP, UP_AGAIN, UP_RUNNING = "up, no data yet", "up, with data", "up, all is running"
TRAIN_COLD, TRAIN = "make train, no data yet, nothing runs", "make train, all is running"
NB_TRAININGS, NB_CALLS, NB_WARM_UP, IDLE_S = 3, 400, 40, 20
SERVICES = ("postgres", "minio", "mlflow", "trainer", "evaluator")
MEMORY_GOAL_MB, IMAGE_GOALS_MB, SPEED_GOAL = 1500.0, {"trainer": 1200.0}, 5.0
MLFLOW_DEFAULTS = """
import os, pathlib
where = os.environ
os.environ["PGPASSWORD"] = pathlib.Path("/secrets/mlflow.password").read_text().strip()
backend = "postgresql+psycopg2://mlflow@{MODELYARD_DATABASE_HOST}:{MODELYARD_DATABASE_PORT}/{MODELYARD_DATABASE}"
os.execvp("mlflow", ["mlflow", "server", "--host", "0.0.0.0", "--backend-store-uri", backend.format(**where),
    "--default-artifact-root", where["MODELYARD_ARTIFACT_ROOT"], "--workers", "4",
    "--uvicorn-opts", "--loop asyncio --http h11 --log-level warning"])
"""


@dataclass(frozen=True)
class Stack:
    """One of the two stacks: how it is given commands, and how everything it keeps is removed."""

    name: str
    program: list[str]
    environment: dict[str, str]
    home: Path | None = None

    def run(self, *arguments: str) -> tuple[float, str]:
        """Seconds that a command took, and what it printed; it must succeed."""
        began_s = time.perf_counter()
        printed = call([*self.program, *arguments], self.environment)
        return time.perf_counter() - began_s, printed

    def train(self, data: Path) -> tuple[float, Any]:
        """Seconds from the command to the verdict, and the outcome."""
        took_s, printed = self.run("train", WORKLOAD, "--data", str(data), "--json")
        return took_s, json.loads(printed)

    def wipe(self) -> None:
        """Stop it and forget all that it keeps."""
        if self.home is None:
            call(["docker", "compose", "--profile", "cli", "down", "--volumes", "--timeout", "60"], self.environment)
            return
        self.run("down")
        shutil.rmtree(self.home, ignore_errors=True)

    def measure_memory(self) -> dict[str, float]:
        """MB by service: embedded PSS, in containers what their cgroup holds without its file cache."""
        if self.home is None:
            listed = call(["docker", "compose", "ps", "--format", "{{.Name}} {{.Service}}"], self.environment)
            containers = dict(line.split() for line in listed.splitlines())
            command = ["docker", "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}", *containers]
            lines = [line.split() for line in call(command, self.environment).splitlines()]
            return {containers[name]: read_megabytes(used) for name, used, *_ in lines}
        services = json.loads(self.run("status", "--json")[1])["services"]
        return {s["name"].removesuffix("-1"): (s["memory_bytes"] or 0) / 1e6 for s in services}


def call(command: list[str], environment: dict[str, str]) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise SystemExit(f"no figures: {' '.join(command)} ended with {done.returncode}:\n{tail}")
    return done.stdout


def read_megabytes(text: str) -> float:
    """What docker writes as 63.6MiB or 1.2GiB."""
    for unit, size in (("KiB", 2**10), ("MiB", 2**20), ("GiB", 2**30), ("B", 1)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * size / 1e6
    raise ValueError(text)


def measure_round(stack: Stack, data: Path) -> dict[str, float]:
    """Seconds of each way to start and to train, once; ends with everything up."""
    found = {}
    stack.wipe()
    found[UP], _ = stack.run("up")
    stack.train(data)  # the first one makes the dataset
    found[TRAIN] = statistics.median(stack.train(data)[0] for _ in range(NB_TRAININGS))
    found[UP_RUNNING], _ = stack.run("up")
    stack.run("down")
    found[UP_AGAIN], _ = stack.run("up")
    stack.wipe()
    found[TRAIN_COLD], _ = stack.train(data)
    say(f"  {stack.name}: {', '.join(f'{name} {took_s:.1f} s' for name, took_s in found.items())}")
    return found


def measure_images(compose: Stack) -> dict[str, float]:
    """MB of each image, with the layers that several share counted in each."""
    tag = os.environ.get("MODELYARD_TAG") or "local"
    inspect = ["docker", "image", "inspect", "--format", "{{.Size}}"]
    return {
        name: int(call([*inspect, f"modelyard/{name}:{tag}"], compose.environment)) / 1e6 for name in (*SERVICES, "cli")
    }


def measure_answers(compose: Stack, run_id: str) -> dict[str, dict[str, list[float]]]:
    """Milliseconds of each call on a connection that stays open: of our server, and of one with MLflow's defaults.

    An answer that fills a packet of the containers' network is not held back, so a run is asked for in two sizes.
    """
    port = int(compose.environment["MODELYARD_MLFLOW_PORT"])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    kind = {"Content-Type": "application/json"}
    connection.request("POST", "/api/2.0/mlflow/runs/create", '{"experiment_id": "0"}', kind)
    new_id = json.load(connection.getresponse())["run"]["info"]["run_id"]
    paths = {
        "/health": "/health",
        "runs/get, nothing logged": f"/api/2.0/mlflow/runs/get?run_id={new_id}",
        "runs/get, a training": f"/api/2.0/mlflow/runs/get?run_id={run_id}",
        "alias lookup": f"/api/2.0/mlflow/registered-models/alias?name={MODEL}&alias=candidate",
    }
    with serve_defaults(compose) as their_port:
        servers = {"ours": port, "defaults": their_port}
        open_ones = {name: http.client.HTTPConnection("127.0.0.1", port, timeout=60) for name, port in servers.items()}
        took_ms: dict[str, dict[str, list[float]]] = {call: {name: [] for name in servers} for call in paths}
        for turn in range(NB_WARM_UP + NB_CALLS):
            for called, path in paths.items():
                for name, connection in open_ones.items():
                    took = ask_ms(connection, path)
                    if turn >= NB_WARM_UP:
                        took_ms[called][name].append(took)
        return took_ms


def ask_ms(connection: http.client.HTTPConnection, path: str) -> float:
    """Milliseconds until the whole answer is there; it must be 200."""
    began_s = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200:
        raise SystemExit(f"no figures: {path} was answered with {answer.status}")
    return (time.perf_counter() - began_s) * 1000


@contextmanager
def serve_defaults(compose: Stack) -> Iterator[int]:
    """A second server of the same image on the same tables, as `mlflow server` starts it; yields its port."""
    port, name = find_port(), f"{PROJECT}-defaults"
    command = ["docker", "compose", "run", "--detach", "--rm", "--no-deps", "--name", name]
    command += ["--publish", f"127.0.0.1:{port}:5000", "--env", f"MLFLOW_SERVER_ALLOWED_HOSTS=127.0.0.1:{port}"]
    call([*command, "mlflow", "python", "-c", MLFLOW_DEFAULTS], compose.environment)
    try:
        give_up_s = time.monotonic() + 120
        while True:
            try:
                ask_ms(http.client.HTTPConnection("127.0.0.1", port, timeout=5), "/health")
                break
            except (OSError, http.client.HTTPException):
                if time.monotonic() > give_up_s:
                    raise SystemExit("no figures: the server with MLflow's defaults does not answer") from None
                time.sleep(0.5)
        yield port
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True)


def find_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def opened() -> Iterator[tuple[Stack, Stack, Path]]:
    """Both stacks, of their own and gone afterwards, and a file to train on."""
    with tempfile.TemporaryDirectory(prefix="modelyard-bench-") as name, ExitStack() as ended:
        folder = Path(name)
        folder.chmod(0o711)  # as root PostgreSQL runs as another user
        ours = ("MODELYARD_", "MLFLOW_", "PG")
        plain = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        home = folder / "home"
        embedded = plain | {"MODELYARD_HOME": str(home), "MODELYARD_MLFLOW_PORT": str(find_port())}
        # what a build needs stays
        ports = ("MODELYARD_MLFLOW_PORT", "MODELYARD_S3_PORT", "MODELYARD_CONSOLE_PORT")
        compose = dict(os.environ) | {"COMPOSE_PROJECT_NAME": PROJECT, "MODELYARD_STACK": "compose"}
        compose |= {name: str(find_port()) for name in ports}
        stacks = (
            Stack("compose", ["sh", "infra/launch.sh"], compose),
            Stack("embedded", [sys.executable, "-m", "modelyard"], embedded, home),
        )
        for stack in stacks:
            ended.callback(stack.wipe)
        yield *stacks, Path(get_workload(WORKLOAD).sample(folder)[0])


def say(text: str) -> None:
    """Show progress where it does not mix with the table."""
    print(text, file=sys.stderr, flush=True)


def print_tables(figures: dict[str, Any]) -> None:
    """For people: each figure with the others that it is compared with."""
    print(f"\n{figures['where']}")
    print(f"{'seconds':40}{'compose':>9}{'lowest':>8}{'highest':>8}{'embedded':>10}{'lowest':>8}{'highest':>8}{'×':>7}")
    for name in (UP, UP_AGAIN, UP_RUNNING, TRAIN_COLD, TRAIN):
        compose, embedded = ([found[name] for found in figures["seconds"][s]] for s in ("compose", "embedded"))
        middle, beside = statistics.median(compose), statistics.median(embedded)
        print(f"{name:40}{middle:>9.2f}{min(compose):>8.2f}{max(compose):>8.2f}", end="")
        print(f"{beside:>10.2f}{min(embedded):>8.2f}{max(embedded):>8.2f}{middle / beside:>7.2f}")
    print(f"\n{'idle memory, MB':40}{'compose':>9}{'embedded':>10}{'×':>7}{'goal':>8}{'of goal':>9}")
    memory = figures["memory"]
    for name in [*SERVICES, *sorted(set(memory["embedded"]) - set(SERVICES))]:
        compose, embedded = (memory[s].get(name) for s in ("compose", "embedded"))
        ratio = f"{compose / embedded:.2f}" if compose and embedded else ""
        print(f"{name:40}{compose or 0:>9.0f}{embedded or 0:>10.0f}{ratio:>7}")
    compose, embedded = (sum(memory[s].values()) for s in ("compose", "embedded"))
    print(f"{'all':40}{compose:>9.0f}{embedded:>10.0f}{compose / embedded:>7.2f}", end="")
    print(f"{MEMORY_GOAL_MB:>8.0f}{compose / MEMORY_GOAL_MB:>9.2f}")
    print(f"\n{'image, MB':40}{'size':>9}{'goal':>8}{'of goal':>9}")
    for name, size in figures["images"].items():
        goal = IMAGE_GOALS_MB.get(name)
        print(f"{name:40}{size:>9.0f}" + (f"{goal:>8.0f}{size / goal:>9.2f}" if goal else ""))
    print(
        f"\n{'MLflow, ms':40}{'ours p50':>9}{'p99':>8}{'defaults p50':>14}{'p99':>8}{'× p50':>8}{'× p99':>8}{'goal':>6}"
    )
    for name, took_ms in figures["answers"].items():
        p50, their_p50 = (statistics.median(took_ms[server]) for server in ("ours", "defaults"))
        p99, their_p99 = (statistics.quantiles(took_ms[server], n=100)[98] for server in ("ours", "defaults"))
        print(f"{name:40}{p50:>9.1f}{p99:>8.1f}{their_p50:>14.1f}{their_p99:>8.1f}", end="")
        print(f"{their_p50 / p50:>8.1f}{their_p99 / p99:>8.1f}{SPEED_GOAL:>6.0f}")


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each start and training is timed")
    parser.add_argument("--json", action="store_true", help="print JSON on stdout")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that both stacks are removed
    figures: dict[str, Any] = {"seconds": {"compose": [], "embedded": []}, "memory": {}}
    busy = []
    with opened() as (compose, embedded, data):
        say("making the images where they are not made from these files")
        compose.run("images")
        for stack in (compose, embedded):  # one at a time, or each would slow the other
            for number in range(1, asked.rounds + 1):
                busy.append(psutil.cpu_percent(interval=3))
                say(f"{stack.name}, round {number} of {asked.rounds}; {busy[-1]:.0f} % of the cores are busy")
                figures["seconds"][stack.name].append(measure_round(stack, data))
            time.sleep(IDLE_S)
            figures["memory"][stack.name] = stack.measure_memory()
            if stack is compose:
                say("MLflow's answers")
                figures["answers"] = measure_answers(compose, stack.train(data)[1]["training"]["run_id"])
            stack.wipe()
        figures["images"] = measure_images(compose)
        engine = call(["docker", "version", "--format", "{{.Server.Version}}"], compose.environment).strip()
    load = f"{min(busy):.0f} to {max(busy):.0f} % busy with other work"
    figures["where"] = f"{asked.rounds} rounds, {os.cpu_count()} cores, {load}; Docker Engine {engine}"
    if asked.json:
        json.dump(figures, sys.stdout, indent=2)
    else:
        print_tables(figures)


if __name__ == "__main__":
    main()
