"""``modelyard container``: what one-shot services of the Compose stack do."""

import sys

import typer

from modelyard.errors import StackRefused
from modelyard.settings import ContainerSettings, load_container_settings

app = typer.Typer(no_args_is_help=True, help="One-shot services of the Compose stack.", rich_markup_mode=None)


@app.command()
def secrets() -> None:
    """Make the secrets that are missing, each in the volume of its service."""
    from modelyard.stack.bootstrap import name_person
    from modelyard.stack.secrets import provide_secrets

    container = _load()
    provide_secrets(container.secrets, person=name_person(container.person), report=_say)


@app.command()
def init() -> None:
    """Prepare PostgreSQL, MLflow's tables and the object store."""
    from modelyard.stack.provision import provision

    provision(_load(), _say)


def _load() -> ContainerSettings:
    found = load_container_settings()
    if found is None:
        raise StackRefused("this is done by services of docker-compose.yml; make up starts them")
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
