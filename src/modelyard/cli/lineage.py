"""``modelyard lineage``: what a model, a dataset or a raw file was made from, and what came of it."""

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from modelyard.cli.output import make_console, print_json
from modelyard.cli.stack import JsonOption
from modelyard.errors import BadInput
from modelyard.pages.lineage import draw_flowchart, draw_tree
from modelyard.stack.current import get_addresses
from modelyard.store.connections import connect
from modelyard.store.lineage import trace


def lineage(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="MODEL/VERSION | NAME[@VERSION] | DIGEST",
            help="A model version, a dataset, or the sha256 of a dataset or raw file (its first 8 digits or more).",
        ),
    ],
    json_output: JsonOption = False,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print a flowchart in Mermaid's language.")] = False,
) -> None:
    """Show what something was made from and what came of it, from the database alone."""
    if json_output and mermaid:
        raise BadInput("--json and --mermaid are two forms of the same answer; give one of them")
    addresses = get_addresses()
    with connect(addresses.dsn(addresses.person)) as connection:
        found = trace(connection, subject)
    if json_output:
        answer = {
            "starts": found.starts,
            "nodes": [
                {"id": node.node_id, "kind": node.kind, "name": node.name, "facts": node.facts}
                for node in found.nodes.values()
            ],
            "edges": [asdict(edge) for edge in found.edges],
        }
        print_json(answer)
    elif mermaid:
        sys.stdout.write(draw_flowchart(found.nodes, found.edges))
    else:
        make_console(json=False).out(draw_tree(found.nodes, found.edges, starts=found.starts), end="")
