"""Stands in for the orders of a job's process: what it writes is real, what it works on takes moments."""

import random
import time

from modelyard.data.hashes import HashedFile
from modelyard.errors import AttemptLost
from modelyard.store.attempts import fenced, finish_job, get_attempt, name_session, report_result
from modelyard.store.connections import connect
from modelyard.store.models import record_model_files


def run(config, *, job_id, attempt, output):
    """Work for 20 to 50 ms, then leave a row that shows each attempt that got so far, and finish the job with it."""
    with connect(config.dsn, application_name=name_session(job_id, attempt)) as connection:
        try:
            report_result(connection, job_id=job_id, attempt=attempt, name="began", value={})
            time.sleep(random.uniform(0.02, 0.05))
            with fenced(connection, job_id=job_id, attempt=attempt):
                file = HashedFile("effect", "0" * 64, attempt)
                record_model_files(connection, mlflow_model_id=f"{job_id} {attempt}", files=[file])
                finish_job(connection, job_id=job_id, attempt=attempt, state="succeeded", result={"attempt": attempt})
        except AttemptLost:
            return get_attempt(connection, job_id=job_id, attempt=attempt).state != "running"
    return True


def show_failed(config, *, job_id, attempt, output, reason):
    """There is no MLflow run of it."""
