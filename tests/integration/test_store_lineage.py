"""Lineage both ways, from rows alone: what something was made from, and everything that came of it."""

import json
import re
from types import SimpleNamespace

import pytest

from modelyard.errors import BadInput, UnknownName
from modelyard.pages.lineage import draw_flowchart, draw_tree
from modelyard.store import drift_reports, policies, removals, reproductions, usage
from modelyard.store.datasets import record_use
from modelyard.store.lineage import trace

FILES = [{"name": f"{number}.mat", "sha256": f"{number}" * 64, "size_bytes": 5} for number in (1, 2, 3)]


@pytest.fixture
def world(records):
    """houses → cleaned → small, a model on the first and one on the last; a deleted copy; flats, apart from all."""
    base = records.dataset(digest="a")
    made = {"raw_digest": None, "raw_files": []}
    cleaned = records.dataset(digest="b", name="cleaned", parent_dataset_id=base.dataset_id, **made)
    small = records.dataset(digest="c", name="small", parent_dataset_id=cleaned.dataset_id, **made)
    flats = records.dataset(digest="e", name="flats", raw_digest="f" * 64, raw_files=FILES, mlflow_run_id="r9")
    old = records.dataset(digest="d", name="old", parent_dataset_id=base.dataset_id, **made)
    removals.remove_dataset(records.database.connect("alice_trainer"), old, reason="it held names")
    for version, dataset in (("1", base), ("2", small)):
        records.model_version(version=version, dataset_id=dataset.dataset_id)
        records.evaluation(version=version, dataset_id=dataset.dataset_id, mlflow_run_id=f"e{version}")
        added = policies.add_policy_version(
            records.evaluator,
            policy_id="houses_policy",
            mlflow_model_name="houses_model",
            mlflow_model_version=version,
        )
        records.put_live(added)
    other = {"mlflow_model_name": "flats_model", "mlflow_run_id": "run-f", "mlflow_model_id": "m-f"}
    records.model_version(version="1", dataset_id=flats.dataset_id, **other)
    for run_id, context in (("run-2", "training"), ("abandoned", "training"), ("e2", "evaluation")):
        kind = "evaluation" if run_id == "e2" else "training"
        record_use(records.trainer, dataset_id=small.dataset_id, mlflow_run_id=run_id, run_type=kind, context=context)
    reproductions.record_reproduction(
        records.trainer,
        mlflow_model_name="houses_model",
        mlflow_model_version="2",
        equal_predictions=True,
        metrics={},
        differences=[],
        code_version={},
        environment={},
        mlflow_run_id="again",
    )
    drift_reports.record_drift_report(
        records.evaluator,
        dataset_id=small.dataset_id,
        current_dataset_id=None,
        current_digest="9" * 64,
        current_raw_digest="8" * 64,
        current_rows=100,
        columns=[],
        limits={},
        drifted=True,
        mlflow_run_id="drifting",
        job_id=None,
    )
    viewer = records.database.connect("alice_viewer")
    return SimpleNamespace(records=records, viewer=viewer, base=base, small=small, flats=flats, old=old)


def names(lineage, kind):
    return {node.name for node in lineage.nodes.values() if node.kind == kind}


def test_a_model_version_leads_back_to_the_raw_bytes_through_every_parent(world):
    found = trace(world.viewer, "houses_model/2")
    assert found.starts == ["model:houses_model/2"]
    assert names(found, "dataset") == {"houses 1.0.0", "cleaned 1.0.0", "small 1.0.0"}
    assert names(found, "raw file") == {"houses.csv"}
    assert names(found, "model version") == {"houses_model/2"}
    assert names(found, "policy version") == {"houses_policy version 2"}
    kinds = [node.kind for node in found.nodes.values()]
    assert [kinds.count(kind) for kind in ("evaluation", "reproduction", "drift report", "run")] == [1, 1, 1, 1]
    run = found.nodes["run:run-2"].facts
    assert (run["parameters"], run["code_version"]) == ({"alpha": 1.0}, {"commit": "c" * 40})


def test_a_model_version_is_drawn_from_itself_down_to_the_bytes(world):
    found = trace(world.viewer, "houses_model/2")
    drawn = draw_tree(found.nodes, found.edges, starts=found.starts)
    datasets = ("dataset small", "dataset cleaned", "dataset houses")
    places = [drawn.index(step) for step in ("made from", "training run run-2", *datasets, "raw file", "led to")]
    assert places == sorted(places)
    assert f"sha256 {'0' * 64}" in drawn
    assert "policy houses_policy version 2, LIVE" in drawn
    assert "reproduction, all predictions equal" in drawn
    assert "drift report, DRIFTED, 100 rows" in drawn


def test_a_raw_file_leads_to_everything_that_came_of_it_and_to_nothing_else(world):
    for text in ("0" * 64, "0" * 8):
        found = trace(world.viewer, text)
        assert found.starts == [f"raw:{'0' * 64}"]
        assert names(found, "dataset") == {"houses 1.0.0", "cleaned 1.0.0", "small 1.0.0", "old 1.0.0"}
        assert names(found, "model version") == {"houses_model/1", "houses_model/2"}
        assert names(found, "run") == {"run-1", "run-2", "abandoned"}
    live = {node.name: node.facts["live"] for node in found.nodes.values() if node.kind == "policy version"}
    assert live == {"houses_policy version 1": False, "houses_policy version 2": True}


@pytest.mark.parametrize("text", ["small@1.0.0", "small", "c" * 64, "c" * 8])
def test_a_dataset_is_found_by_name_version_and_digest_and_leads_both_ways(world, text):
    found = trace(world.viewer, text)
    assert found.starts == [f"dataset:{world.small.dataset_id}"]
    assert names(found, "dataset") == {"houses 1.0.0", "cleaned 1.0.0", "small 1.0.0"}
    assert names(found, "model version") == {"houses_model/2"}
    assert names(found, "run") == {"run-2", "abandoned"}, "the evaluation's run stands there as the evaluation"
    drawn = draw_tree(found.nodes, found.edges, starts=found.starts)
    assert drawn.index("made from") < drawn.index("raw file") < drawn.index("led to") < drawn.index("houses_model/2,")


def test_one_of_several_raw_files_and_their_digest_lead_to_the_same_models(world):
    by_file, by_all = (trace(world.viewer, text) for text in ("2" * 64, "f" * 64))
    for found in (by_file, by_all):
        assert names(found, "model version") == {"flats_model/1"}
        assert names(found, "raw file") == {"1.mat", "2.mat", "3.mat"}
        assert names(found, "raw data") == {"3 files"}
    assert (by_file.starts, by_all.starts) == ([f"raw:{'2' * 64}"], [f"raw:{'f' * 64}"])


def test_a_deleted_dataset_still_has_its_lineage_and_says_who_deleted_it(world):
    found = trace(world.viewer, "old@1.0.0")
    drawn = draw_tree(found.nodes, found.edges, starts=found.starts)
    assert "DELETED by alice_trainer" in drawn
    assert "it held names" in drawn
    assert names(found, "raw file") == {"houses.csv"}


def test_data_held_against_a_dataset_leads_to_the_drift_report(world):
    files = [{"name": "now.csv", "sha256": "8" * 64, "size_bytes": 5}]
    world.records.dataset(digest="7", name="current", raw_digest="8" * 64, raw_files=files)
    assert [node.kind for node in trace(world.viewer, "8" * 64).nodes.values()].count("drift report") == 1


def test_two_datasets_with_one_digest_are_both_told(world):
    world.records.dataset(digest="c", name="copy")
    found = trace(world.viewer, "c" * 64)
    assert [found.nodes[start].name for start in found.starts] == ["small 1.0.0", "copy 1.0.0"]


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("houses_model/3", "houses_model/2"),
        ("smal@1.0.0", "small@1.0.0"),
        ("12345678", "houses_model/1"),
        ("", "Known"),
    ],
)
def test_what_is_not_on_record_is_refused_with_the_nearest_name(world, text, nearest):
    with pytest.raises(UnknownName, match=re.escape(nearest)):
        trace(world.viewer, text)


def test_digits_that_several_digests_begin_with_are_refused(world):
    digest = "c" * 8 + "0" * 56
    files = [{"name": "other.csv", "sha256": digest, "size_bytes": 5}]
    world.records.dataset(digest="7", name="other", raw_digest=digest, raw_files=files)
    with pytest.raises(BadInput, match="several digests begin with cccccccc"):
        trace(world.viewer, "c" * 8)


def test_a_chain_of_many_parents_is_walked_in_one_query(records):
    parent = records.dataset(digest="a")
    for number in range(60):
        above = parent.dataset_id
        parent = records.dataset(name=f"step{number}", raw_digest=None, raw_files=[], parent_dataset_id=above)
    found = trace(records.trainer, "step59")
    assert len(names(found, "dataset")) == 61
    assert draw_tree(found.nodes, found.edges, starts=found.starts).count("└─ ") == 61
    assert len(names(trace(records.trainer, "0" * 64), "dataset")) == 61


def test_every_node_and_edge_is_plain_json_and_in_the_flowchart(world):
    found = trace(world.viewer, "0" * 64)
    json.dumps([node.facts for node in found.nodes.values()], default=str)
    drawn = draw_flowchart(found.nodes, found.edges)
    assert drawn.count(" --> ") == len(found.edges)
    assert drawn.count("]:::") == len(found.nodes)
    assert drawn.count("]:::live") == 1
    assert drawn.count("]:::removed") == 1


def test_a_listing_counts_models_and_marks_what_was_deleted(world):
    found = {one.name: one for one in usage.list_summaries(world.viewer)}
    assert [one.name for one in usage.list_summaries(world.viewer, limit=2)] == ["old", "flats"]
    assert {name: one.nb_model_versions for name, one in found.items()} == {
        "houses": 1,
        "cleaned": 0,
        "small": 1,
        "flats": 1,
        "old": 0,
    }
    assert [name for name, one in found.items() if one.removed_at] == ["old"]
    assert [one.name for one in usage.list_summaries(world.viewer, name="flats", workload="houses")] == ["flats"]


def test_uses_of_a_dataset_name_the_model_that_came_of_the_run(world):
    uses = usage.list_uses(world.viewer, dataset_id=world.small.dataset_id)
    found = {use.mlflow_run_id: use.model_version for use in uses}
    assert found == {"run-2": "houses_model/2", "abandoned": None, "e2": None}
    [use] = usage.list_uses(world.viewer, dataset_id=world.base.dataset_id)
    assert (use.mlflow_run_id, use.model_version) == ("run-1", "houses_model/1"), "from before uses were kept"
