"""The claim on a job: renewed in a thread as long as the work goes on."""

import threading
import time
from uuid import UUID

import psycopg
from psycopg import sql

from modelyard.errors import AttemptLost, ServiceFailed
from modelyard.store.attempts import get_attempt, renew_claim
from modelyard.store.connections import connect

_LISTEN_S = 0.5
_RENEWALS = 6  # in the time that a claim lasts
_SAFE_SHARE = 0.8  # of that time: then the work stops, before anybody else begins


class ClaimKeeper:
    """Keeps the claim of an attempt that has just begun; ``stop`` it when the work is over.

    A database that does not answer at all leaves the thread hanging, so ``expired`` goes by this machine's clock.
    """

    def __init__(self, dsn: str, *, job_id: UUID, attempt: int, claim_s: float) -> None:
        self._dsn, self._claim_s = dsn, claim_s
        self._job_id, self._attempt = job_id, attempt
        self._renewed_at_s = time.monotonic()
        self._stopped = threading.Event()
        self.lost: str | None = None  # the reason, once the attempt was taken away
        self.over = False  # the work itself has ended the attempt
        self.cancelled = False  # somebody wants the job cancelled
        threading.Thread(target=self._run, name="claim", daemon=True).start()

    @property
    def expired(self) -> bool:
        """Whether the claim could not be renewed for too long."""
        return not self.over and time.monotonic() - self._renewed_at_s > _SAFE_SHARE * self._claim_s

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._renew()
            except AttemptLost:
                return
            except (psycopg.Error, ServiceFailed):
                self._stopped.wait(min(_LISTEN_S, self._claim_s / _RENEWALS))

    def _renew(self) -> None:
        with connect(self._dsn, application_name="modelyard claim") as connection:
            connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(f"modelyard_job_{self._job_id}")))
            while not self._stopped.is_set():
                sent_at_s = time.monotonic()
                try:
                    if renew_claim(connection, job_id=self._job_id, attempt=self._attempt, claim_s=self._claim_s):
                        self.cancelled = True
                except AttemptLost as error:
                    # the work itself ends its attempt when it is done; then nothing is left to claim
                    if get_attempt(connection, job_id=self._job_id, attempt=self._attempt).state == "lost":
                        self.lost = str(error)
                    else:
                        self.over = True
                    raise
                self._renewed_at_s = sent_at_s
                self._wait(connection, until_s=sent_at_s + self._claim_s / _RENEWALS)

    def _wait(self, connection: psycopg.Connection[dict[str, object]], *, until_s: float) -> None:
        """Until the next renewal is due, or the job's own row has changed: somebody may have cancelled it."""
        while (left_s := until_s - time.monotonic()) > 0 and not self._stopped.is_set():
            if any(n.payload == "jobs" for n in connection.notifies(timeout=min(left_s, _LISTEN_S), stop_after=1)):
                return
