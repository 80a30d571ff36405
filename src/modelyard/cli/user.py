"""``modelyard user add | change | remove | list``: who has a login, and what each may do."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from modelyard.cli.output import make_console, print_json
from modelyard.cli.stack import JsonOption
from modelyard.errors import BadInput, PersonRefused, StackRefused, UnknownName
from modelyard.settings import load_container_settings, name_program
from modelyard.stack.bootstrap import ADMINISTRATOR
from modelyard.stack.current import get_running
from modelyard.stack.people import (
    ROLES,
    Person,
    Role,
    add_person,
    change_person,
    check_name,
    list_people,
    make_password,
    read_password,
    remove_person,
)
from modelyard.store.connections import Connection, connect

app = typer.Typer(no_args_is_help=True, help="Logins of people, and what each may do.", rich_markup_mode=None)

_MAY = "viewer: read; trainer: also queue jobs; promoter: also promote and roll back; approver: also approve"
Name = Annotated[str, typer.Argument(metavar="NAME", help="The login, e.g. grace.")]
Roles = Annotated[
    list[str] | None, typer.Option("--role", metavar="ROLE", help=f"Repeatable. {_MAY}.", show_default=False)
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Its one line becomes the password; without it one is made and shown once."),
]


@app.command()
def add(name: Name, role: Roles = None, password_file: PasswordFile = None, json_output: JsonOption = False) -> None:
    """Make a login for a person."""
    check_name(name)
    roles = _read_roles(role)
    if not roles:
        raise BadInput(f"say what {name} may do with --role ({_MAY})")
    with _as_administrator(name) as (connection, _):
        password = _choose_password(password_file, json_output=json_output)
        person = add_person(connection, name=name, roles=roles, password=password)
    _tell(person, password if password_file is None else None, json_output=json_output)


@app.command()
def change(
    name: Name,
    role: Roles = None,
    password_file: PasswordFile = None,
    new_password: Annotated[bool, typer.Option("--new-password", help="Make a new password and show it once.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Give a person exactly these roles, a new password, or after a removal the login again."""
    roles = _read_roles(role)
    if not (roles or password_file or new_password):
        raise BadInput("say what is to change: --role (the roles named are all that remain), --password-file or both")
    if password_file and new_password:
        raise BadInput("--password-file and --new-password both say what the password is; give one of them")
    with _as_administrator(name) as (connection, is_founder):
        password = None
        known = next((person for person in list_people(connection) if person.name == name), None)
        if password_file or new_password or (known and known.removed):
            if is_founder:
                raise PersonRefused(
                    f"the password of {name} is a secret of the stack, which docs/stack.md says how to make anew"
                )
            password = _choose_password(password_file, json_output=json_output)
        person = change_person(connection, name=name, roles=roles, password=password)
    _tell(person, password if password_file is None else None, json_output=json_output)


@app.command()
def remove(name: Name, json_output: JsonOption = False) -> None:
    """Take a login away, with all its rights, at once; what is on record keeps the name, and nobody else gets it."""
    with _as_administrator(name) as (connection, is_founder):
        if is_founder:
            raise PersonRefused(
                f"{name} is who made the stack, and would have the login again at its next start; "
                f"{name_program()} user change {name} --role viewer leaves nothing but the right to look"
            )
        person = remove_person(connection, name=name)
    _tell(person, None, json_output=json_output)


@app.command("list")
def list_(json_output: JsonOption = False) -> None:
    """List who has a login or had one, and what each may do."""
    addresses = get_running()
    with connect(addresses.dsn(addresses.person)) as connection:
        people = list_people(connection)
    if json_output:
        print_json([asdict(person) | {"you": person.name == addresses.person} for person in people])
        return
    table = Table("login", "roles", "", box=SIMPLE_HEAD, pad_edge=False)
    for person in people:
        note = "removed" if person.removed else "you" if person.name == addresses.person else ""
        table.add_row(person.name, _join_roles(person), note)
    make_console(json=False).print(table)


@contextmanager
def _as_administrator(name: str) -> Iterator[tuple[Connection, bool]]:
    """A connection that may make logins, and whether ``name`` is who made the stack.

    Raises:
        StackRefused: this stack has no logins to make, or this container may not.
    """
    container = load_container_settings()
    if container is None:
        raise StackRefused(
            "the embedded stack is one person's: its owner has every role, and the operating system says who asks. "
            "A stack for several people runs in containers (STACK=compose)"
        )
    if container.admin_secrets is None:
        raise StackRefused("this container may not make logins; give the command where Docker is: modelyard user")
    from modelyard.stack.compose import describe

    administrator = container.database_owner or ADMINISTRATOR
    if name == administrator:
        raise PersonRefused(f"{name} administers the database, and is nobody's login")
    dsn = describe(container, secrets=container.admin_secrets).dsn(administrator)
    with connect(dsn, application_name="modelyard user") as connection:
        yield connection, (container.secrets / f"{name}.password").is_file()


def _read_roles(texts: list[str] | None) -> list[Role]:
    known: dict[str, Role] = {role: role for role in ROLES}
    for text in texts or []:
        if text not in known:
            raise UnknownName("role", text, known)
    return sorted({known[text] for text in texts or []})


def _choose_password(file: Path | None, *, json_output: bool) -> str:
    if file is not None:
        return read_password(file)
    if not (json_output or sys.stdout.isatty()):
        raise BadInput("a new password is shown once, and this is no terminal: give --password-file, or --json")
    return make_password()


def _tell(person: Person, password: str | None, *, json_output: bool) -> None:
    console = make_console(json=json_output)
    _tell_person(console, person)
    if password is not None:
        if not json_output:
            console.print(f"password {password}")
        console.print("         it is kept nowhere, and shown this once: store it in a file that its owner alone reads")
    if not person.removed:
        console.print(f"next     MODELYARD_PERSON={person.name} MODELYARD_PASSWORD_FILE=FILE {name_program()} status")
    if json_output:
        print_json(asdict(person) | ({"password": password} if password else {}))


def _tell_person(console: Console, person: Person) -> None:
    if person.removed:
        console.print(f"removed  {person.name} may not log in any more, and has no rights left, in open sessions too")
    else:
        console.print(f"login    {person.name}: {_join_roles(person)}")


def _join_roles(person: Person) -> str:
    return ", ".join(sorted(person.roles, key=ROLES.index)) or "none"
