"""``modelyard train | process``: from raw data to a policy version, or to a dataset."""

import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from modelyard.cli.output import make_console
from modelyard.cli.submission import Submission, bring_up, check_way
from modelyard.errors import BadInput, InvalidParameter
from modelyard.pipeline.raw import HashedData
from modelyard.settings import load_settings
from modelyard.stack.choice import choose_stack
from modelyard.workloads.registry import locate_workload

Workload = Annotated[
    str, typer.Argument(metavar="NAME|FILE.py", help="Which workload: california_housing, or a file of your own.")
]
Data = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE|FOLDER|s3://…",
        help="Raw data; with it nothing else is tried. Of several files one each. Default: data folder, download, "
        "sample.",
    ),
]
ModelType = Annotated[str | None, typer.Option(help="One of the workload's model types.")]
Params = Annotated[str, typer.Option(help="Parameters in one text: 'max_depth=6 learning_rate=0.1'.")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="One parameter; may be repeated.")
]
Config = Annotated[
    str | None, typer.Option(help="A YAML file of parameters, or the name of one that ships with the workload.")
]
Level = Annotated[
    str | None, typer.Option(help="What a row is, where the workload has this parameter: window or participant.")
]
Dataset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[@VERSION]|DIGEST", help="A dataset on record. Default: the newest that fits, else a file."
    ),
]
FromRun = Annotated[
    str | None,
    typer.Option("--use-dataset-from-run", metavar="RUN_ID", help="The dataset that this MLflow run has logged."),
]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse to fall back to a file where no dataset fits.")]
AllowInvalid = Annotated[
    bool, typer.Option("--allow-invalid", help="Log rows that break an expectation; what they break is recorded.")
]
RunName = Annotated[str | None, typer.Option(help="Name of the MLflow run.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Print the job's number and return.")]
Inline = Annotated[bool, typer.Option("--inline", help="Do the work in this process, without the queue.")]
Queue = Annotated[
    str | None, typer.Option(metavar="NAME", help="Which workers do it: those of make worker NAME=…; else the stack's.")
]
IntoRun = Annotated[
    str | None,
    typer.Option(metavar="RUN_ID", help="Train in this MLflow run, which is RUNNING and empty, instead of a new one."),
]
JsonOutput = Annotated[bool, typer.Option("--json", help="Print the outcome as JSON on stdout.")]


def train(
    workload: Workload,
    data: Data = None,
    dataset: Dataset = None,
    use_dataset_from_run: FromRun = None,
    strict: Strict = False,
    allow_invalid: AllowInvalid = False,
    model_type: ModelType = None,
    level: Level = None,
    params: Params = "",
    assignments: Assignments = None,
    config: Config = None,
    run_name: RunName = None,
    experiment_name: Annotated[str | None, typer.Option(help="MLflow experiment; default: the workload's.")] = None,
    into_run: IntoRun = None,
    no_wait: NoWait = False,
    inline: Inline = False,
    queue: Queue = None,
    json_output: JsonOutput = False,
) -> None:
    """Train and evaluate a workload, from raw data to a policy version."""
    _ask(
        "train",
        workload=workload,
        data=data,
        dataset=dataset,
        run_id=use_dataset_from_run,
        strict=strict,
        allow_invalid=allow_invalid,
        model_type=model_type,
        params=params,
        assignments=add_level(assignments, level),
        config=config,
        run_name=run_name,
        experiment_name=experiment_name,
        into_run=into_run,
        no_wait=no_wait,
        inline=inline,
        queue=queue,
        json_output=json_output,
    )


def process(
    workload: Workload,
    data: Data = None,
    version: Annotated[
        str | None, typer.Option(help="The dataset's version, e.g. 2025-01-03. Default: the next one by rule.")
    ] = None,
    allow_invalid: AllowInvalid = False,
    level: Level = None,
    params: Params = "",
    assignments: Assignments = None,
    config: Config = None,
    no_wait: NoWait = False,
    inline: Inline = False,
    queue: Queue = None,
    json_output: JsonOutput = False,
) -> None:
    """Make a dataset from raw data and log it, without training on it."""
    _ask(
        "process",
        workload=workload,
        data=data,
        version=version,
        allow_invalid=allow_invalid,
        params=params,
        assignments=add_level(assignments, level),
        config=config,
        no_wait=no_wait,
        inline=inline,
        queue=queue,
        json_output=json_output,
    )


def add_level(assignments: list[str] | None, level: str | None) -> list[str]:
    """The assignments of ``--set`` and, as one more, that of ``--level``."""
    return [*(assignments or []), *([f"level={level}"] if level is not None else [])]


def split_values(params: str, assignments: list[str] | None) -> list[str]:
    """All that ``--params`` and ``--set`` say, each ``name=value``.

    Raises:
        InvalidParameter: a quote is not closed.
    """
    try:
        return [*shlex.split(params), *(assignments or [])]
    except ValueError as error:
        raise InvalidParameter([f"--params {params!r} cannot be read: {error}"]) from None


def _ask(
    kind: Literal["train", "process"],
    *,
    workload: str,
    data: list[str] | None,
    allow_invalid: bool,
    params: str,
    assignments: list[str] | None,
    config: str | None,
    no_wait: bool,
    inline: bool,
    queue: str | None,
    json_output: bool,
    version: str | None = None,
    dataset: str | None = None,
    run_id: str | None = None,
    strict: bool = False,
    model_type: str | None = None,
    run_name: str | None = None,
    experiment_name: str | None = None,
    into_run: str | None = None,
) -> None:
    """Check everything, bring the stack up, store the raw data, queue the job; then what was asked for."""
    from modelyard.pipeline.dataset_request import check_processing
    from modelyard.pipeline.request import build_request, check_data, parse_assignments

    console = make_console(json=json_output)
    values = split_values(params, assignments)
    check_way(inline=inline, no_wait=no_wait, queue=queue)
    named = {"--data": data, "--dataset": dataset, "--use-dataset-from-run": run_id}
    if len(given := [option for option, value in named.items() if value is not None]) > 1:
        raise BadInput(f"{' and '.join(given)} each say what to train on; give one of them")
    if allow_invalid and (dataset is not None or run_id is not None):
        raise BadInput("--allow-invalid is of rows that are processed, and a dataset on record is not; leave it out")
    if strict and data is not None:
        raise BadInput("--strict refuses to take a file, and --data names one; give one of them")
    if into_run is not None and no_wait:
        raise BadInput("--no-wait returns, and whoever made the run of --into-run would end it; give one of them")
    settings = load_settings()
    assigned = parse_assignments(values)
    request = build_request(
        locate_workload(workload, places=settings.workload_places()),
        model_type=model_type,
        values=assigned,
        config=config,
        run_name=run_name,
        mlflow_experiment=experiment_name,
    )
    if kind == "process":
        check_processing(request, assigned, version=version)
    choice = choose_stack(settings)
    console.print(f"stack    {choice.stack}: {choice.why}")
    with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:

        def check() -> HashedData:
            hashed = check_data(
                request,
                data=data,
                data_dir=settings.data_dir,
                folder=Path(folder),
                report=lambda text: console.print(f"data     {text}"),
                allow_invalid=allow_invalid,
            )
            if hashed.raw.source == "sample":
                console.print(f"data     {hashed.raw.why}", style="bold yellow")
            return hashed

        options: dict[str, Any] = {"version": version, "allow_invalid": allow_invalid}
        hashed = check() if kind == "process" or data is not None else None
        submission = Submission(console, settings, bring_up(console, settings), spec=request.workload.spec)
        if into_run is not None:
            request = submission.give_run(request, into_run)
            options["into_run"] = into_run
        selection = None
        if hashed is None:
            selection = submission.select(request, run_id=run_id, name=dataset, strict=strict)
            request, options = selection.request, options | selection.arguments()
            hashed = check() if selection.dataset is None else None
        raw = submission.store(hashed) if hashed else None
        arguments: Mapping[str, Any] = request.arguments(raw, **options)
        if selection is not None and selection.dataset is not None and run_id is None and dataset is None:
            arguments = submission.find_begun(arguments, selection.dataset) or arguments
        submission.submit(kind, arguments, inline=inline, queue=queue)
    submission.finish(no_wait=no_wait, json_output=json_output)
