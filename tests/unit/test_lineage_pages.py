"""A lineage as text: every node once, nothing in a name is taken for the language around it."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from modelyard.pages.lineage import draw_flowchart, draw_tree

WHO = {"created_by": "alice", "created_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)}


@dataclass(frozen=True)
class Node:
    kind: str
    name: str
    facts: dict[str, Any]


@dataclass(frozen=True)
class Edge:
    source: str
    target: str


def raw_file(name: str) -> Node:
    return Node("raw file", name, {"sha256": "0" * 64, "size_bytes": 10})


def dataset(name: str) -> Node:
    facts = {"digest": "a" * 64, "num_rows": 10, "parameters": {}, "code_version": {}, "data_source": "file_path"}
    return Node("dataset", name, facts | {"removed_at": None} | WHO)


def test_a_chain_longer_than_pythons_stack_is_drawn():
    nodes = {f"d{number}": dataset(f"houses {number}") for number in range(1500)}
    edges = [Edge(f"d{number}", f"d{number + 1}") for number in range(1499)]
    drawn = draw_tree(nodes, edges, starts=["d1499"])
    assert drawn.count("dataset houses ") == 1500
    assert "dataset houses 0," in drawn.splitlines()[-3]


def test_what_two_ways_lead_to_is_told_once():
    nodes = {name: dataset(name) for name in "abcd"}
    edges = [Edge("a", "b"), Edge("a", "c"), Edge("b", "d"), Edge("c", "d")]
    drawn = draw_tree(nodes, edges, starts=["a"])
    assert drawn.count("dataset d,") == 2
    assert drawn.count("(see above)") == 1
    assert "made from" not in drawn


def test_of_very_many_files_some_are_shown_and_the_rest_counted():
    data = Node("raw data", "100 files", {"digest": "f" * 64})
    nodes = {f"f{number}": raw_file(f"{number}.mat") for number in range(100)} | {"data": data, "d": dataset("eeg 1")}
    edges = [Edge(f"f{number}", "data") for number in range(100)] + [Edge("data", "d")]
    drawn = draw_tree(nodes, edges, starts=["d"])
    assert drawn.count("raw file ") == 10
    assert "└─ and 90 more files (--json)" in drawn
    assert draw_flowchart(nodes, edges).count("raw file") == 0
    assert "raw data of 100 files" in draw_flowchart(nodes, edges)


def test_a_control_sequence_in_a_name_does_not_reach_the_terminal():
    assert "\x1b" not in draw_tree({"f": raw_file("a\x1b[31m\nb.csv")}, [], starts=["f"])


def test_no_name_breaks_out_of_its_box_in_the_flowchart():
    evil = 'x"]; click n0 "javascript:alert(1)" %% `a` <b>#35; end\n subgraph {"'
    drawn = draw_flowchart({"f": raw_file(evil), "d": dataset("--> houses | 1.0.0")}, [Edge("f", "d")])
    lines = drawn.splitlines()
    assert lines[0] == "flowchart LR"
    box = re.compile(r'    n\d+\["(?:[\w ._,/=+-]|#\d+;|<br/>)+"\]:::\w+')
    assert [bool(box.fullmatch(line)) for line in lines[1:3]] == [True, True]
    assert lines[3] == "    n0 --> n1"
    assert all(line.startswith("    classDef ") for line in lines[4:])


def drift_report() -> Node:
    return Node("drift report", "r", {"drifted": True, "current_rows": 7, "current_digest": "c" * 64} | WHO)


def test_a_drift_report_stands_beside_its_reference_and_names_only_what_is_not_told_yet():
    model = Node("model version", "houses_model/1", {"stage": "candidate"} | WHO)
    nodes = {"d": dataset("houses 1.0.0"), "m": model, "r": drift_report(), "n": dataset("houses 2.0.0")}
    edges = [Edge("d", "m"), Edge("d", "r"), Edge("n", "r")]
    drawn = draw_tree(nodes, edges, starts=["m"])
    assert "(see above)" not in drawn
    assert [drawn.count(f"dataset houses {number}.0.0") for number in (1, 2)] == [1, 1]
    assert drawn.index("drift report") < drawn.index("houses 2.0.0")


def test_a_box_of_the_flowchart_is_narrow():
    run = Node("run", "f" * 32, {"model_type": "ridge", "parameters": {}, "metrics": {}, "code_version": {}})
    drawn = draw_flowchart({"d": dataset("houses 1.0.0"), "t": run}, [Edge("d", "t")])
    boxes = re.findall(r'\["(.*)"\]', drawn)
    assert boxes[0] == "dataset houses 1.0.0<br/>10 rows<br/>sha256 aaaaaaaaaaaa"
    assert boxes[1] == f"training run {'f' * 12}<br/>ridge"
