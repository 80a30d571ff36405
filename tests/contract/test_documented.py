"""What is written down exists, and what exists is written down."""

import re
import subprocess
from pathlib import Path

import typer.main

from modelyard.cli.app import app
from modelyard.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)


def test_env_example_lists_each_setting_with_its_default():
    lines = (ROOT / ".env.example").read_text().splitlines()
    listed = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line))
    declared = {
        f"MODELYARD_{name.upper()}": "" if field.default is None else str(field.default)
        for name, field in Settings.model_fields.items()
    }
    assert listed == declared


def test_env_example_can_be_used_as_it_is(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text((ROOT / ".env.example").read_text())
    monkeypatch.chdir(tmp_path)
    assert Settings() == Settings(_env_file=None)


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
        named = set(re.findall(r"\bmake ([a-z][a-z-]+)", code))
        assert named <= targets, f"{page.name} names targets that the Makefile lacks"
        called = set(re.findall(r"\bmodelyard ([a-z][a-z-]+)", code))
        assert called <= first_words, f"{page.name} names commands that do not exist"
        called = set(re.findall(rf"\bmodelyard ((?:{'|'.join(groups)}) [a-z][a-z-]+)", code))
        assert called <= commands, f"{page.name} names commands that do not exist"


def test_every_command_is_documented():
    text = "\n".join(page.read_text() for page in PAGES)
    assert {name for name in list_commands() if f"modelyard {name}" not in text} == set()


def test_every_link_between_pages_leads_somewhere():
    for page in [*PAGES, ROOT / "sql/README.md"]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
