"""Workers with further packages: what is refused before anything is built, on both stacks, and what Compose is told."""

import shutil
from pathlib import Path

import pytest

from modelyard.errors import BadInput
from modelyard.stack.own_workers import check_name, explain_pip, read_requirements

NO_NAMES = ("", "Vision", "two words", "1st", "-a", "a-", "a--b", "a" * 31, "ä", "default")
ELSEWHERE = (
    "-r more.txt",
    "--requirement=more.txt",
    "-c limits.txt",
    "-e .",
    "./wheel.whl",
    "../x",
    "/srv/x",
    "-f wheels",
    "-rmore.txt",
    "x @ file:///srv/x.whl",
)
CONFLICT = """Collecting numpy<1
ERROR: Cannot install numpy<1 because these package versions have conflicting dependencies.

The conflict is caused by:
    The user requested numpy<1
    The user requested (constraint) numpy==2.3.4

To fix this you could try to:
1. loosen the range of package versions you've specified
ERROR: ResolutionImpossible: for help visit https://pip.pypa.io/
"""
CONFIG = """name: trial
services:
  evaluator:
    build:
      context: /clone
      args:
        A: b
    command: null
    image: modelyard/evaluator:local
    volumes:
      - source: evaluator-secrets
  minio:
    image: modelyard/minio:local
  trainer:
    command: null
    environment:
      A: "$$b"
    image: modelyard/trainer:local
    volumes:
      - source: trainer-secrets
volumes:
  trainer:
    name: x
"""
SERVICES = """services:
  trainer-vision:
    image: modelyard/worker-vision:local
    command: [modelyard, worker, trainer, --queue, "vision"]
    environment:
      A: "$$b"
    volumes:
      - source: trainer-secrets
  evaluator-vision:
    image: modelyard/worker-vision:local
    command: [modelyard, worker, evaluator, --queue, "vision"]
    volumes:
      - source: evaluator-secrets
"""


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_that_cannot_be_a_queue_is_refused_on_both_stacks(launch, asked, tmp_path, name):
    (tmp_path / "r.txt").write_text("mne\n")
    with pytest.raises(BadInput, match=r"is no name of a queue; take one like|the queue of the stack's own workers"):
        check_name(name)
    refused = launch("workers", "add", name, "--requirements", str(tmp_path / "r.txt"), STACK="compose")
    assert refused.returncode == 2
    assert "is no name of a queue; take one like" in refused.stderr or "the stack's own workers" in refused.stderr
    assert not any(words.startswith("build") or " build" in words for words in asked())


@pytest.mark.parametrize("line", ELSEWHERE)
def test_requirements_that_name_another_file_are_refused_on_both_stacks(launch, tmp_path, line):
    path = tmp_path / "r.txt"
    path.write_text(f"# mine\nmne==1.10.2\n{line}\n")
    with pytest.raises(BadInput, match=r"line 3 of the requirements .* names another file"):
        read_requirements(path)
    refused = launch("workers", "add", "vision", "--requirements", str(path), STACK="compose")
    assert refused.returncode == 2
    assert f"line 3 of the requirements {path} names another file ({line})" in refused.stderr


@pytest.mark.parametrize(("text", "said"), [(None, "cannot be read"), ("\n  # nothing\n", "name no package")])
def test_requirements_that_say_nothing_are_refused_on_both_stacks(launch, tmp_path, text, said):
    path = tmp_path / "r.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadInput, match=said):
        read_requirements(path)
    refused = launch("workers", "add", "vision", "--requirements", str(path), STACK="compose")
    assert refused.returncode == 2
    assert said in refused.stderr


def test_requirements_with_hashes_and_options_are_taken(tmp_path):
    path = tmp_path / "r.txt"
    path.write_text("--only-binary :all:\nmne==1.10.2 \\\n    --hash=sha256:00\nx @ https://example.org/x.whl\n")
    assert read_requirements(path) == path.read_text()


def test_a_conflict_with_our_own_packages_is_told_as_one():
    said = explain_pip(CONFLICT)
    assert said.startswith("Cannot install numpy<1 because")
    assert "The user requested (constraint) numpy==2.3.4" in said
    assert said.endswith("Modelyard's own packages stay as they are: ask for versions that go with them")
    assert "PIP_INDEX_URL" in explain_pip("ERROR: No matching distribution found for nothing-like-it")


def test_compose_is_told_of_workers_that_are_as_its_own(launch, clone: Path, tmp_path):
    kept = clone / ".workers/trial/vision/requirements.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("mne\n")
    (tmp_path / "config").write_text(CONFIG)
    (tmp_path / "tools/mv").symlink_to(str(shutil.which("mv")))
    note = f"printf '%s\\n' \"$COMPOSE_FILE\" >> '{tmp_path}/files'"
    docker = {"compose --profile cli config": f"cat '{tmp_path}/config'; {note}"}
    listed = launch("workers", "list", docker=docker, STACK="compose")
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.split()[:6] == [
        "workers",
        "state",
        "requirements",
        "vision",
        "down",
        ".workers/trial/vision/requirements.txt",
    ]
    assert (clone / ".workers/trial/compose.yml").read_text() == SERVICES
    assert (tmp_path / "files").read_text().splitlines()[-1] == "docker-compose.yml:.workers/trial/compose.yml"
    named = "docker-compose.yml:.workers/trial/compose.yml"
    launch("workers", "list", docker=docker, STACK="compose", COMPOSE_FILE=named)
    assert (tmp_path / "files").read_text().splitlines()[-1] == named, "once, whoever has named it"
    unknown = launch("workers", "remove", "sound", docker=docker, STACK="compose")
    assert unknown.returncode == 2
    assert "there are no workers sound; there are: vision" in unknown.stderr


def test_compose_is_no_longer_told_of_workers_that_were_removed(launch, clone: Path, tmp_path, asked):
    for name in ("sound", "vision"):
        kept = clone / f".workers/trial/{name}/requirements.txt"
        kept.parent.mkdir(parents=True)
        kept.write_text("mne\n")
    (tmp_path / "config").write_text(CONFIG)
    (tmp_path / "tools/mv").symlink_to(str(shutil.which("mv")))
    docker = {"compose --profile cli config": f"cat '{tmp_path}/config'"}
    removed = launch("workers", "remove", "sound", docker=docker, STACK="compose")
    assert removed.returncode == 0, removed.stderr
    assert "compose rm --stop --force --volumes trainer-sound evaluator-sound" in asked()
    overlay = clone / ".workers/trial/compose.yml"
    assert overlay.read_text() == SERVICES, "the others stay"
    launch("workers", "remove", "vision", docker=docker, STACK="compose")
    assert not overlay.exists()
