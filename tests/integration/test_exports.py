"""Datasets handed out on a running stack: as files that others read, and as events for a data catalogue."""

import csv
import json
from uuid import UUID

import pandas as pd
import pyarrow.parquet as pq
import pytest
from openlineage.client import OpenLineageClient
from openlineage.client.transport.file import FileConfig, FileTransport

from modelyard.data.digest import digest_table
from modelyard.data.files import read_table
from modelyard.pipeline.openlineage import list_events
from modelyard.store.catalogue import resolve_dataset
from modelyard.store.connections import connect
from modelyard.workloads.registry import get_workload
from tests.integration.trainings import environment_of, run_command

NAME = "california_housing"


@pytest.fixture(scope="module")
def run(stack, stack_settings, tmp_path_factory):
    """Run ``modelyard`` with these arguments."""
    settings = environment_of(stack, stack_settings.mlflow_port)
    return lambda *words: run_command([*words], environment=settings, folder=tmp_path_factory.mktemp("command"))


@pytest.fixture(scope="module")
def trained(run, tmp_path_factory):
    """A training with its evaluation, on the sample."""
    [sample] = get_workload(NAME).sample(tmp_path_factory.mktemp("raw"), seed=31)
    words = ("--model-type", "ridge", "--set", "seed=808", "--json")
    ended = run("train", NAME, "--data", str(sample), *words)
    assert ended.code in (0, 3), ended.printed
    return ended.outcome


@pytest.fixture(scope="module")
def digest(trained):
    return trained["dataset"]["digest"]


def read_run_id(outcome):
    """A run's id, out of its address in MLflow."""
    return outcome["run_url"].partition("/runs/")[2][:32]


@pytest.mark.parametrize("format_name", ["parquet", "arrow", "csv", "jsonl"])
def test_a_file_of_any_format_has_the_rows_that_were_logged(run, trained, digest, tmp_path, format_name):
    path = tmp_path / f"houses.{format_name}"
    ended = run("datasets", "export", digest, "--format", format_name, "--output", str(path), "--json")
    assert ended.code == 0, ended.printed
    told = json.loads(ended.printed[ended.printed.index("{") :])
    assert (told["digest"], told["num_rows"], told["num_columns"]) == (digest, 2000, 10)
    table = read_table(path)
    assert table.column_names[-2:] == ["MedHouseVal", "split"]
    counts = {one["values"]: one["counts"] for one in table["split"].value_counts().to_pylist()}
    assert counts == trained["dataset"]["split_counts"]


def test_the_digest_of_a_file_with_full_names_is_the_datasets_for_anybody(run, digest, tmp_path):
    path = tmp_path / "houses.parquet"
    assert run("datasets", "export", digest, "--full-names", "--output", str(path)).code == 0
    assert digest_table(pq.read_table(path)) == digest
    assert digest in run("digest", str(path)).printed


def test_a_spreadsheet_and_pandas_read_the_same_numbers(run, digest, tmp_path):
    paths = {name: tmp_path / f"houses.{name}" for name in ("csv", "parquet")}
    for name, path in paths.items():
        assert run("datasets", "export", digest, "--format", name, "--output", str(path)).code == 0
    frame = pd.read_parquet(paths["parquet"])
    pd.testing.assert_frame_equal(
        pd.read_csv(paths["csv"]), frame, check_dtype=False, check_exact=True, check_column_type=False
    )
    with paths["csv"].open(newline="") as file:
        assert next(csv.reader(file)) == list(frame.columns)


def test_a_file_that_is_there_is_replaced_only_when_it_is_said(run, digest, tmp_path):
    path = tmp_path / "houses.csv"
    path.write_text("mine")
    words = ("datasets", "export", digest, "--format", "csv", "--output", str(path))
    refused = run(*words)
    assert refused.code == 2 and "--force" in refused.printed and path.read_text() == "mine"
    assert run(*words, "--force").code == 0
    assert path.read_text().startswith('"MedInc"')


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("no_such_dataset",), "no_such_dataset"),
        ((NAME, "--format", "xlsx"), "Known: arrow, csv, jsonl, openlineage, parquet"),
        ((NAME, "--output", "/no folder/houses.csv"), "--output"),
        ((NAME, "--format", "csv", "--force"), "leave out --force"),
        ((NAME, "--format", "openlineage", "--full-names"), "leave out --full-names"),
        ((NAME, "--format", "csv", "--namespace", "ours"), "leave out --namespace"),
    ],
)
def test_what_cannot_be_exported_is_refused_with_the_reason(run, digest, words, said):
    ended = run("datasets", "export", *words)
    assert ended.code == 2 and said in ended.printed, ended.printed


def test_of_a_dataset_that_was_changed_not_one_byte_is_written(run, stack, tmp_path):
    [sample] = get_workload(NAME).sample(tmp_path, seed=32)
    dataset = run("process", NAME, "--data", str(sample), "--json").outcome["dataset"]
    [stored] = stack.home.rglob(f"{read_run_id(dataset)}/artifacts/metadata/y.parquet")
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    stored.write_bytes(content)
    path = tmp_path / "houses.csv"
    ended = run("datasets", "export", dataset["digest"], "--format", "csv", "--output", str(path))
    assert ended.code == 1 and "is not what was recorded" in ended.printed, ended.printed
    assert not path.exists() and not [one for one in tmp_path.iterdir() if one.name != sample.name]


def test_a_catalogue_is_told_of_the_real_runs(run, trained, digest, tmp_path):
    path = tmp_path / "events.jsonl"
    words = ("--format", "openlineage", "--namespace", "ours", "--output", str(path))
    assert run("datasets", "export", digest, *words).code == 0
    made, *used = [json.loads(line) for line in path.read_text().splitlines()]
    assert UUID(made["run"]["runId"]).hex == read_run_id(trained["dataset"])
    [raw] = made["inputs"]
    assert raw["name"].endswith(f"{trained['raw']['files'][0]['sha256']}/{trained['raw']['files'][0]['name']}")
    [output] = made["outputs"]
    columns = output["facets"]["dataQualityMetrics"]["columnMetrics"]
    assert columns["X.MedInc"]["count"] == 2000 and columns["X.MedInc"]["min"] > 0
    assert [field["name"] for field in output["facets"]["schema"]["fields"]][-2:] == ["y.MedHouseVal", "split"]
    runs = {UUID(event["run"]["runId"]).hex: event for event in used}
    assert set(runs) == {trained["training"]["run_id"], read_run_id(trained["evaluation"])}
    version = trained["registration"]["version"]
    judged = next(event for event in used if event["job"]["name"].endswith(".evaluate"))
    assert judged["outputs"] == []
    for event in used:
        [model] = event["outputs"] or event["inputs"][1:]
        assert model["facets"]["version"]["datasetVersion"] == str(version)


def test_the_librarys_own_client_sends_exactly_what_the_command_writes(run, stack, trained, digest, tmp_path):
    path, sent = tmp_path / "events.jsonl", tmp_path / "sent.jsonl"
    assert run("datasets", "export", digest, "--format", "openlineage", "--output", str(path)).code == 0
    client = OpenLineageClient(transport=FileTransport(FileConfig(log_file_path=str(sent), append=True)))
    with connect(stack.dsn(stack.person)) as connection:
        for event in list_events(connection, resolve_dataset(connection, digest), raw_uri=stack.raw_uri):
            client.emit(event)
    read = [[json.loads(line) for line in one.read_text().splitlines()] for one in (path, sent)]
    for event in read[1]:
        event["run"]["facets"].pop("tags", None)  # the client's own name and version
    assert read[0] == read[1]
