"""``modelyard runs | compare``: MLflow's runs by a filter, and some of them side by side."""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from modelyard import api
from modelyard.cli.output import make_console, one_line, print_json
from modelyard.cli.stack import JsonOption

if TYPE_CHECKING:
    from mlflow.entities import Run

    from modelyard.pipeline.comparison import Row

_METRICS = 2  # that a list shows where none is named


def runs(
    where: Annotated[
        str,
        typer.Option(metavar="FILTER", help="MLflow's filter, e.g. \"metrics.test_rmse < 0.5 and params.seed = '7'\"."),
    ] = "",
    order_by: Annotated[
        list[str] | None,
        typer.Option(metavar="ORDER", help='E.g. "metrics.test_rmse asc"; repeatable. Default: the newest first.'),
    ] = None,
    workload: Annotated[str | None, typer.Option(help="Only runs of this workload.")] = None,
    experiment: Annotated[str | None, typer.Option(metavar="NAME", help="Only runs of this MLflow experiment.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=50_000, help="How many.")] = 20,
    json_output: JsonOption = False,
) -> None:
    """List MLflow runs that meet a filter, in all MLflow experiments."""
    from modelyard.tracking.search import list_named_metrics, search_runs

    clauses = [where] if where.strip() else []
    if workload is not None:
        clauses.append(f"tags.workload = '{_check_text('--workload', workload)}'")
    with api.connect("person", application_name="modelyard runs") as session:
        found = search_runs(
            session.mlflow,
            where=" and ".join(clauses),
            order_by=order_by or [],
            experiment=experiment,
            nb_runs=limit,
        )
        pages = {run.info.run_id: session.pages.run(run.info.experiment_id, run.info.run_id) for run in found}
    if json_output:
        print_json([_encode(run, pages[run.info.run_id]) for run in found])
        return
    metrics = list_named_metrics(where, *(order_by or [])) or _choose_metrics(found)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("run", "type", "workload", "status", "started (UTC)"):
        table.add_column(name, no_wrap=True)
    for name in metrics:
        table.add_column(one_line(name), justify="right")
    for run in found:
        tags, values = run.data.tags, run.data.metrics
        table.add_row(
            run.info.run_id,
            one_line(tags.get("run_type", "")),
            one_line(tags.get("workload", "")),
            run.info.status,
            f"{datetime.fromtimestamp(run.info.start_time / 1000, UTC):%d %b %H:%M:%S}",
            *(f"{values[name]:.6g}" if name in values else "" for name in metrics),
        )
    make_console(json=False).print(table)


def compare(
    run: Annotated[
        list[str], typer.Argument(metavar="RUN RUN…", help="Two to eight runs: ids, or MODEL/VERSION for its training.")
    ],
    different: Annotated[bool, typer.Option("--different", help="Only what is not the same in all of them.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Show runs side by side: datasets with version and digest, params and metrics; ≠ marks what differs."""
    from modelyard.pipeline.comparison import compare_runs

    with api.connect("person", application_name="modelyard compare") as session:
        found = compare_runs(session, run)
    parts = {"run": found.facts, "dataset": found.datasets, "param": found.params, "metric": found.metrics}
    if json_output:
        encoded = {
            f"{part}s": [
                {"name": row.name, "values": [*map(_plain, row.values)], "differs": row.differs} for row in rows
            ]
            for part, rows in parts.items()
        }
        print_json({"run_ids": found.run_ids} | encoded)
        return
    table = Table("", "", box=SIMPLE_HEAD, pad_edge=False)
    for name, run_id in zip(run, found.run_ids, strict=True):
        table.add_column(one_line(name if "/" in name else run_id), overflow="fold")
    for part, rows in parts.items():
        for row in rows:
            if row.differs or not different:
                mark = "≠" if row.differs else ""
                table.add_row(mark, f"{part} {one_line(row.name)}", *_show(row), style="bold" if mark else "")
        table.add_section()
    make_console(json=False).print(table)


def _check_text(option: str, text: str) -> str:
    from modelyard.errors import BadInput

    if "'" in text or "\\" in text:
        raise BadInput(f"{option} {text!r}: no workload is called so")
    return text


def _choose_metrics(found: "Sequence[Run]") -> list[str]:
    """The metrics that most of the runs have, those of test rows first."""
    counts: dict[str, int] = {}
    for run in found:
        for name in run.data.metrics:
            counts[name] = counts.get(name, 0) + 1
    order = sorted(counts, key=lambda name: (not name.startswith("test_"), -counts[name], name))
    return order[:_METRICS]


def _show(row: "Row") -> list[str]:
    """The values as text; two that differ never look the same."""
    texts = [f"{value:.6g}" if isinstance(value, float) else value for value in row.values]
    if row.differs and len(set(texts)) == 1:
        texts = [repr(value) for value in row.values]
    return ["" if text is None else one_line(str(text)) for text in texts]


def _encode(run: "Run", page: str) -> dict[str, Any]:
    return {
        "run_id": run.info.run_id,
        "experiment_id": run.info.experiment_id,
        "name": run.info.run_name,
        "type": run.data.tags.get("run_type"),
        "workload": run.data.tags.get("workload"),
        "status": run.info.status,
        "started_at": datetime.fromtimestamp(run.info.start_time / 1000, UTC).isoformat(),
        "params": dict(run.data.params),
        "metrics": {name: _plain(value) for name, value in run.data.metrics.items()},
        "url": page,
    }


def _plain(value: Any) -> Any:
    """As JSON has it, which knows neither NaN nor infinity."""
    return str(value) if isinstance(value, float) and not isfinite(value) else value
