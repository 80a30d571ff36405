"""What is written down exists, and what exists is written down."""

import ast
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer.main

from modelyard.cli.app import app
from modelyard.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "GUARANTEES.md")] + [
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "infra/mlflow-setup.md",
]
COMPOSE_FILES = [ROOT / "docker-compose.yml", *sorted((ROOT / "infra").glob("*.yml"))]
SCRIPTS = [ROOT / "infra/launch.sh", *sorted((ROOT / "infra/compose").glob("*.sh"))]
# said by the launcher to Compose, and by Compose to the containers: nobody sets these
FACTS = {
    "MODELYARD_COMMIT",
    "MODELYARD_DIRTY",
    "MODELYARD_PROGRAM",
    "MODELYARD_STACK_WHY",
    "MODELYARD_TREE",
}
FROM_THE_SHELL = {"USER"}
INTERPOLATION = re.compile(r"\$\{(\w+)(?::([-?])((?:[^{}]|\$\{[^}]*\})*))?\}")


def read_example() -> dict[str, tuple[str, str]]:
    """Each variable of ``.env.example`` with its value and the comment above it."""
    listed, comment = {}, ""
    for line in (ROOT / ".env.example").read_text().splitlines():
        if line.startswith("#"):
            comment = f"{comment} {line[1:].strip()}"
        elif line:
            name, _, value = line.partition("=")
            assert name not in listed, f"{name} is listed twice"
            listed[name] = (value, comment)
        else:
            comment = ""
    return listed


def find_variables(text: str) -> set[tuple[str, str]]:
    """Each variable of a Compose file with its default, also those inside the default of another."""
    found = set()
    for name, kind, default in INTERPOLATION.findall(text):
        found |= {(name, default if kind == "-" else "")} | find_variables(default)
    return found


def list_defaults() -> dict[str, set[str]]:
    """What the settings, the Compose files and the launcher read, each with the defaults that it has there."""
    found: dict[str, set[str]] = {}
    for name, field in Settings.model_fields.items():
        found[f"MODELYARD_{name.upper()}"] = {"" if field.default is None else str(field.default)}
    for file in COMPOSE_FILES:
        for name, default in find_variables(file.read_text()):
            found.setdefault(name, set()).add(default)
    for script in SCRIPTS:
        text = script.read_text()
        lists = " ".join(re.findall(r"^(?:BASES|BUILD_SETTINGS)='(.*)'$", text, re.M)).split()
        for name in [*re.findall(r"\bMODELYARD_[A-Z0-9_]+\b", text), *lists]:
            found.setdefault(name, set())
    found["PIP_INDEX_URL"] = {""}  # the source of a build's secret, not an interpolation
    return found


def test_env_example_lists_whatever_is_read_and_nothing_else():
    assert set(read_example()) == set(list_defaults()) - FACTS - FROM_THE_SHELL


def test_env_example_names_the_default_that_is_used():
    listed = read_example()
    for name, defaults in list_defaults().items():
        value, comment = listed.get(name, ("", ""))
        for default in defaults if name in listed else ():
            innermost = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", default)
            if value:  # no file has another
                assert innermost in (value, ""), f"{name}: {default} is used"
            else:
                assert innermost in comment, f"{name}: the comment does not name {default}"


def test_a_variable_has_one_default_in_all_files():
    assert {name: found for name, found in list_defaults().items() if len(found - {""}) > 1} == {}


def test_env_example_can_be_used_as_it_is(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text((ROOT / ".env.example").read_text())
    monkeypatch.chdir(tmp_path)
    assert Settings() == Settings(_env_file=None)


def test_env_example_changes_nothing_of_the_compose_stack(tmp_path):
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode
    ):
        pytest.skip("no docker compose on the PATH")
    empty = tmp_path / "empty"
    empty.touch()
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}

    def configure(settings: Path) -> str:
        command = ["docker", "compose", "--env-file", str(settings), "--profile", "cli", "config"]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout

    assert configure(ROOT / ".env.example") == configure(empty)


def test_every_setting_is_told_with_its_default():
    told = {}
    for name, default in re.findall(r"^\| `([A-Z0-9_]+)` \|([^|]*)\|", (ROOT / "docs/settings.md").read_text(), re.M):
        told[name] = default.strip().strip("`")
    listed = read_example()
    assert set(told) == set(listed)
    for name, (value, _) in listed.items():
        if value:
            assert told[name] == value, name


def list_targets() -> set[str]:
    text = (ROOT / "Makefile").read_text()
    return set(re.findall(r"^\.PHONY: (.*)$", text, re.M)[0].split())


def test_make_alone_lists_every_target():
    printed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  make ([a-z-]+) ", printed, re.M)) == list_targets()


def list_commands() -> set[str]:
    """Every command as it is called: ``train``, ``jobs list``, …"""
    root = typer.main.get_command(app)
    found = set()
    for name, command in root.commands.items():
        found |= {f"{name} {sub}" for sub in command.commands} if hasattr(command, "commands") else {name}
    return found


def test_every_target_and_command_that_a_page_names_exists():
    targets, commands = list_targets(), list_commands()
    first_words = {command.partition(" ")[0] for command in commands}
    groups = {command.partition(" ")[0] for command in commands if " " in command}
    for page in PAGES:
        text = page.read_text()
        code = "\n".join(re.findall(r"```.*?```", text, re.S) + re.findall(r"`[^`\n]+`", text))
        named = set(re.findall(r"\bmake (?:-s )?([a-z][a-z-]+)", code))
        assert named <= targets, f"{page.name} names targets that the Makefile lacks"
        called = set(re.findall(r"\bmodelyard ([a-z][a-z-]+)", code))
        assert called <= first_words, f"{page.name} names commands that do not exist"
        called = set(re.findall(rf"\bmodelyard ((?:{'|'.join(groups)}) [a-z][a-z-]+)", code))
        assert called <= commands, f"{page.name} names commands that do not exist"


def test_every_command_is_documented():
    text = "\n".join(page.read_text() for page in PAGES)
    assert {name for name in list_commands() if f"modelyard {name}" not in text} == set()


def list_flags() -> set[tuple[str, str]]:
    """Every option of every command that people call: ``("drift", "--reference")``, …"""
    found, waiting = set(), [("", typer.main.get_command(app))]
    while waiting:
        name, command = waiting.pop()
        waiting += [(f"{name} {sub}".strip(), inner) for sub, inner in getattr(command, "commands", {}).items()]
        if name and not command.hidden:
            found |= {(name, flag) for option in command.params for flag in option.opts if flag.startswith("--")}
    return found


def test_every_flag_of_a_command_is_told():
    text = "\n".join(page.read_text() for page in PAGES)
    flags = list_flags()
    assert ("drift", "--reference") in flags
    assert {(name, flag) for name, flag in flags if not re.search(rf"{flag}\b", text)} == set()


def test_every_service_and_volume_is_told():
    compose = (ROOT / "docker-compose.yml").read_text()
    page = (ROOT / "docs/stack.md").read_text()
    for part in ("services", "volumes"):
        [section] = re.findall(rf"^{part}:\n((?:(?:  .*|#.*)?\n)+)", compose, re.M)
        names = set(re.findall(r"^  ([a-z-]+):", section, re.M))
        assert names, part
        assert {name for name in names if f"`{name}`" not in page} == set()


def list_tests(file: Path) -> set[str]:
    if not file.is_file():
        return set()
    nodes = ast.walk(ast.parse(file.read_text()))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


def test_every_test_that_a_guarantee_names_exists():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "GUARANTEES.md").read_text())
    assert named
    assert [f"{file}::{test}" for file, test in named if test not in list_tests(ROOT / file)] == []


def test_every_guarantee_names_a_test_or_says_that_there_is_none_yet():
    rows = re.findall(r"^\|(.*)\|$", (ROOT / "GUARANTEES.md").read_text(), re.M)
    rows = [row for row in rows if "---" not in row and not row.rstrip().endswith("held by")]
    assert rows
    for row in rows:
        assert re.search(r"::test_\w+`|\*not yet\*|`make check`", row.rpartition("|")[2]), row


def test_every_link_between_pages_leads_somewhere():
    for page in [*PAGES, ROOT / "sql/README.md"]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
