"""The commands of the catalogue on a running stack: what they print, what programs get, how they exit."""

import json
from uuid import UUID, uuid4

import psycopg
import pytest
from mlflow import MlflowClient

from modelyard.errors import RecordNotFound
from modelyard.pipeline.session import open_session
from modelyard.pipeline.verification import verify_datasets
from modelyard.store import datasets as store
from modelyard.store.connections import connect
from modelyard.workloads.registry import get_workload
from tests.integration.trainings import environment_of, run_command


@pytest.fixture(scope="module")
def run(stack, stack_settings, tmp_path_factory):
    """Run ``modelyard`` with these arguments."""

    def run(*arguments):
        folder = tmp_path_factory.mktemp("command")
        settings = environment_of(stack, stack_settings.mlflow_port) | {"MODELYARD_DATA_DIR": str(folder / "data")}
        return run_command(list(arguments), environment=settings, folder=folder)

    return run


@pytest.fixture(scope="module")
def trained(run, tmp_path_factory):
    """The outcome of a training on the sample."""
    sample = get_workload("california_housing").sample(tmp_path_factory.mktemp("raw"))[0]
    ended = run("train", "california_housing", "--data", str(sample), "--set", "seed=606", "--json")
    assert ended.code == 0, ended.printed
    return ended.outcome | {"sample": str(sample)}


@pytest.fixture(scope="module")
def other(run, trained):
    """A second dataset of the same raw data, with another split."""
    ended = run("process", "california_housing", "--data", trained["sample"], "--set", "seed=607", "--json")
    assert ended.code == 0, ended.printed
    return ended.outcome["dataset"]


def name(dataset):
    return f"{dataset['name']}@{dataset['version']}"


def read(ended):
    assert ended.code == 0, ended.printed
    return json.loads(ended.printed)


def test_the_list_shows_the_newest_first_and_what_uses_it(run, trained, other):
    listed = read(run("datasets", "list", "--workload", "california_housing", "--json"))
    digests = [one["digest"] for one in listed]
    assert digests.index(other["digest"]) < digests.index(trained["dataset"]["digest"])
    assert next(one for one in listed if one["digest"] == trained["dataset"]["digest"])["nb_model_versions"] == 1
    printed = run("datasets", "list", "--name", other["name"]).printed
    assert f"{other['num_rows']:,}" in printed
    assert other["digest"][:12] in printed
    more = run("datasets", "list", "--limit", "1", "--workload", "california_housing", "--name", other["name"]).printed
    assert f"datasets list --workload california_housing --name {other['name']} --limit 10\n" in more
    assert read(run("datasets", "list", "--workload", "nothing", "--json")) == []


def test_show_tells_all_of_a_row_its_files_and_its_uses(run, trained):
    dataset = trained["dataset"]
    shown = read(run("datasets", "show", dataset["digest"][:16], "--json"))
    assert (shown["digest"], shown["raw_digest"]) == (dataset["digest"], dataset["raw_digest"])
    assert {"metadata/X.parquet", "metadata/y.parquet"} <= {file["path"] for file in shown["files"]}
    assert shown["split_counts"] == dataset["split_counts"]
    assert trained["training"]["run_id"] in {use["mlflow_run_id"] for use in shown["uses"]}
    assert shown["page"].endswith(f"/#/runs/{shown['mlflow_run_id']}?workflowType=machine_learning")
    printed = run("datasets", "show", name(dataset)).printed
    for told in (dataset["digest"], "X.MedInc", "seed=606", shown["files"][0]["sha256"], "workload_sha256"):
        assert told in printed, told


def test_diff_names_what_differs_and_the_same_content_is_said(run, trained, other):
    found = read(run("datasets", "diff", name(trained["dataset"]), name(other), "--json"))
    assert not found["same_content"]
    assert {"name": "seed", "first": 606, "second": 607} in found["parameters"]
    assert (found["added"], found["removed"], found["retyped"]) == ([], [], [])
    printed = run("datasets", "diff", name(trained["dataset"]), name(other)).printed
    assert "parameter  seed: 606 → 607" in printed
    same = run("datasets", "diff", name(other), other["digest"])
    assert (same.code, "same content" in same.printed) == (0, True)


def test_verify_finds_the_one_that_was_changed_and_the_one_that_is_gone(run, stack, trained, other):
    ended = run("datasets", "verify", name(trained["dataset"]), name(other))
    assert (ended.code, "all as recorded" in ended.printed) == (0, True)
    artifacts = stack.home / "artifacts"
    with connect(stack.dsn(stack.person)) as connection:
        found = store.find_dataset(connection, name=other["name"], digest=other["digest"])
        files = store.list_dataset_files(connection, dataset_id=found.dataset_id)
    for file in files:
        [path] = artifacts.rglob(f"*{found.mlflow_run_id}/artifacts/{file.path}")
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        ended = run("datasets", "verify", name(trained["dataset"]), name(other), "--json")
        assert ended.code == 1
        good, bad = json.loads(ended.printed[ended.printed.index("\n[") :])
        assert (good["state"], bad["state"]) == ("ok", "mismatch"), file.path
        assert bad["expected"] == file.sha256
        assert bad["found"] not in (None, file.sha256)
        assert file.path in bad["what"]
        path.unlink()
        ended = run("datasets", "verify", name(other))
        assert (ended.code, "LOST" in ended.printed, "1 bad" in ended.printed) == (1, True, True), ended.printed
        path.write_bytes(content)
    assert run("datasets", "verify", name(other)).code == 0


def test_verify_all_goes_through_every_dataset(run, trained, other):
    ended = run("datasets", "verify", "--all", "--json")
    assert ended.code == 0, ended.printed
    found = json.loads(ended.printed[ended.printed.index("\n[") :])
    assert {trained["dataset"]["digest"], other["digest"]} <= {one["digest"] for one in found}
    assert {one["state"] for one in found} == {"ok"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("datasets", "verify"),
        ("datasets", "verify", "--all", "x"),
        ("datasets", "show", "california_housin"),
        ("lineage", "california_housing_model/999999"),
        ("lineage", "x", "--json", "--mermaid"),
    ],
)
def test_what_cannot_be_done_as_asked_exits_with_2_and_one_line(run, trained, arguments):
    ended = run(*arguments)
    assert ended.code == 2, ended.printed
    assert ended.printed.startswith("modelyard: ")
    assert ended.printed.count("\n") == 1


def test_lineage_of_a_model_ends_at_the_raw_bytes_and_needs_no_mlflow(run, stack, trained):
    version = f"{trained['registration']['model_name']}/{trained['registration']['version']}"
    MlflowClient(stack.tracking_uri).delete_run(trained["training"]["run_id"])
    try:
        found = read(run("lineage", version, "--json"))
        printed = run("lineage", version).printed
    finally:
        MlflowClient(stack.tracking_uri).restore_run(trained["training"]["run_id"])
    ids = {node["id"] for node in found["nodes"]}
    assert {f"model:{version}", f"run:{trained['training']['run_id']}", f"raw:{trained['raw']['digest']}"} <= ids
    assert {edge[side] for edge in found["edges"] for side in ("source", "target")} == ids
    for told in (trained["raw"]["digest"], trained["dataset"]["digest"], "PASSED", "seed=606", "stage candidate"):
        assert told in printed, told


def test_lineage_of_raw_data_leads_to_the_policy_and_back(run, trained, other):
    found = read(run("lineage", trained["raw"]["digest"], "--json"))
    names = {node["name"] for node in found["nodes"]}
    registration, policy = trained["registration"], trained["evaluation"]
    assert f"{registration['model_name']}/{registration['version']}" in names
    assert f"{policy['policy_id']} version {policy['policy_version']}" in names
    assert {name(one).replace("@", " ") for one in (trained["dataset"], other)} <= names
    assert run("lineage", trained["raw"]["digest"], "--mermaid").printed.startswith("flowchart LR\n")


def test_a_row_of_an_older_release_prints_as_well(run, stack, trained):
    older = """
        INSERT INTO exp.datasets (name, version, workload, digest, raw_digest, raw_files, location, mlflow_run_id,
            num_rows, num_elements, schema, profile, split_counts, parameters, data_source)
        SELECT 'older', '1.0.0', workload, digest, raw_digest, raw_files, location, 'lost', num_rows, num_elements,
            schema, '{"num_rows": 3, "columns": [{"name": "X.MedInc", "type": "float64", "nulls": 0,
            "mean": 1.5, "std": 2.0, "min": 0.0, "max": 9.0}]}', split_counts, parameters, 'sample'
        FROM exp.datasets WHERE dataset_id = %s
    """
    with psycopg.connect(stack.dsn("trainer")) as connection:
        connection.execute(older, [trained["dataset"]["dataset_id"]])
    shown = run("datasets", "show", "older@1.0.0")
    assert shown.code == 0, shown.printed
    assert "X.MedInc" in shown.printed
    assert read(run("datasets", "show", "older", "--json"))["rows_digest"] is None
    differing = run("datasets", "diff", "older", name(trained["dataset"]))
    assert (differing.code, "same content" in differing.printed) == (0, True)
    assert "older 1.0.0" in run("lineage", "older").printed
    lost = run("datasets", "verify", "older")
    assert (lost.code, "LOST" in lost.printed) == (1, True)


def test_names_out_of_data_do_not_colour_a_terminal_nor_end_a_line(run, stack, trained):
    odd = """
        INSERT INTO exp.datasets (name, version, workload, digest, raw_digest, raw_files, location, mlflow_run_id,
            num_rows, num_elements, schema, profile, split_counts, parameters, data_source)
        SELECT 'odd', '1.0.0', workload, %s, raw_digest, raw_files, location, 'odd', num_rows, num_elements, %s,
            '{"num_rows": 3}', split_counts, parameters, 'sample'
        FROM exp.datasets WHERE dataset_id = %s
    """
    schema = json.dumps([{"name": "X.\x1b[31mred\nverdict  PASSED", "type": "float64", "nullable": True}])
    with psycopg.connect(stack.dsn("trainer")) as connection:
        connection.execute(odd, ["d" * 64, schema, trained["dataset"]["dataset_id"]])
    for words in (("show", "odd"), ("diff", "odd", name(trained["dataset"]))):
        ended = run("datasets", *words)
        assert ended.code == 0, ended.printed
        assert "X. [31mred verdict  PASSED" in ended.printed and "\x1b" not in ended.printed
    assert "statistics not known: one of them was logged without a profile" in ended.printed


def test_each_dataset_is_looked_at_when_its_turn_comes(stack, trained):
    """So that thousands of them need neither their profiles in memory nor a question each beforehand."""
    good = UUID(trained["dataset"]["dataset_id"])
    with open_session(stack, dsn=stack.dsn(stack.person), application_name="test", user=stack.person) as session:
        shares = []
        found = verify_datasets(session, [good, uuid4()], report=lambda step, share, message: shares.append(share))
        assert next(found).state == "ok"
        assert shares[-1] == 0.5
        with pytest.raises(RecordNotFound):
            next(found)
