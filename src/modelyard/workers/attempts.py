"""One attempt, seen from its worker: begun, run in a child process, watched, and ended whatever happens."""

import threading
import time
from collections.abc import Callable
from uuid import UUID

import psycopg

from modelyard.errors import AttemptLost, ModelyardError
from modelyard.store.attempts import begin_attempt, finish_attempt, tidy_job
from modelyard.store.connections import Connection, Reconnecting
from modelyard.store.jobs import get_job
from modelyard.workers.child import CANCELLED, ENDED
from modelyard.workers.child_process import ChildProcess
from modelyard.workers.claim import ClaimKeeper
from modelyard.workers.config import WorkerConfig, name_worker

_WATCH_S = 0.05
_SHOW_WAIT_S = 120.0
_LEAVE_WAIT_S = 30.0  # for a process whose work is on record and that does not end
_DATABASE_WAIT_S = 600.0


class AttemptRunner:
    """Takes jobs for a worker, one at a time."""

    def __init__(
        self,
        config: WorkerConfig,
        *,
        stopping: threading.Event,
        start_child: Callable[[], ChildProcess],
        say: Callable[[str], None],
    ) -> None:
        self._config, self._stopping, self._start_child, self._say = config, stopping, start_child, say

    def run(self, job_id: UUID) -> None:
        """Take a job if it waits, and work on it until its attempt has ended.

        A job that has ended, and of which MLflow was not told everything, is put in order instead.

        Raises:
            ServiceFailed: the database cannot be reached; the job is where it was.
        """
        with Reconnecting(self._config.dsn, application_name="modelyard attempt", wait_s=10) as database:
            job = get_job(database.get(), job_id=job_id)
            if job.ended:
                if job.orphaned and self._show_failed(job_id, job.attempt, reason=job.error or job.state, child=None):
                    tidy_job(database.get(), job_id=job_id, attempt=job.attempt)
                return
            try:
                attempt = begin_attempt(
                    database.get(),
                    job_id=job_id,
                    worker=name_worker(self._config.name),
                    claim_s=self._config.claim_s,
                    queue=self._config.queue,
                )
            except AttemptLost:
                return  # it has ended a moment ago
        if attempt is None:
            return
        self._say(f"job {job_id} ({job.kind}), attempt {attempt}")
        keeper = ClaimKeeper(self._config.dsn, job_id=job_id, attempt=attempt, claim_s=self._config.claim_s)
        try:
            self._work(job_id, attempt, keeper)
        except OSError as error:  # no process, no disk
            self._finish(job_id, attempt, "failed", f"the worker cannot run it: {error}", orphaned=True)
        finally:
            keeper.stop()

    def _work(self, job_id: UUID, attempt: int, keeper: ClaimKeeper) -> None:
        child = self._start_child()
        try:
            child.order(self._order("run", job_id, attempt, child))
            reason = self._watch(child, keeper)
            self._end(job_id, attempt, child, keeper, reason=reason)
        finally:
            child.close()

    def _watch(self, child: ChildProcess, keeper: ClaimKeeper) -> str | None:
        """Wait until the child has ended; return why we ended it, or None if it did so itself."""
        over_since_s = 0.0
        while child.wait(_WATCH_S) is None:
            if keeper.over:
                over_since_s = over_since_s or time.monotonic()
                if time.monotonic() - over_since_s > _LEAVE_WAIT_S:
                    child.stop(grace_s=0)
                    return "over"
            # in order: a version that it registers in MLflow at this moment is taken back
            if keeper.lost:
                child.stop()
                return "lost"
            if keeper.expired:
                child.stop()
                return "expired"
            if keeper.cancelled:
                child.stop()
                return "cancelled"
            if self._stopping.is_set():
                child.stop()
                return "stopped"
        return None

    def _end(self, job_id: UUID, attempt: int, child: ChildProcess, keeper: ClaimKeeper, *, reason: str | None) -> None:
        code = child.wait(0)
        if reason == "lost":
            self._say(f"job {job_id}: {keeper.lost}")
            self._show_failed(job_id, attempt, reason=str(keeper.lost), child=None)
        elif reason == "over" or (reason is None and code == ENDED):
            self._say(f"job {job_id}, attempt {attempt} is over")
        elif reason == "expired":
            error = f"its claim could not be renewed for {self._config.claim_s:.0f} s, so it was stopped"
            self._finish(job_id, attempt, "interrupted", error, orphaned=True)
        elif reason == "stopped":
            self._finish(job_id, attempt, "interrupted", "its worker was stopped", orphaned=True)
        elif reason == "cancelled" or (reason is None and code == CANCELLED):
            shown = self._show_failed(job_id, attempt, reason="cancelled", child=child)
            self._finish(job_id, attempt, "interrupted", "cancelled", orphaned=not shown)
        else:
            error = child.describe_end()
            shown = self._show_failed(job_id, attempt, reason=error, child=child)
            self._finish(job_id, attempt, "failed", error, orphaned=not shown)

    def _finish(self, job_id: UUID, attempt: int, state: str, error: str, *, orphaned: bool = False) -> None:
        """Give the job back; if the database is away, as soon as it is there again."""

        def finish(connection: Connection) -> None:
            job_state = finish_attempt(
                connection,
                job_id=job_id,
                attempt=attempt,
                state="failed" if state == "failed" else "interrupted",
                error=error,
                pause_s=self._config.pause_s if state == "failed" else 0,
                orphaned=orphaned,
            )
            self._say(f"job {job_id}, attempt {attempt} {state}: {error}; the job is {job_state}")

        wait_s = 5 if self._stopping.is_set() else _DATABASE_WAIT_S
        with Reconnecting(self._config.dsn, application_name="modelyard attempt", wait_s=wait_s) as database:
            try:
                try:
                    finish(database.get())
                except psycopg.OperationalError:  # it went away in this moment
                    finish(database.get())
            except AttemptLost as lost:
                self._say(f"job {job_id}: {lost}")
                self._show_failed(job_id, attempt, reason=str(lost), child=None)
            except (ModelyardError, psycopg.Error) as away:
                self._say(f"job {job_id}: {away}; it is taken up again when its claim has run out")

    def _show_failed(self, job_id: UUID, attempt: int, *, reason: str, child: ChildProcess | None) -> bool:
        """Show in MLflow, in a process of its own, what an attempt that died left; whether that succeeded."""
        shower = self._start_child()
        try:
            shower.order(self._order("fail", job_id, attempt, child) | {"reason": reason})
            give_up_s = time.monotonic() + _SHOW_WAIT_S
            while shower.wait(_WATCH_S) is None and time.monotonic() < give_up_s and not self._stopping.is_set():
                pass
            done = shower.wait(0) == ENDED
            if not done:
                self._say(f"job {job_id}: MLflow could not be told of attempt {attempt}")
            return done
        finally:
            shower.close()

    def _order(self, do: str, job_id: UUID, attempt: int, child: ChildProcess | None) -> dict[str, object]:
        return {
            "do": do,
            "config": self._config.as_json(),
            "job_id": str(job_id),
            "attempt": attempt,
            "output": str(child.output) if child else None,
        }
