"""A run that a training is given, as ``mlflow run`` makes one: it becomes the training run, and no other is made."""

from mlflow import MlflowClient

from modelyard.errors import BadInput
from modelyard.pipeline.attempt import Attempt
from modelyard.pipeline.session import Session
from modelyard.tracking.runs import ATTEMPT_TAG, JOB_TAG, ORPHAN_TAG, ActiveRun, find_run


def check_given_run(client: MlflowClient, run_id: str) -> str:
    """Check that a training can be done in a run, and return the name of its MLflow experiment.

    Raises:
        BadInput: this MLflow has no such run, it is deleted or has ended, or something was logged into it already.
    """
    run = find_run(client, run_id)
    if run is None:
        raise BadInput(
            f"the MLflow of this stack has no run {run_id}; whoever has made it must name this one before: "
            'eval "$(make -s env)"'
        )
    if run.info.lifecycle_stage != "active":
        raise BadInput(f"run {run_id} is deleted; make a new one")
    if "run_type" in run.data.tags or JOB_TAG in run.data.tags:
        raise BadInput(f"run {run_id} is a {run.data.tags.get('run_type', 'job')} run already; make a new one")
    if run.info.status != "RUNNING":
        raise BadInput(f"run {run_id} is {run.info.status}, and a training takes one that is RUNNING; make a new one")
    return str(client.get_experiment(run.info.experiment_id).name)


def claim_given_run(session: Session, attempt: Attempt, run_id: str) -> None:
    """Mark a run as this job's before there is work, and open it again where an earlier attempt has failed in it.

    Raises:
        BadInput: it is gone, or another job has it.
    """
    run = find_run(session.mlflow, run_id)
    if run is None or run.info.lifecycle_stage != "active":
        raise BadInput(f"run {run_id} was deleted since this training was asked for")
    job_id = str(attempt.job_id)
    if run.data.tags.get(JOB_TAG, job_id) != job_id:
        raise BadInput(f"run {run_id} is the run of job {run.data.tags[JOB_TAG]}; make a new one")
    if run.info.status == "FINISHED" and JOB_TAG in run.data.tags:  # by an earlier attempt, which got no further
        return
    session.mlflow.update_run(run_id, status="RUNNING")
    if ORPHAN_TAG in run.data.tags:
        session.mlflow.delete_tag(run_id, ORPHAN_TAG)
    tags = {"run_type": "training", JOB_TAG: job_id, ATTEMPT_TAG: str(attempt.number)}
    ActiveRun(session.mlflow, run_id, run.info.experiment_id).log(tags=tags)
