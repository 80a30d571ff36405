"""A worker: takes jobs of its role from the queue, one at a time, until it is told to stop."""

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn
from uuid import UUID

import procrastinate
import psycopg
from psycopg.conninfo import make_conninfo

from modelyard.store.jobs import DEFAULT_QUEUE
from modelyard.workers.attempts import AttemptRunner
from modelyard.workers.child_process import remove_leftovers
from modelyard.workers.config import WorkerConfig, name_worker
from modelyard.workers.periodic import WORK, PeriodicThread, PeriodicWork
from modelyard.workers.reconciler import Reconciler
from modelyard.workers.server_keeper import ServerKeeper

_POLL_S = 2.0  # what is due at a moment is told by nobody
_RECONNECT_S = 1.0
_STOP_S = 12.0  # for the job's process to end, and for its attempt to be given back
_ANSWERED_S = 10.0  # a worker whose database is silent for longer shows no sign of life
_LEAVE_S = 2.0  # for the queue's connections to be closed


def run_worker(config: WorkerConfig) -> NoReturn:
    """Work until SIGTERM or SIGINT, give back what is not done, and end this process: 0 if all was given back.

    The database may be away at any time: the worker waits for it and goes on.
    """
    logging.getLogger("procrastinate").setLevel(logging.CRITICAL)
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)  # said once, by the periodic thread
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # tasks of the queue that nobody waits for any more
    code = asyncio.new_event_loop().run_until_complete(_Worker(config).work())
    sys.stderr.flush()
    os._exit(code)  # an orderly end would wait for connections of the queue that were cancelled while they were made


class _Worker:
    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._stopping = threading.Event()  # for the threads
        self._busy = False
        self._servers = ServerKeeper()
        self._said = ""
        self._runner = AttemptRunner(
            config, stopping=self._stopping, start_child=self._servers.start_child, say=self._say
        )

    async def work(self) -> int:
        """Until a signal comes; returns the exit code."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        remove_leftovers()
        self._say(f"{name_worker(self._config.name)} waits for jobs")
        reconciler = Reconciler(self._config, say=self._say_new)
        looks = PeriodicWork(name="reconcile", every_s=1, roles=("evaluator",), run=reconciler.step)
        # one evaluator is always there for it
        work = [*WORK, looks] if self._config.queue == DEFAULT_QUEUE else WORK
        periodic = PeriodicThread(
            self._config, work=work, stopping=self._stopping, get_ready=self._get_ready, say=self._say
        )
        beating = asyncio.create_task(self._beat(periodic))  # kept: a task that nobody holds may vanish
        stopped = asyncio.create_task(stop.wait())
        while not stop.is_set():
            queue = asyncio.create_task(self._work_on_queue())
            await asyncio.wait({queue, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                self._stopping.set()
                await self._leave(queue)
                break
            try:
                await queue
            except (procrastinate.exceptions.ConnectorException, psycopg.Error, OSError) as error:
                self._say_new(f"the queue does not answer: {' '.join(str(error.__cause__ or error).split())}")
            await asyncio.wait({stopped}, timeout=_RECONNECT_S)
        beating.cancel()
        self._servers.close()
        reconciler.close()
        self._say("stopped in the middle of a job" if self._busy else "stopped")
        return 1 if self._busy else 0

    async def _beat(self, periodic: PeriodicThread) -> None:
        """Touch the heartbeat's file while this loop turns, the database answers, and would take a new connection."""
        password = self._read_secret()
        while self._config.heartbeat is not None:
            if self._read_secret() != password:
                said = f"the secret {self._config.secret} has changed since this worker started; make down, make up"
                print(f"modelyard: {said}", file=sys.stderr, flush=True)
                return
            if time.monotonic() - periodic.answered_at_s < _ANSWERED_S:
                with suppress(OSError):  # a full disk is told by the age of the file
                    Path(self._config.heartbeat).touch()
            await asyncio.sleep(1)

    def _read_secret(self) -> bytes | None:
        try:
            return Path(self._config.secret).read_bytes() if self._config.secret else None
        except OSError:
            return b""

    async def _leave(self, queue: "asyncio.Task[None]") -> None:
        """Wait for the job's process to end, and not long for the queue: it may wait for a database that is away."""
        queue.cancel()
        since_s = time.monotonic()
        while not queue.done() and time.monotonic() - since_s < (_STOP_S if self._busy else _LEAVE_S):
            await asyncio.wait({queue}, timeout=0.1)

    async def _work_on_queue(self) -> None:
        """Until the queue's connection fails, or this is cancelled; then the job that runs has ended."""
        conninfo = make_conninfo(self._config.dsn, options="-c search_path=queue", application_name="modelyard queue")
        connector = procrastinate.PsycopgConnector(conninfo=conninfo, min_size=1, max_size=2)
        app = procrastinate.App(connector=connector)
        app.task(name="run_job", queue=self._config.name)(self._run_job)
        async with app.open_async():
            await app.run_worker_async(
                queues=[self._config.name],
                fetch_job_polling_interval=_POLL_S,
                delete_jobs="always",
                install_signal_handlers=False,
            )

    def _run_job(self, job_id: str) -> None:
        """A hint from the queue; whatever goes wrong here, ``exp.jobs`` still says that the job waits."""
        if self._stopping.is_set():
            return
        self._busy = True
        try:
            self._runner.run(UUID(job_id))
        except Exception as error:  # whatever it is, the next hint comes in seconds, and here it must be said
            self._say_new(f"job {job_id}: {type(error).__name__}: {error}")
        finally:
            self._busy = False

    def _get_ready(self) -> None:
        try:
            self._servers.get_ready()
        except OSError as error:  # the job itself will say so again
            self._say_new(f"no process can be started ahead: {error}")

    def _say_new(self, text: str) -> None:
        """Say what may happen every second, when it is not what was said last."""
        if text != self._said:
            self._said = text
            self._say(text)

    def _say(self, text: str) -> None:
        print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}", file=sys.stderr, flush=True)
