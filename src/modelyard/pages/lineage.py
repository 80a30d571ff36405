"""A lineage as text: a tree for people, and a flowchart in Mermaid's language."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

_EVIDENCE = ("evaluation", "reproduction", "drift report")  # stands beside what it is about, up and down the flow
_MOST_FILES = 10  # of one dataset that are shown; JSON has all
_SHORT = 12  # digits of a digest or of a run's id in the flowchart
_COLOURS = {
    "raw": ("#f3f0e7", "#8a7a4f"),
    "dataset": ("#e3effb", "#3b78b5"),
    "run": ("#f1f1f1", "#777777"),
    "model": ("#e8e4f7", "#6f5bb0"),
    "evidence": ("#fdf3dc", "#b98a1d"),
    "policy": ("#eeeeee", "#777777"),
    "live": ("#dcf3e2", "#2e8b4f"),
    "removed": ("#fbe4e4", "#b54a4a"),
}


class Recorded(Protocol):
    """Something on record: what kind it is, how people name it, and its row."""

    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def facts(self) -> Mapping[str, Any]: ...


class Linked(Protocol):
    """Two ids, the second made from the first."""

    @property
    def source(self) -> str: ...
    @property
    def target(self) -> str: ...


def describe(node: Recorded) -> list[str]:
    """What is said of a node: a line that names it, and the facts of it."""
    facts = node.facts
    head, details = _DESCRIBED[node.kind](node.name, facts)
    if "created_by" in facts and "created_at" in facts:
        details.append(f"by {facts['created_by']}, {facts['created_at']:%Y-%m-%d %H:%M:%S} UTC")
    return [_one_line(line) for line in (head, *details) if line]


def draw_tree(nodes: Mapping[str, Recorded], edges: Iterable[Linked], *, starts: Sequence[str]) -> str:
    """Of each start: what it was made from, and what it led to. What was shown above is not told twice."""
    above, below = _neighbours(edges)

    def back(node_id: str) -> list[str]:
        evidence = [found for found in below[node_id] if nodes[found].kind in _EVIDENCE]
        return (evidence if node_id not in starts else []) + above[node_id]

    lines: list[str] = []
    for start in starts:
        head, *details = describe(nodes[start])
        lines += [head, *(f"  {line}" for line in details)]
        for title, step in (("made from", back), ("led to", below.__getitem__)):
            if step(start):
                lines += [title, *_branches(nodes, start, step)]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def draw_flowchart(nodes: Mapping[str, Recorded], edges: Iterable[Linked]) -> str:
    """A flowchart of Mermaid; of raw data with many files the files themselves are left out."""
    edges = list(edges)
    above, _ = _neighbours(edges)
    left_out = {
        file
        for node_id, node in nodes.items()
        if node.kind == "raw data" and len(above[node_id]) > _MOST_FILES
        for file in above[node_id]
    }
    short = {node_id: f"n{number}" for number, node_id in enumerate(nodes) if node_id not in left_out}
    lines = ["flowchart LR"]
    for node_id, key in short.items():
        label = "<br/>".join(map(_escape, _label(nodes[node_id])))
        lines.append(f'    {key}["{label}"]:::{_class(nodes[node_id])}')
    lines += [
        f"    {short[edge.source]} --> {short[edge.target]}"
        for edge in edges
        if edge.source in short and edge.target in short
    ]
    for name, (fill, stroke) in _COLOURS.items():
        lines.append(f"    classDef {name} fill:{fill},stroke:{stroke},color:#1a1a1a")
    return "\n".join(lines) + "\n"


def _neighbours(edges: Iterable[Linked]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """What each node was made from, and what was made from it."""
    above, below = defaultdict(list), defaultdict(list)
    for edge in edges:
        above[edge.target].append(edge.source)
        below[edge.source].append(edge.target)
    return above, below


def _branches(nodes: Mapping[str, Recorded], start: str, step: Callable[[str], list[str]]) -> Iterator[str]:
    """The lines below a start; not recursive, because a chain of datasets may be longer than Python's stack."""
    shown = {start}
    waiting = _siblings(nodes, step(start), "")
    while waiting:
        node_id, prefix, last = waiting.pop()
        corner, inner = (f"{prefix}└─ ", f"{prefix}   ") if last else (f"{prefix}├─ ", f"{prefix}│  ")
        if node_id not in nodes:  # a line that stands for several
            yield corner + node_id
            continue
        head, *details = describe(nodes[node_id])
        if node_id in shown:
            yield f"{corner}{head} (see above)"
            continue
        shown.add(node_id)
        children = step(node_id)
        # evidence is told once, beside the first node that it is about
        children = [
            child
            for child in children
            if child not in shown or not {nodes[node_id].kind, nodes[child].kind} & set(_EVIDENCE)
        ]
        yield corner + head
        for line in details:
            yield f"{inner}{'│ ' if children else '  '}{line}"
        waiting += _siblings(nodes, children, inner)


def _siblings(nodes: Mapping[str, Recorded], ids: list[str], prefix: str) -> list[tuple[str, str, bool]]:
    """Nodes with the same prefix, the first at the end; of many files some, and a line that counts the rest."""
    files = [node_id for node_id in ids if nodes[node_id].kind == "raw file"][_MOST_FILES:]
    if files:
        left_out = set(files)
        ids = [*(node_id for node_id in ids if node_id not in left_out), f"and {len(files):,} more files (--json)"]
    return [(node_id, prefix, number == len(ids) - 1) for number, node_id in enumerate(ids)][::-1]


def _label(node: Recorded) -> list[str]:
    """A node in the flowchart: what it is, in lines and digests that are short enough for a box."""
    name = node.name[:_SHORT] if node.kind == "run" else node.name
    head, _ = _DESCRIBED[node.kind](name, node.facts)
    found = node.facts.get("digest") or node.facts.get("sha256")
    return [*_one_line(head).split(", "), *([f"sha256 {found[:_SHORT]}"] if found else [])]


def _class(node: Recorded) -> str:
    if node.kind == "policy version":
        return "live" if node.facts["live"] else "policy"
    if node.kind == "dataset" and node.facts["removed_at"] is not None:
        return "removed"
    return "evidence" if node.kind in _EVIDENCE else node.kind.split()[0]


def _escape(text: str) -> str:
    """As Mermaid's entity codes, so that nothing in a name is taken for its language."""
    return "".join(char if char.isalnum() or char in " ._-,/=+" else f"#{ord(char)};" for char in text)


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


def _describe_raw(name: str, facts: Mapping[str, Any]) -> tuple[str, list[str]]:
    return f"raw file {name}, {facts['size_bytes']:,} bytes", [f"sha256 {facts['sha256']}"]


def _describe_raw_data(name: str, facts: Mapping[str, Any]) -> tuple[str, list[str]]:
    return f"raw data of {name}", [f"digest {facts['digest']}"]


def _describe_dataset(name: str, facts: Mapping[str, Any]) -> tuple[str, list[str]]:
    source = " of made-up sample data" if facts["data_source"] == "sample" else ""
    removed = ""
    if facts["removed_at"] is not None:
        at = f"{facts['removed_at']:%Y-%m-%d %H:%M:%S} UTC"
        removed = f"DELETED by {facts['removed_by']}, {at}: {facts['removal_reason']}"
    details = [removed, f"digest {facts['digest']}", _values(facts["parameters"]), _code(facts["code_version"])]
    return f"dataset {name}{source}, {facts['num_rows']:,} rows{', DELETED' if removed else ''}", details


def _describe_run(name: str, facts: Mapping[str, Any]) -> tuple[str, list[str]]:
    if "model_type" not in facts:  # known by its use of a dataset only
        return f"{facts['run_type']} run {name} (as {facts['context']})", []
    metrics = {metric: value for metric, value in facts["metrics"].items() if metric.startswith("test_")}
    details = [_values(facts["parameters"]), _values(metrics), _code(facts["code_version"])]
    return f"training run {name}, {facts['model_type']}", details


def _describe_model(name: str, facts: Mapping[str, Any]) -> tuple[str, list[str]]:
    return f"model version {name}, stage {facts['stage']}", []


def _describe_evaluation(_: str, facts: Mapping[str, Any]) -> tuple[str, list[str]]:
    verdict = "PASSED" if facts["passed"] else "REFUSED"
    model = f"{facts['mlflow_model_name']}/{facts['mlflow_model_version']}"
    return f"evaluation of {model} on {facts['dataset']}, {verdict}", [_values(facts["metrics"]), *facts["reasons"]]


def _describe_policy(name: str, facts: Mapping[str, Any]) -> tuple[str, list[str]]:
    return f"policy {name}, {'LIVE' if facts['live'] else 'not live'}", [_values(facts["config_defaults"])]


def _describe_reproduction(_: str, facts: Mapping[str, Any]) -> tuple[str, list[str]]:
    verdict = "all predictions equal" if facts["equal_predictions"] else "predictions NOT EQUAL"
    return f"reproduction, {verdict}", []


def _describe_drift(_: str, facts: Mapping[str, Any]) -> tuple[str, list[str]]:
    verdict = "DRIFTED" if facts["drifted"] else "no drift"
    return f"drift report, {verdict}, {facts['current_rows']:,} rows", [f"current digest {facts['current_digest']}"]


_DESCRIBED: dict[str, Callable[[str, Mapping[str, Any]], tuple[str, list[str]]]] = {
    "raw file": _describe_raw,
    "raw data": _describe_raw_data,
    "dataset": _describe_dataset,
    "run": _describe_run,
    "model version": _describe_model,
    "evaluation": _describe_evaluation,
    "policy version": _describe_policy,
    "reproduction": _describe_reproduction,
    "drift report": _describe_drift,
}


def _values(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={_value(values[name])}" for name in sorted(values))


def _value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _code(code: Mapping[str, Any]) -> str:
    """Empty where an older release did not keep it."""
    commit = code.get("commit")
    parts = [
        f"commit {commit}{' with changes' if code.get('dirty') else ''}" if commit else "",
        f"workload {code['workload_sha256'][:_SHORT]}" if "workload_sha256" in code else "",
        f"release {code['release']}" if "release" in code else "",
        f"Python {code['python']}" if "python" in code else "",
    ]
    return f"code {', '.join(filter(None, parts))}" if any(parts) else ""
