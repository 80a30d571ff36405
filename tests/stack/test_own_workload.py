"""A workload in a file of somebody's own, on Compose: the page about it, followed literally through the launcher."""

import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from tests.own_workload_page import list_blocks

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def followed(project, tmp_path_factory):
    """The page was followed from its first command to its last: the folder, what was printed, and the files' sha256."""
    folder, said, digests = tmp_path_factory.mktemp("page"), [], []
    folder.chmod(0o755)  # a container of another user reads what is handed in
    modelyard = f'modelyard() {{ sh "{ROOT}/infra/launch.sh" "$@"; }}'
    for block in list_blocks():
        done = subprocess.run(
            ["sh", "-ec", f"umask 022\n{modelyard}\n{block}"],
            cwd=folder,
            env=project.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        said.append(done.stdout)
        file = folder / "flat_rents.py"
        if file.exists():
            digests.append(sha256(file.read_bytes()).hexdigest())
    return folder, said, list(dict.fromkeys(digests))


def test_the_page_leads_from_a_new_file_to_answers_of_a_promoted_model(followed):
    folder, said, _ = followed
    assert "dataset  flat_rents 1.0.0: 400 rows" in said[1]
    assert "flat_rents_model version 1" in said[2] and "PASSED" in said[2]
    assert "flat_rents_model version 2" in said[3] and "PASSED" in said[3]
    assert "promoted version 2" in said[4]
    assert len((folder / "rents.csv").read_text().splitlines()) == 3
    assert "EQUAL: all 80 test rows are predicted as then" in said[5]


def test_the_bucket_and_the_runs_have_each_file_by_its_content(followed, project, notebook):
    _, _, digests = followed
    assert len(digests) == 2
    versions = project.rows(
        "SELECT mlflow_run_id, code_version FROM exp.model_versions WHERE mlflow_model_name = 'flat_rents_model' "
        "ORDER BY created_at"
    )
    assert [version["code_version"]["workload_file"] for version in versions] == digests
    for version, digest in zip(versions, digests, strict=True):
        body = project.s3("backup").get_object(Bucket=project.bucket, Key=f"raw/{digest}/flat_rents.py")["Body"].read()
        assert sha256(body).hexdigest() == digest
        path = project.mlflow().download_artifacts(version["mlflow_run_id"], "workload/flat_rents.py")
        assert Path(path).read_bytes() == body


def test_a_folder_of_workloads_is_named_by_a_setting(followed, project, tmp_path):
    tmp_path.chmod(0o755)
    written = project.launch("workloads", "new", "flat_rents", "--output", str(tmp_path / "flat_rents.py"))
    assert written.code == 0, written.stderr
    listed = project.launch("workloads", "--json", MODELYARD_WORKLOADS=str(tmp_path)).checked().outcome
    assert listed[-1]["name"] == "flat_rents" and listed[-1]["path"] == str(tmp_path / "flat_rents.py")
