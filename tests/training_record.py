"""What must be on record after a training, wherever the services run: one class of assertions for every stack."""

import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import mlflow
import psycopg
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from psycopg.rows import dict_row

from modelyard.data.digest import digest_table
from modelyard.data.splits import dataset_table
from modelyard.stack.addresses import Addresses
from modelyard.store.jobs import get_job
from tests.integration.outcomes import Outcome

Rows = Callable[..., list[dict[str, Any]]]
MODEL = "california_housing_model"
ACHIEVED = {"job", "raw", "dataset", "training", "registration", "evaluation", "evaluation_job"}


class TrainingRecord:
    """The record of one training of ``california_housing`` with its default parameters, on a file that was named.

    A class that inherits has the fixtures ``addresses`` (of the stack), ``outcome`` (what ``--json`` printed),
    ``raw_file`` (the file that was named) and ``read_raw`` (bytes of a stored raw file by digest and name).
    """

    @pytest.fixture
    def rows(self, addresses: Addresses) -> Iterator[Rows]:
        """Rows of a query, as the person who uses the stack."""
        with psycopg.connect(addresses.dsn(addresses.person), row_factory=dict_row) as connection:
            yield lambda query, *values: connection.execute(query, values).fetchall()

    @pytest.fixture
    def client(self, addresses: Addresses) -> MlflowClient:
        mlflow.set_tracking_uri(addresses.tracking_uri)
        return MlflowClient(addresses.tracking_uri)

    def test_there_is_one_of_each_and_nothing_more(self, addresses, outcome):
        assert set(outcome) == ACHIEVED
        Outcome(addresses, UUID(outcome["job"]["job_id"])).check()

    def test_a_training_is_a_job_of_the_trainer_and_its_evaluation_one_of_the_evaluator(
        self, addresses, client, outcome
    ):
        with psycopg.connect(addresses.dsn(addresses.person), row_factory=dict_row) as connection:
            training, evaluation = (
                get_job(connection, job_id=UUID(outcome[key]["job_id"])) for key in ("job", "evaluation_job")
            )
        assert (training.kind, training.state, training.created_by) == ("train", "succeeded", addresses.person)
        assert (evaluation.kind, evaluation.state, evaluation.created_by) == ("evaluate", "succeeded", "trainer")
        assert evaluation.parent_job_id == training.job_id
        assert training.worker.startswith("trainer ") and evaluation.worker.startswith("evaluator ")
        for job, run_id in (
            (training, outcome["training"]["run_id"]),
            (evaluation, outcome["evaluation"]["run_url"].partition("/runs/")[2].partition("?")[0]),
        ):
            run = client.get_run(run_id)
            assert run.data.tags["modelyard.job_id"] == str(job.job_id)
            assert run.data.tags["mlflow.user"] == addresses.person, "whoever asked for it, not the worker"

    def test_the_raw_file_is_kept_by_content(self, outcome, raw_file, read_raw):
        digest = outcome["raw"]["digest"]
        kept = read_raw(digest, raw_file.name)
        assert sha256(kept).hexdigest() == digest == sha256(raw_file.read_bytes()).hexdigest()

    def test_the_dataset_is_on_record_with_a_digest_that_its_files_have(self, client, outcome, rows, tmp_path):
        (row,) = rows("SELECT * FROM exp.datasets WHERE dataset_id = %s", outcome["dataset"]["dataset_id"])
        assert (row["raw_digest"], row["digest"]) == (outcome["raw"]["digest"], outcome["dataset"]["digest"])
        folder = Path(client.download_artifacts(row["mlflow_run_id"], "metadata", str(tmp_path)))
        X, y, split = (pq.read_table(folder / f"{name}.parquet") for name in ("X", "y", "split"))
        assert digest_table(dataset_table(X, y, split.column("split").combine_chunks(), None)) == row["digest"]
        files = rows("SELECT path, sha256 FROM exp.dataset_files WHERE dataset_id = %s", row["dataset_id"])
        assert "preprocessing_pipeline/pipeline.joblib" in {file["path"] for file in files}
        for file in files:
            local = Path(client.download_artifacts(row["mlflow_run_id"], file["path"], str(tmp_path)))
            assert sha256(local.read_bytes()).hexdigest() == file["sha256"]
        assert sum(row["split_counts"].values()) == row["num_rows"] == X.num_rows

    def test_mlflow_shows_the_dataset_with_our_digest_on_each_run(self, client, outcome, rows):
        (row,) = rows("SELECT * FROM exp.datasets WHERE dataset_id = %s", outcome["dataset"]["dataset_id"])
        evaluation_id = outcome["evaluation"]["evaluation_id"]
        (evaluation,) = rows("SELECT * FROM exp.evaluations WHERE evaluation_id = %s", evaluation_id)
        for run_id, run_type, context in (
            (row["mlflow_run_id"], "dataset", "training"),
            (outcome["training"]["run_id"], "training", "training"),
            (evaluation["mlflow_run_id"], "evaluation", "evaluation"),
        ):
            run = client.get_run(run_id)
            assert run.info.status == "FINISHED"
            assert run.data.tags["run_type"] == run_type
            (shown,) = run.inputs.dataset_inputs
            assert shown.dataset.digest == row["digest"][:32]
            assert json.loads(shown.dataset.profile)["num_rows"] == row["num_rows"]
            assert {tag.key: tag.value for tag in shown.tags}["mlflow.data.context"] == context

    def test_the_training_run_has_what_its_contract_asks_for(self, client, outcome):
        run = client.get_run(outcome["training"]["run_id"])
        assert run.data.tags["stage"] == "training"
        assert run.data.tags["policy_id"] == "california_housing_policy"
        assert (run.data.tags["data_source"], run.data.tags["raw_source"]) == ("file_path", "file_path")
        assert "dataset_fallback" not in run.data.tags, "a file was named"
        assert len(run.data.tags["dvc_md5"]) == 32
        assert run.data.params["max_iter"] == "100"
        assert run.data.params["model_class"] == "sklearn.ensemble.HistGradientBoostingRegressor"
        told = {name: run.data.params[f"dataset_{name}"] for name in ("name", "version", "digest")}
        assert told == {name: outcome["dataset"][name] for name in told}
        assert (run.data.params["used_mlflow_dataset"], run.data.params["data_source"]) == ("False", "file_path")
        for split in ("train", "validation", "test"):
            assert run.data.metrics[f"{split}_rmse"] > 0
        assert run.data.metrics["baseline_mean_rmse"] > run.data.metrics["test_rmse"]
        plots = {artifact.path for artifact in client.list_artifacts(run.info.run_id, "plots")}
        assert plots == {"plots/residuals.png", "plots/predicted_vs_true.png"}

    @pytest.mark.usefixtures("client")
    def test_the_model_has_a_signature_an_example_and_a_recorded_sha256_for_every_file(self, outcome, rows, tmp_path):
        number = outcome["registration"]["version"]
        (version,) = rows("SELECT * FROM exp.model_versions WHERE mlflow_model_version = %s", number)
        uri = f"models:/{MODEL}/{number}"
        root = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path)))
        query = "SELECT path, sha256 FROM exp.model_files WHERE mlflow_model_id = %s"
        recorded = {file["path"]: file["sha256"] for file in rows(query, version["mlflow_model_id"])}
        found = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
        # MLflow adds this one of its own when a registered version is downloaded
        found.pop("registered_model_meta", None)
        assert {name: sha256(path.read_bytes()).hexdigest() for name, path in found.items()} == recorded
        info = mlflow.models.get_model_info(uri)
        assert [column.name for column in info.signature.inputs][:2] == ["MedInc", "HouseAge"]
        assert info.saved_input_example_info is not None

    def test_the_verdict_the_stage_and_the_policy_version_are_on_record_and_shown(self, client, outcome, rows):
        evaluation_id = outcome["evaluation"]["evaluation_id"]
        (evaluation,) = rows("SELECT * FROM exp.evaluations WHERE evaluation_id = %s", evaluation_id)
        assert evaluation["passed"]
        assert evaluation["reasons"] == []
        assert evaluation["metrics"]["rmse"] == pytest.approx(outcome["training"]["metrics"]["test_rmse"])
        version = outcome["registration"]["version"]
        (policy,) = rows("SELECT * FROM exp.policy_versions WHERE mlflow_model_version = %s", version)
        assert policy["policy_id"] == "california_housing_policy"
        assert policy["version"] == outcome["evaluation"]["policy_version"]
        (stage,) = rows("SELECT stage FROM exp.stages WHERE mlflow_model_version = %s", version)
        assert stage == {"stage": "candidate"}
        (step,) = rows("SELECT * FROM exp.stage_transitions WHERE mlflow_model_version = %s", version)
        assert (step["from_stage"], step["to_stage"], step["actor"]) == ("none", "candidate", "evaluator")
        shown = client.get_model_version(MODEL, version)
        assert shown.tags["stage"] == "candidate"
        assert shown.tags["policy_version"] == str(policy["version"])
