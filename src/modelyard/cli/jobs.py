"""``modelyard jobs``: what is queued, runs and has ended."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from modelyard.cli.following import JobFollower
from modelyard.cli.outcome import ANSWER_IS_NO, is_no
from modelyard.cli.output import MAX_INTEGER, make_console, print_json
from modelyard.cli.records import open_records
from modelyard.cli.stack import JsonOption
from modelyard.errors import BadInput, UnknownName
from modelyard.settings import name_program
from modelyard.store import attempts as store_attempts
from modelyard.store import jobs as store
from modelyard.store.connections import Connection
from modelyard.store.rights import needed_right

app = typer.Typer(no_args_is_help=True, help="List, show, follow, cancel and retry jobs.", rich_markup_mode=None)

JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="The job's id, or how it begins.")]
_STATES: tuple[store.JobState, ...] = ("queued", "running", "succeeded", "failed", "cancelled")


@app.command("list")
def list_(
    states: Annotated[
        list[str] | None, typer.Option("--state", help=f"Only jobs in this state ({', '.join(_STATES)}); repeatable.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_INTEGER, help="How many, the newest first.")] = 20,
    json_output: JsonOption = False,
) -> None:
    """List the newest jobs."""
    with open_records() as (_, connection):
        found = store.list_jobs(connection, states=_read_states(states), nb_jobs=limit)
    if json_output:
        print_json([_summary(job) for job in found])
        return
    console = make_console(json=False)
    names = ("job", "kind", "workload", "state", "attempt", "progress", "asked by", "asked at (UTC)", "took")
    table = Table(*names, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for job in found:
        table.add_row(
            str(job.job_id)[:8],
            job.kind,
            str(job.arguments.get("workload", "")),
            job.state,
            str(job.attempt or ""),
            _progress(job),
            "" if job.parent_job_id else job.created_by,
            f"{job.created_at:%d %b %H:%M:%S}",
            _took(job),
        )
    console.print(table)


@app.command()
def show(job: JobArgument, json_output: JsonOption = False) -> None:
    """Show a job: what was asked for, every attempt, and what it led to."""
    with open_records() as (_, connection):
        found = _find(connection, job)
        tried = store_attempts.list_attempts(connection, job_id=found.job_id)
        child = store.find_child(connection, job_id=found.job_id)
    if json_output:
        evaluation = str(child.job_id) if child else None
        print_json(asdict(found) | {"attempts": [asdict(one) for one in tried], "evaluation_job_id": evaluation})
        return
    console = make_console(json=False)
    for name, value in (
        ("job", f"{found.job_id} ({found.kind}, {found.state})"),
        ("asked", f"by {found.created_by}, {found.created_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("took", _took(found)),
        ("error", found.error),
        ("follows", found.parent_job_id),
        ("queue", found.queue),
        ("then", f"{child.job_id} ({child.kind}, {child.state})" if child else None),
    ):
        if value:
            console.print(f"{name:<9}{value}")
    for name, text in _describe(found.arguments):
        console.print(f"  {name:<18}{text}")
    if tried:
        table = Table("attempt", "state", "worker", "began", "ended", "got to", "error")
        for one in tried:
            table.add_row(
                str(one.attempt),
                one.state,
                one.worker,
                f"{one.started_at:%H:%M:%S}",
                f"{one.ended_at:%H:%M:%S}" if one.ended_at else "",
                f"{one.progress_step} {one.progress_share:.0%}" if one.progress_step else "",
                one.error or "",
            )
        console.print(table)
    for name, value in (found.result or {}).items():
        if isinstance(value, dict) and (url := value.get("run_url") or value.get("url")):
            console.print(f"{name:<15}{url}")


@app.command()
def follow(job: JobArgument, json_output: JsonOption = False) -> None:
    """Follow a job to its end; the exit code is that of the command that asked for it."""
    with open_records() as (addresses, connection):
        found = _find(connection, job)
    console = make_console(json=json_output)
    outcome = JobFollower(console, addresses.dsn(addresses.person)).follow(found.job_id)
    if json_output:
        print_json(outcome)
    if is_no(outcome):
        raise typer.Exit(ANSWER_IS_NO)


@app.command()
def cancel(job: JobArgument, json_output: JsonOption = False) -> None:
    """Cancel a job: at once if it waits; if it runs, its worker stops it."""
    with open_records() as (_, connection):
        found = _find(connection, job)
        with needed_right(connection, group="trainer", to="cancel jobs"):
            state = store.cancel_job(connection, job_id=found.job_id)
    if json_output:
        print_json({"job_id": str(found.job_id), "state": state})
    elif state == "running":
        print(f"job {found.job_id} is being stopped at {found.worker}")
    else:
        print(f"job {found.job_id} is cancelled")


@app.command()
def retry(job: JobArgument, json_output: JsonOption = False) -> None:
    """Queue a job that failed or was cancelled once more."""
    with open_records() as (_, connection):
        found = _find(connection, job)
        with needed_right(connection, group="trainer", to="retry jobs"):
            store.retry_job(connection, job_id=found.job_id)
    if json_output:
        print_json({"job_id": str(found.job_id), "state": "queued"})
    else:
        print(f"job {found.job_id} is queued; follow it: {name_program()} jobs follow {str(found.job_id)[:8]}")


def _find(connection: Connection, text: str) -> store.Job:
    """The one job that a text stands for."""
    prefix = text.strip().lower()
    if not prefix or set(prefix) - set("0123456789abcdef-"):
        raise BadInput(f"{text!r} is no job; {name_program()} jobs list shows those there are")
    try:
        return store.get_job(connection, job_id=UUID(prefix))
    except ValueError:
        found = store.list_jobs_by_prefix(connection, prefix=prefix)
    if len(found) == 1:
        return found[0]
    if found:
        raise BadInput(f"{len(found)} jobs begin with {text}: {', '.join(str(job.job_id) for job in found)}")
    raise BadInput(f"no job begins with {text}; {name_program()} jobs list shows those there are")


def _read_states(texts: list[str] | None) -> list[store.JobState] | None:
    if not texts:
        return None
    known: dict[str, store.JobState] = {state: state for state in _STATES}
    for text in texts:
        if text not in known:
            raise UnknownName("state", text, known)
    return [known[text] for text in texts]


def _summary(job: store.Job) -> dict[str, Any]:
    values = asdict(job)
    del values["results"], values["result"]
    return values


def _describe(arguments: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """A job's arguments for people, a line each; what was not given is left out."""
    for name, value in sorted(arguments.items()):
        if name == "raw":
            for file in value["files"]:
                yield name, f"{file['name']}, {file['size_bytes']:,} bytes, sha256 {file['sha256']}"
        elif isinstance(value, dict):
            yield name, " ".join(f"{key}={value[key]}" for key in sorted(value))
        elif value is not None:
            yield name, str(value)


def _progress(job: store.Job) -> str:
    if job.state == "running":
        return f"{job.progress_step} {job.progress_share:.0%}"
    if job.state == "queued" and job.due_at > datetime.now(UTC):
        return f"at {job.due_at:%H:%M:%S}"
    return ""


def _took(job: store.Job) -> str:
    """From the moment it was asked for to its end, pauses included."""
    seconds = ((job.finished_at or datetime.now(UTC)) - job.created_at).total_seconds()
    return f"{seconds:,.1f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"
