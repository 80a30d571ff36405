"""Queued jobs beside the same work without the queue: time to start, overhead, jobs per second, memory, in one run.

    python benchmarks/jobs.py [--rounds 3] [--json]

Starts an embedded stack in a temporary folder, measures on it with real jobs on made-up data, stops it, and prints one
table. Goals: a job starts within 20 ms (p50) of being asked for; a queued training takes less than 2 s longer than
``--inline``; an idle worker holds 120 MB or less. Other work on the same cores makes every figure worse, so the lowest
and the highest of the rounds stand beside the median. This file is not called ``queue``: every script of its folder
would then import it in place of Python's own.
"""

import argparse
import json
import os
import queue
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count, pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil

from modelyard.pipeline.raw import LocatedData, RawData, hash_raw, store_raw
from modelyard.pipeline.request import build_request
from modelyard.settings import Settings
from modelyard.stack import embedded
from modelyard.stack.addresses import Addresses
from modelyard.store.attempts import begin_attempt, finish_attempt, list_attempts, report_progress
from modelyard.store.connections import Connection, connect, find_value
from modelyard.store.following import count_workers, follow_job
from modelyard.store.jobs import cancel_job, submit_job
from modelyard.workloads.registry import get_workload

WORKLOAD = "california_housing"
START, OVERHEAD = "queue to start, p50 (ms)", "queued training over --inline (s)"
NB_STARTS, NB_REPORTS, NB_PAIRS, NB_JOBS_A_TRAINER = 35, 300, 5, 12  # a round; the last takes over 30 s
PHASES = (
    "whole command, median",
    "  until the job is on record",
    "  until the training begins",
    "  until the training reports",
    "  until the training ends",
    "  until the evaluation begins",
    "  until the evaluation reports",
    "  until the evaluation ends",
    "  until the command ends",
)
GOALS = {START: 20.0, OVERHEAD: 2.0, "trainer, idle (MB)": 120.0, "evaluator, idle (MB)": 120.0}
Pair = tuple[list[float], list[float]]  # a queued training and an inline one: seconds of PHASES


@dataclass
class Bench:
    """A running stack with the sample in its raw store; whoever runs this asks, and looks at the queue as trainer."""

    settings: Settings
    addresses: Addresses
    sample: Path
    raw: RawData
    person: Connection
    trainer: Connection
    seeds: Iterator[int] = field(default_factory=lambda: count(1))

    def submit(self, *, seed: int, inline: bool = False) -> tuple[UUID, datetime]:
        """Ask for the processing of the sample; return the job's id and the database's time just before."""
        arguments = build_request(WORKLOAD, values={"seed": seed}).arguments(self.raw)
        with self.person.transaction():
            asked_at = find_value(self.person, "SELECT clock_timestamp()")
            return submit_job(self.person, kind="process", arguments=arguments, inline=inline), asked_at

    def wait_idle(self, at_work: Callable[[], object] = lambda: None) -> None:
        """Return when nothing is left to do and every trainer listens again."""
        busy = """
            SELECT EXISTS (SELECT FROM exp.jobs WHERE finished_at IS NULL)
                OR EXISTS (SELECT FROM queue.procrastinate_jobs WHERE status = 'doing' OR queue_name = 'trainer')
        """
        while find_value(self.trainer, busy):
            at_work()
            time.sleep(0.05)
        time.sleep(random.uniform(0.2, 0.5))  # no figure may depend on when the workers look by themselves

    def list_done(self, since: datetime) -> list[Any]:
        """The jobs that were asked for since then, first to last; each must have succeeded at its first attempt."""
        query = "SELECT * FROM exp.job_states WHERE created_at > %s ORDER BY created_at"
        jobs = self.person.execute(query, [since]).fetchall()
        for job in jobs:
            if (job["state"], job["attempt"]) != ("succeeded", 1):
                tried = list_attempts(self.person, job_id=job["job_id"])
                raise SystemExit(f"no figures: a {job['kind']} job {job['state']} after {tried}")
        return jobs

    def set_trainers(self, trainers: int) -> None:
        """Have so many trainers, all of them idle."""
        embedded.up(self.settings, say, trainers=trainers)
        while count_workers(self.trainer, role="trainer") != trainers:
            time.sleep(0.1)
        time.sleep(2)  # by then a new one listens to its queue


def measure_starts(bench: Bench) -> list[float]:
    """Milliseconds from just before ``submit_job`` to the attempt's start, both by the database's clock.

    The job processes the sample that is on record already: real from beginning to end, and soon over. What it does
    after its start is not in the figure, and the next one is asked for when the trainer is idle again.
    """
    took_ms = []
    for _ in range(NB_STARTS):
        bench.wait_idle()
        _, asked_at = bench.submit(seed=0)
        bench.wait_idle()
        [job] = bench.list_done(asked_at)
        took_ms.append((job["started_at"] - asked_at) / timedelta(milliseconds=1))
    return took_ms


def measure_reports(bench: Bench) -> list[float]:
    """Milliseconds from just before ``report_progress`` until a follower has the job with that progress in hand."""
    job_id, _ = bench.submit(seed=next(bench.seeds), inline=True)  # no worker takes it
    number = begin_attempt(bench.trainer, job_id=job_id, worker="benchmark", claim_s=3600, inline=True)
    assert number is not None
    seen: queue.SimpleQueue[tuple[str, float]] = queue.SimpleQueue()

    def follow() -> None:
        for job in follow_job(bench.addresses.dsn(bench.addresses.person), job_id=job_id):
            seen.put((job.progress_message if job else "", time.perf_counter()))

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    seen.get()  # it listens
    took_ms = []
    for report in range(NB_REPORTS):
        share, message, sent_at_s = report / NB_REPORTS, str(report), time.perf_counter()
        report_progress(bench.trainer, job_id=job_id, attempt=number, step="step", share=share, message=message)
        while (told := seen.get())[0] != message:
            continue
        took_ms.append((told[1] - sent_at_s) * 1000)
        time.sleep(0.01)
    cancel_job(bench.person, job_id=job_id)
    finish_attempt(bench.trainer, job_id=job_id, attempt=number, state="interrupted")
    follower.join()
    return took_ms


def time_training(bench: Bench, *, inline: bool) -> list[float]:
    """Seconds of a whole ``modelyard train`` on the sample, and of each of ``PHASES`` as the rows tell them."""
    bench.wait_idle()
    progress = "SELECT job_id, progressed_at FROM exp.attempts WHERE state = 'running' AND progress_step <> ''"
    command = [sys.executable, "-m", "modelyard", "train", WORKLOAD, "--data", str(bench.sample)]
    command += ["--inline"] if inline else []
    environment = os.environ | {"MODELYARD_HOME": str(bench.addresses.home)}
    log = bench.sample.with_name("output.txt")
    first_progress: dict[UUID, datetime] = {}
    with log.open("wb") as output:
        began_at, began_s = find_value(bench.person, "SELECT clock_timestamp()"), time.perf_counter()
        process = subprocess.Popen(command, cwd=log.parent, env=environment, stdout=output, stderr=output)
        while process.poll() is None:
            for row in bench.trainer.execute(progress).fetchall():  # a row keeps only the last time
                first_progress.setdefault(row["job_id"], row["progressed_at"])
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
        took_s = time.perf_counter() - began_s
    if process.returncode != 0:
        raise SystemExit(f"no figures: {' '.join(command)} ended with {process.returncode}:\n{log.read_text()}")
    jobs = bench.list_done(began_at)
    moments = [began_at, jobs[0]["created_at"]]
    for job in jobs:
        moments += [job["started_at"], first_progress[job["job_id"]], job["finished_at"]]
    moments.append(began_at + timedelta(seconds=took_s))
    return [took_s, *((end - start).total_seconds() for start, end in pairwise(moments))]


def measure_rate(bench: Bench, *, trainers: int) -> float:
    """Jobs per second: each processes the sample with another seed, and so logs another dataset."""
    bench.set_trainers(trainers)
    bench.wait_idle()
    asked = [bench.submit(seed=next(bench.seeds)) for _ in range(NB_JOBS_A_TRAINER * trainers)]
    bench.wait_idle()
    jobs = bench.list_done(asked[0][1])
    return len(jobs) / float((max(job["finished_at"] for job in jobs) - asked[0][1]).total_seconds())


def measure_memory(bench: Bench) -> dict[str, float]:
    """MB of each worker with the processes of its jobs (PSS: a page that n processes share counts as 1/n)."""
    return {service.name: (service.memory_bytes or 0) / 1e6 for service in embedded.status(bench.settings).services}


def measure_idle(bench: Bench) -> dict[str, float]:
    """What workers hold before they have done anything, and after some jobs."""
    say("memory, before and after ten jobs")
    before, at_work = measure_memory(bench), []
    for _ in range(10):  # the first one logs the sample, which all others of this seed find
        bench.submit(seed=0)
        bench.wait_idle(lambda: at_work.append(measure_memory(bench)["trainer-1"]))
    return {
        "supervisor (MB)": before["supervisor"],
        "evaluator, idle (MB)": before["evaluator-1"],
        "trainer, idle (MB)": before["trainer-1"],
        "trainer with a job's process, at most (MB)": max(at_work),
        "trainer, idle after ten jobs (MB)": measure_memory(bench)["trainer-1"],
    }


def measure_round(bench: Bench, starts_ms: list[float], pairs: list[Pair]) -> dict[str, float]:
    """One of everything that is repeated; the samples themselves are added to the lists."""
    starts, reports = measure_starts(bench), measure_reports(bench)
    starts_ms += starts
    say(f"  to start: p50 of {len(starts)} jobs {statistics.median(starts):.1f} ms")
    trainings = [(time_training(bench, inline=False), time_training(bench, inline=True)) for _ in range(NB_PAIRS)]
    pairs += trainings
    say(f"  trainings, queued and inline: {', '.join(f'{q[0]:.2f} s and {i[0]:.2f} s' for q, i in trainings)}")
    rates = {trainers: measure_rate(bench, trainers=trainers) for trainers in (1, 2)}
    say(f"  jobs per second, 1 and 2 trainers: {rates[1]:.2f} and {rates[2]:.2f}")
    bench.set_trainers(1)
    return {
        START: statistics.median(starts),
        "report to follower, p50 (ms)": statistics.median(reports),
        "report to follower, p99 (ms)": statistics.quantiles(reports, n=100)[98],
        OVERHEAD: statistics.median(queued[0] - inline[0] for queued, inline in trainings),
        "queued training / --inline": statistics.median(queued[0] / inline[0] for queued, inline in trainings),
        "jobs per second, 1 trainer": rates[1],
        "jobs per second, 2 trainers": rates[2],
        "2 trainers / 1 trainer": rates[2] / rates[1],
    }


@contextmanager
def opened() -> Iterator[Bench]:
    """A stack of its own, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="modelyard-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o711)  # as root PostgreSQL runs as another user
        settings = Settings(_env_file=None, home=folder / "home", data_dir=folder / "data")
        stack.callback(embedded.down, settings, say)
        addresses = embedded.up(settings, say, trainers=1)
        files = tuple(get_workload(WORKLOAD).sample(folder))
        raw = hash_raw(LocatedData(files=files, source="file_path", why="the sample"))
        person, trainer = (stack.enter_context(connect(addresses.dsn(r))) for r in (addresses.person, "trainer"))
        bench = Bench(settings, addresses, files[0], store_raw(raw, raw_uri=addresses.raw_uri), person, trainer)
        bench.set_trainers(1)
        yield bench


def say(text: str) -> None:
    """Show progress where it does not mix with the table."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each figure is measured, four minutes each")
    parser.add_argument("--json", action="store_true", help="print JSON on stdout")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the stack is stopped
    for name in [name for name in os.environ if name.startswith(("MODELYARD_", "MLFLOW_", "PG"))]:
        del os.environ[name]
    starts_ms: list[float] = []
    pairs: list[Pair] = []
    busy, rounds = [], []
    with opened() as bench:
        once = measure_idle(bench)
        time_training(bench, inline=True)  # a first time takes longer
        for number in range(1, asked.rounds + 1):
            busy.append(psutil.cpu_percent(interval=3))
            say(f"round {number} of {asked.rounds}; beside an idle stack {busy[-1]:.0f} % of the cores are busy")
            rounds.append(measure_round(bench, starts_ms, pairs))
        version = find_value(bench.person, "SHOW server_version")
    figures = {name: [found[name] for found in rounds] for name in rounds[0]} | {n: [v] for n, v in once.items()}
    figures[f"queue to start, p99 of all {len(starts_ms)} (ms)"] = [statistics.quantiles(starts_ms, n=100)[98]]
    phases = {"whole command, fastest": [min(pair[way][0] for pair in pairs) for way in (0, 1)]}
    phases |= {n: [statistics.median(pair[way][i] for pair in pairs) for way in (0, 1)] for i, n in enumerate(PHASES)}
    where = f"{os.cpu_count()} cores, {min(busy):.0f} to {max(busy):.0f} % busy with other work; PostgreSQL {version}"
    if asked.json:
        json.dump({"where": where, "figures": figures, "goals": GOALS, "phases": phases}, sys.stdout, indent=2)
        return
    print(f"\n{asked.rounds} rounds, {where}")
    print(f"{'':44}{'median':>9}{'lowest':>9}{'highest':>9}{'goal':>7}{'of goal':>9}")
    for name, values in figures.items():
        middle, goal = statistics.median(values), GOALS.get(name)
        beside = f"{goal:>7.0f}{middle / goal:>9.2f}" if goal else ""
        print(f"{name:44}{middle:>9.2f}{min(values):>9.2f}{max(values):>9.2f}{beside}")
    print(f"\n{f'seconds of {len(pairs)} trainings each':34}{'queued':>9}{'inline':>9}{'more':>9}{'×':>7}")
    for name, (queued, inline) in phases.items():
        print(f"{name:34}{queued:>9.2f}{inline:>9.2f}{queued - inline:>9.2f}{queued / inline:>7.2f}")


if __name__ == "__main__":
    main()
