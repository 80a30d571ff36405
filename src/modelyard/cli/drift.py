"""``modelyard drift``: new data against a dataset, column by column."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from modelyard.cli.output import make_console
from modelyard.cli.submission import Submission, bring_up, check_way
from modelyard.cli.train import Assignments, Config, Inline, JsonOutput, NoWait, Params, Workload, split_values
from modelyard.errors import BadInput
from modelyard.settings import load_settings
from modelyard.stack.choice import choose_stack
from modelyard.store.connections import connect
from modelyard.workloads.contract import Expectations
from modelyard.workloads.registry import locate_workload

Reference = Annotated[
    str | None,
    typer.Option(metavar="NAME[@VERSION]|DIGEST", help="What is expected: its training rows. Default: the newest."),
]
Data = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE|FOLDER|s3://…",
        help="Raw data that is processed as the reference was, and not logged. Of several files one each.",
    ),
]
Dataset = Annotated[
    str | None, typer.Option(metavar="NAME[@VERSION]|DIGEST", help="A dataset on record instead of raw data.")
]


def drift(
    workload: Workload,
    reference: Reference = None,
    data: Data = None,
    dataset: Dataset = None,
    params: Params = "",
    assignments: Assignments = None,
    config: Config = None,
    no_wait: NoWait = False,
    inline: Inline = False,
    json_output: JsonOutput = False,
) -> None:
    """Compare new data with the training rows of a dataset, and say which columns have drifted.

    Exit code 3 if one has; what cannot be measured is a failure or counts as drift.
    """
    from modelyard.pipeline.dataset_request import check_processing
    from modelyard.pipeline.drift_request import (
        DriftRequest,
        RawCurrent,
        choose_dataset,
        choose_parameters,
    )
    from modelyard.pipeline.raw import hash_raw, locate_raw
    from modelyard.pipeline.request import build_request, parse_assignments
    from modelyard.pipeline.rows import check_rows

    console = make_console(json=json_output)
    if (data is None) == (dataset is None):
        raise BadInput("name what is compared with the reference: either raw data with --data, or --dataset NAME")
    values = split_values(params, assignments)
    if dataset is not None and (config or values):
        raise BadInput("--config, --params and --set say how raw data is processed; with --dataset nothing is")
    check_way(inline=inline, no_wait=no_wait)
    settings = load_settings()
    assigned = parse_assignments(values)
    asked = build_request(locate_workload(workload, places=settings.workload_places()), values=assigned, config=config)
    check_processing(asked, assigned, version=None)
    choice = choose_stack(settings)
    console.print(f"stack    {choice.stack}: {choice.why}")

    def say(text: str) -> None:
        console.print(f"data     {text}")

    with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
        hashed = None
        if data is not None:
            located = locate_raw(
                asked.workload,
                data=data,
                data_dir=settings.data_dir,
                folder=Path(folder),
                report=say,
            )
            hashed = hash_raw(located)
        submission = Submission(console, settings, bring_up(console, settings), spec=asked.workload.spec)
        with connect(submission.dsn) as connection:
            expected = choose_dataset(connection, asked.workload, reference)
            current: Any = choose_dataset(connection, asked.workload, dataset) if dataset is not None else None
        if hashed is not None:
            parameters = choose_parameters(asked, expected)
            nothing = Expectations()  # rows that break the workload's may be what has drifted
            check_rows(
                asked.workload,
                hashed.located,
                parameters=parameters,
                expectations=nothing,
                trainable=False,
                report=say,
            )
            current = RawCurrent(raw=submission.store(hashed).reference(), parameters=parameters)
        console.print(
            f"compare  with {expected.name} {expected.version}: {expected.split_counts['train']:,} training rows"
        )
        request = DriftRequest(workload=asked.workload, code=asked.code, reference=expected, current=current)
        submission.submit("drift", request.arguments(), inline=inline)
    submission.finish(no_wait=no_wait, json_output=json_output)
