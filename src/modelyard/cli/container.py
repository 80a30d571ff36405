"""``modelyard container``: what one-shot services of the Compose stack do."""

import sys

import typer

from modelyard.settings import get_container_settings

app = typer.Typer(no_args_is_help=True, help="One-shot services of the Compose stack.", rich_markup_mode=None)


@app.command()
def secrets() -> None:
    """Make the secrets that are missing, each in the volume of its service."""
    from modelyard.stack.people import name_person
    from modelyard.stack.secrets import provide_secrets

    container = get_container_settings()
    provide_secrets(container.secrets, person=name_person(container.person), report=_say)


@app.command()
def init() -> None:
    """Prepare PostgreSQL, MLflow's tables and the object store."""
    from modelyard.stack.provision import provision

    provision(get_container_settings(), _say)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
