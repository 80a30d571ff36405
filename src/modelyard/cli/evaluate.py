"""``modelyard evaluate``: a model version on test rows, beside the version that is live, under the gate."""

from typing import Annotated, Any

import typer

from modelyard.cli.output import make_console, show_metric
from modelyard.cli.submission import Submission, bring_up, check_way
from modelyard.cli.train import Inline, JsonOutput
from modelyard.errors import BadInput
from modelyard.settings import load_settings
from modelyard.stack.choice import choose_stack
from modelyard.store.connections import connect
from modelyard.workloads.registry import find_spec


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL/VERSION", help="Which one, e.g. california_housing_model/3.")],
    dataset: Annotated[
        str | None,
        typer.Option(metavar="NAME[@VERSION]|DIGEST", help="Its test rows. Default: what the version was trained on."),
    ] = None,
    unseen_rows: Annotated[
        bool,
        typer.Option("--unseen-rows", help="Score only the rows that neither this version nor the live one has seen."),
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow it to its end, or return at once.")] = True,
    inline: Inline = False,
    json_output: JsonOutput = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the verdict as a table for a pull request on stdout.")
    ] = False,
) -> None:
    """Score a model version and the live one on the same test rows, and say whether the gate lets it pass.

    Exit code 3 if it is refused; 2 where the rows cannot tell, since a model was trained on some of them.
    """
    from modelyard.pipeline.evaluation_request import build_evaluation
    from modelyard.store.models import resolve_model_version

    if json_output and markdown:
        raise BadInput("--json and --markdown both print on stdout; give one of them")
    if markdown and not wait:
        raise BadInput("--markdown prints the verdict, and --no-wait does not wait for it; give one of them")
    console = make_console(json=json_output or markdown)
    check_way(inline=inline, no_wait=not wait)
    settings = load_settings()
    choice = choose_stack(settings)
    console.print(f"stack    {choice.stack}: {choice.why}")
    addresses = bring_up(console, settings)
    with connect(addresses.dsn(addresses.person)) as connection:
        version = resolve_model_version(connection, model)
        request = build_evaluation(connection, version, dataset=dataset, unseen_rows=unseen_rows)
    submission = Submission(console, settings, addresses, spec=find_spec(version.workload, version.workload_file))
    submission.submit("evaluate", request.arguments(), inline=inline)
    submission.finish(no_wait=not wait, json_output=json_output, show=print_markdown if markdown else None)


def print_markdown(outcome: dict[str, Any]) -> None:
    """Print a job's verdict as Markdown."""
    print(render_markdown(outcome["evaluation"]))


def render_markdown(evaluation: dict[str, Any]) -> str:
    """A verdict as Markdown: what was held against what, its metrics and its limits."""
    verdict = "passed" if evaluation["passed"] else "refused"
    rows = "" if evaluation["rows"] is None else f"{evaluation['rows']:,} test rows of "
    unseen = ", those that no model has seen" if evaluation["unseen_rows"] else ""
    against = evaluation["production"] or "nothing: no version is live"
    lines = [
        f"### {_escape(evaluation['model'])}: {verdict}",
        "",
        f"{rows}{_escape(evaluation['dataset'])}{unseen}, against {_escape(against)}.",
        "",
    ]
    intervals = evaluation["intervals"]
    if intervals:
        lines += ["| metric | candidate | production | difference | 95 % of it |", "|---|--:|--:|--:|--:|"]
        for interval in intervals:
            shown = [show_metric(interval[name]) for name in ("candidate", "production", "difference")]
            ends = f"{show_metric(interval['low'])} to {show_metric(interval['high'])}"
            lines.append(f"| {' | '.join([_escape(interval['metric']), *shown, ends])} |")
    else:
        lines += ["| metric | candidate |", "|---|--:|"]
        lines += [f"| {_escape(name)} | {show_metric(value)} |" for name, value in evaluation["metrics"].items()]
    lines += ["", "| limit | found | bound | |", "|---|--:|--:|---|"]
    for limit in evaluation["limits"]:
        held = "held" if limit["held"] else "**not held**"
        lines.append(f"| `{limit['limit']}` | {show_metric(limit['found'])} | {show_metric(limit['bound'])} | {held} |")
    if evaluation["reasons"]:
        lines += ["", *(f"- {_escape(reason)}" for reason in evaluation["reasons"])]
    return "\n".join([*lines, "", f"[Report]({evaluation['run_url']})"])


def _escape(text: str) -> str:
    """A name as text, whatever Markdown would make of it."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>|#" else c for c in text)
