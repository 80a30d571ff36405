"""The launcher where no engine is needed: what it chooses, and what it hands on."""

import os
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

Launch = Callable[..., subprocess.CompletedProcess[str]]

DENIED = "echo 'permission denied while trying to connect to the Docker daemon socket' >&2; exit 1"
AWAY = "echo 'Cannot connect to the Docker daemon at unix:///run/none.sock.' >&2; exit 1"


@pytest.mark.parametrize(
    ("docker", "settings", "chosen"),
    [
        ({}, {}, "compose: a Docker engine answers (26.1.5)"),
        (None, {}, "embedded: Docker is not installed"),
        ({"version --format*": AWAY}, {}, "embedded: no Docker engine answers (Cannot connect"),
        ({"version --format*": DENIED}, {}, "embedded: the Docker engine does not let"),
        ({}, {"MODELYARD_HOME": "/some/where"}, "embedded: MODELYARD_HOME names its folder"),
        ({}, {"MODELYARD_HOME": "/some/where", "STACK": "compose"}, "compose: named by MODELYARD_STACK"),
        ({}, {"MODELYARD_STACK": "embedded"}, "embedded: named by MODELYARD_STACK"),
        (None, {"MODELYARD_STACK": "compose"}, "compose: named by MODELYARD_STACK"),
    ],
)
def test_the_stack_follows_what_is_named_and_what_answers_and_says_why(
    launch: Launch, docker: dict[str, str] | None, settings: dict[str, str], chosen: str
) -> None:
    which = launch("which", docker=docker, **settings)
    assert which.returncode == 0, which.stderr
    assert which.stdout.startswith(chosen)


def test_settings_in_dot_env_count_and_are_never_run(launch: Launch, clone: Path) -> None:
    (clone / ".env").write_text("MODELYARD_HOME='/my data' # mine\r\n")
    assert launch("which").stdout == "embedded: MODELYARD_HOME names its folder\n"
    (clone / ".env").write_text(
        "MODELYARD_STACK=compose\nMODELYARD_HOME=\nexport MODELYARD_STACK = embedded # the last\n"
    )
    assert launch("which").stdout == "embedded: named by MODELYARD_STACK\n"
    assert launch("which", MODELYARD_STACK="compose").stdout == "compose: named by MODELYARD_STACK\n"
    (clone / ".env").write_text("MODELYARD_STACK=$(touch was-run)\n")
    refused = launch("which")
    assert refused.returncode == 2
    assert "'$(touch was-run)' is no stack; choose auto, compose or embedded" in refused.stderr
    assert not (clone / "was-run").exists()


def test_a_command_in_a_container_gets_its_arguments_and_files_as_they_were_given(launch: Launch, clone: Path) -> None:
    data, config = clone / "a 'b\".csv", clone / "small.yaml"
    for path in (data, clone / f"{data.name}.dvc", config):
        path.write_text("x")
    params = "name='a b' other=$HOME"
    docker = {"compose *run *": 'for word in "$@"; do echo "<$word>"; done; exit 3'}
    words = ("train", "w", "--data", f"./{data.name}", "--params", params, "--config=small.yaml", "--config", "named")
    done = launch(*words, docker=docker)
    assert done.returncode == 3, "the command's own exit code"
    handed = [line[1:-1] for line in done.stdout.splitlines()]
    assert handed[handed.index("cli") + 1 :] == [
        *("train", "w", "--data", str(data), "--params", params, f"--config={config}", "--config", "named")
    ]
    mounted = [after for word, after in pairwise(handed) if word == "--volume"]
    assert mounted == [f"{data}:{data}:ro", f"{data}.dvc:{data}.dvc:ro", f"{config}:{config}:ro"]
    caller = f"{os.getuid()}:{os.getgid()}" if os.getuid() else "10001:10001"
    assert handed[handed.index("--user") + 1] == caller, "whoever calls, but never root"


@pytest.mark.parametrize("command", ["train", "process", "drift"])
def test_each_of_several_files_is_handed_in(launch: Launch, clone: Path, command: str) -> None:
    files = [clone / name for name in ("signals.mat", "labels.csv")]
    for path in files:
        path.write_text("x")
    docker = {"compose *run *": 'for word in "$@"; do echo "<$word>"; done'}
    told = launch(command, "w", "--data", "signals.mat", "--data=labels.csv", "--data", "signals.mat", docker=docker)
    handed = [line[1:-1] for line in told.stdout.splitlines()]
    assert handed[handed.index("w") + 1 :] == ["--data", str(files[0]), f"--data={files[1]}", "--data", str(files[0])]
    mounted = [after for word, after in pairwise(handed) if word == "--volume"]
    assert mounted == [f"{path}:{path}:ro" for path in files], "each once"


@pytest.mark.parametrize(
    ("words", "handed"),
    [
        (("gate", "set", "good", "gate.yaml", "--reason", "good"), "gate.yaml"),
        (("gate", "set", "--reason", "set", "good", "--json", "gate.yaml"), "gate.yaml"),
        (("gate", "set", "good", "--reason=good", "gate.yaml"), "gate.yaml"),
        (("policy", "add", "gate", "--model", "good", "--config", "good"), None),
        (("policy", "add", "gate", "--model", "good", "--config=good"), None),
    ],
)
def test_a_word_that_a_file_is_called_by_too_stays_a_word(
    launch: Launch, clone: Path, words: tuple[str, ...], handed: str | None
) -> None:
    for name in ("gate", "set", "good", "gate.yaml"):
        (clone / name).write_text("x")
    docker = {"ps --all *State*": "echo running", "compose *run *": 'for word in "$@"; do echo "<$word>"; done'}
    done = launch(*words, docker=docker)
    assert done.returncode == 0, done.stderr
    given = [line[1:-1] for line in done.stdout.splitlines()]
    assert given[given.index("cli") + 1 :] == [f"{clone}/{word}" if word == handed else word for word in words]
    mounted = [after for word, after in pairwise(given) if word == "--volume"]
    assert mounted == [f"{clone}/{handed}:{clone}/{handed}:ro"] * (handed is not None)


@pytest.mark.parametrize(
    ("words", "service"),
    [
        (("gc",), "gc"),
        (("gc", "--yes"), "gc"),
        (("datasets", "delete", "houses@1.0.0", "--reason", "no use", "--yes"), "gc"),
        (("datasets", "list"), "cli"),
        (("datasets",), "cli"),
        (("jobs", "delete"), "cli"),
        (("user", "add", "grace", "--role", "viewer"), "admin"),
        (("user", "change", "grace", "--new-password"), "admin"),
        (("user", "remove", "grace"), "admin"),
        (("user", "list"), "cli"),
        (("promote", "houses_policy"), "cli"),
    ],
)
def test_only_the_commands_that_need_more_run_where_the_keys_for_that_are(
    launch: Launch, words: tuple[str, ...], service: str
) -> None:
    docker = {"ps --all *State*": "echo running", "compose *run *": 'for word in "$@"; do echo "<$word>"; done'}
    done = launch(*words, docker=docker)
    assert done.returncode == 0, done.stderr
    handed = [line[1:-1] for line in done.stdout.splitlines()]
    assert handed[-len(words) - 1 :] == [service, *words]


def test_a_password_is_handed_in_as_a_file_and_never_as_text(launch: Launch, clone: Path) -> None:
    hers = clone / "hers"
    hers.write_text("correct-horse-battery")
    docker = {"ps --all *State*": "echo running", "compose *run *": 'for word in "$@"; do echo "<$word>"; done; env'}
    for words, settings in (
        (("promote", "houses_policy"), {"MODELYARD_PASSWORD_FILE": "hers", "MODELYARD_PERSON": "grace"}),
        (("user", "add", "grace", "--password-file", "hers"), {}),
        (("user", "add", "grace", "--password-file=hers"), {}),
    ):
        done = launch(*words, docker=docker, **settings)
        assert done.returncode == 0, done.stderr
        assert f"<{hers}:{hers}:ro>" in done.stdout
        assert "correct-horse" not in done.stdout + done.stderr
        if settings:
            assert f"<MODELYARD_PASSWORD_FILE={hers}>" in done.stdout
            assert "MODELYARD_PERSON=grace" in done.stdout
        else:
            assert f"<{hers}>" in done.stdout or f"<--password-file={hers}>" in done.stdout
    refused = launch("promote", "houses_policy", docker=docker, MODELYARD_PASSWORD_FILE="/none")  # noqa: S106
    assert (refused.returncode, refused.stderr) == (
        2, "modelyard: MODELYARD_PASSWORD_FILE=/none: there is no such file\n"
    )  # fmt: skip


def test_the_name_of_a_password_file_counts_from_where_it_is_written(launch: Launch, clone: Path) -> None:
    (clone / "elsewhere").mkdir()
    for path in (clone / "hers", clone / "elsewhere/hers"):
        path.write_text("correct-horse-battery")
    (clone / ".env").write_text("MODELYARD_PASSWORD_FILE=hers\n")
    docker = {"ps --all *State*": "echo running", "compose *run *": 'for word in "$@"; do echo "<$word>"; done'}
    call = ("sh", "-c", f'cd elsewhere && sh "{clone}/infra/launch.sh" policies')
    assert f"<MODELYARD_PASSWORD_FILE={clone}/hers>" in launch(*call, docker=docker).stdout
    told = launch(*call, docker=docker, MODELYARD_PASSWORD_FILE="hers").stdout  # noqa: S106
    assert f"<MODELYARD_PASSWORD_FILE={clone}/elsewhere/hers>" in told


@pytest.mark.skipif(os.geteuid() != 0, reason="any other caller may read in a container what is readable here")
def test_root_hands_a_password_in_as_who_reads_it_there_and_nobody_else_may(launch: Launch, clone: Path) -> None:
    hers = clone / "hers"
    hers.write_text("correct-horse-battery")
    hers.chmod(0o600)
    docker = {"ps --all *State*": "echo running", "compose *run *": 'for word in "$@"; do echo "<$word>"; done'}
    for words, settings in (
        (("policies",), {"MODELYARD_PASSWORD_FILE": "hers"}),
        (("user", "change", "grace", "--password-file", "hers"), {}),
    ):
        os.chown(hers, 0, 0)
        refused = launch(*words, docker=docker, **settings)
        assert refused.returncode == 2
        assert "chown it to 10001" in refused.stderr and "chmod" not in refused.stderr
        os.chown(hers, 10001, 10001)
        done = launch(*words, docker=docker, **settings)
        assert f"<{hers}:{hers}:ro>" in done.stdout, done.stderr


def test_data_that_is_not_there_is_left_to_the_command_to_refuse(launch: Launch) -> None:
    docker = {"compose *run *": 'echo "$*"; exit 2'}
    done = launch("process", "w", "--data", "no/such file", docker=docker)
    assert done.stdout.endswith("cli process w --data no/such file\n")
    assert "--volume" not in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="any other caller may read in a container what is readable here")
def test_a_file_that_root_alone_may_read_is_refused_by_name(launch: Launch, clone: Path) -> None:
    (clone / "mine.csv").write_text("x")
    (clone / "mine.csv").chmod(0o600)
    refused = launch("process", "w", "--data", "mine.csv")
    assert refused.returncode == 2
    assert f"{clone}/mine.csv can be read by root alone, and no container runs as root; chmod it" in refused.stderr


def test_a_value_that_looks_like_an_option_stays_a_value_and_digest_a_command(launch: Launch, clone: Path) -> None:
    (clone / "digest").write_text("x")
    docker = {"compose *run *": 'for word in "$@"; do echo "<$word>"; done'}
    words = ("train", "w", "--run-name", "a,--data=b", "--config", "tuned")
    for given in (words, ("digest", "--json")):
        handed = [line[1:-1] for line in launch(*given, docker=docker).stdout.splitlines()]
        assert tuple(handed[handed.index("cli") + 1 :]) == given


def test_links_in_the_data_folder_are_handed_in_with_what_they_lead_to(launch: Launch, clone: Path) -> None:
    (clone / "data/w").mkdir(parents=True)
    (clone / "big disk.csv").write_text("x")
    (clone / "data/w/raw.csv").symlink_to(clone / "big disk.csv")
    handed = launch("train", "w", docker={"compose *run *": 'for word in "$@"; do echo "<$word>"; done'}).stdout
    assert f"<{clone}/data:{clone}/data:ro>" in handed
    assert f"<{clone}/big disk.csv:{clone}/big disk.csv:ro>" in handed


@pytest.mark.parametrize("folder", ["/", "/usr", "/proc/self", "/dev"])
def test_a_folder_that_a_container_has_itself_is_refused(launch: Launch, folder: str) -> None:
    refused = launch("process", "w", "--data", folder)
    assert refused.returncode == 2
    assert "cannot be handed into a container" in refused.stderr


def test_a_file_that_docker_cannot_mount_is_refused_by_name(launch: Launch, clone: Path) -> None:
    (clone / "a:b.csv").write_text("x")
    refused = launch("process", "w", "--data", "a:b.csv")
    assert refused.returncode == 2
    assert "a:b.csv: a path with a colon cannot be handed into a container; rename it" in refused.stderr


ODD = "a 'b' \"c\" `id`"  # each of its signs means something to a shell
DATED = ("DATA=a b", "DATASET_VERSION=2025-01-03", "ALLOW_INVALID=1", f"PARAMS={ODD}", f"CONFIG={ODD}", "NO_WAIT=1")
FROM_RUN = ("USE_DATASET_FROM_RUN=0f", "STRICT=1", "MODEL_TYPE=ridge", f"PARAMS={ODD}", "RUN_NAME=$$HOME", "INLINE=1")


@pytest.mark.parametrize(
    ("words", "handed"),
    [
        (("train",), ("train", "california_housing")),
        (
            ("train", *FROM_RUN, f"EXPERIMENT_NAME={ODD}"),
            (
                *("train", "california_housing", "--use-dataset-from-run", "0f", "--strict", "--model-type", "ridge"),
                *("--params", ODD, "--run-name", "$HOME", "--experiment-name", ODD, "--inline"),
            ),
        ),
        (
            ("train", "WORKLOAD=w", f"DATASET={ODD}", "ALLOW_INVALID=1", "CONFIG=tuned"),
            ("train", "w", "--dataset", ODD, "--allow-invalid", "--config", "tuned"),
        ),
        (
            ("process", "WORKLOAD=w", *DATED),
            (
                *("process", "w", "--data", "a b", "--version", "2025-01-03", "--allow-invalid"),
                *("--params", ODD, "--config", ODD, "--no-wait"),
            ),
        ),
        (("reproduce", f"MODEL={ODD}/3"), ("reproduce", f"{ODD}/3")),
        (
            ("drift", f"DATA={ODD}", "REFERENCE=w@1.0.0", f"PARAMS={ODD}", "CONFIG=tuned"),
            (
                *("drift", "california_housing", "--data", ODD, "--reference", "w@1.0.0"),
                *("--params", ODD, "--config", "tuned"),
            ),
        ),
        (("drift", f"DATASET={ODD}"), ("drift", "california_housing", "--dataset", ODD)),
        (("datasets", "NAME=this machine's"), ("datasets", "list")),
        (("datasets", f"DATASET={ODD}"), ("datasets", "show", ODD)),
        (("lineage", f"OF={ODD}"), ("lineage", ODD)),
        (("lineage", "OF=w/3", "MERMAID=1"), ("lineage", "w/3", "--mermaid")),
        (("history", f"POLICY={ODD}"), ("history", ODD)),
        (("served", "POLICY=p", f"AT={ODD}"), ("served", "p", "--at", ODD)),
        (("policies",), ("policies",)),
        (("stages",), ("stages",)),
        (("stages", "MODEL=m"), ("stages", "m")),
        (("gc",), ("gc",)),
        (("gc", "OLDER_THAN=12 h", "KEEP=0", "YES=1"), ("gc", "--older-than", "12 h", "--keep", "0", "--yes")),
    ],
)
def test_make_hands_each_variable_on_as_it_is(
    launch: Launch, clone: Path, words: tuple[str, ...], handed: tuple[str, ...]
) -> None:
    command = clone / ".venv/bin/modelyard"
    command.parent.mkdir(parents=True)
    command.write_text(
        '#!/bin/sh\necho "$MODELYARD_STACK: $MODELYARD_STACK_WHY"; for word in "$@"; do echo "<$word>"; done\n'
    )
    command.chmod(0o755)
    (clone / ".venv/runtime.stamp").touch()
    done = launch("make", "-s", *words, "STACK=embedded")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["embedded: named by MODELYARD_STACK", *(f"<{word}>" for word in handed)]


def test_make_shows_what_it_would_do_without_a_value_in_the_shells_text(launch: Launch) -> None:
    shown = launch("make", "-n", "train", "DATA=a b; id", docker=None)
    assert '--data "$DATA"' in shown.stdout
    assert "a b; id" not in shown.stdout


def test_volumes_are_removed_only_when_somebody_says_so(
    launch: Launch, clone: Path, asked: Callable[[], list[str]]
) -> None:
    (clone / ".venv").mkdir()
    docker = {"volume ls *": "[ -e gone ] || echo trial_postgres-data", "volume rm *": "touch gone"}
    refused = launch("make", "clean", "VOLUMES=1", docker=docker)
    assert refused.returncode == 2
    assert "trial_postgres-data" in refused.stderr
    assert "nothing was removed" in refused.stderr
    assert (clone / ".venv").exists()
    assert not any("down" in words or " rm " in words for words in asked())
    removed = launch("make", "clean", "VOLUMES=1", "YES=1", docker=docker)
    assert removed.returncode == 0, removed.stderr
    assert "compose --profile cli down --remove-orphans --volumes" in asked()
    assert not (clone / ".venv").exists()


def test_a_volume_that_something_else_holds_is_not_said_to_be_removed(launch: Launch) -> None:
    docker = {"volume ls *": "echo trial_postgres-data", "volume rm *": "echo 'volume is in use' >&2; exit 1"}
    refused = launch("make", "clean", "VOLUMES=1", "YES=1", docker=docker)
    assert refused.returncode == 2
    assert "still there: trial_postgres-data" in refused.stderr


def test_what_needs_a_running_stack_says_how_to_start_it(launch: Launch) -> None:
    for command, code in (("jobs", 2), ("psql", 2), ("env", 2), ("status", 1)):
        refused = launch(command)
        assert refused.returncode == code
        assert refused.stderr == "modelyard: the stack is not running; start it with make up\n"
        assert refused.stdout == ""


def test_addresses_and_settings_show_no_password(launch: Launch) -> None:
    running = {"ps --all *State*": "echo running", "compose *run *": "echo a-secret"}
    printed = launch("env", docker=running).stdout + launch("urls", docker=running).stdout
    assert "a-secret" not in printed
    assert "export MLFLOW_TRACKING_URI='http://127.0.0.1:" in printed
    assert "sign in as notebook" in printed
    text = 'eval "$(sh infra/launch.sh env)"; echo "$AWS_ACCESS_KEY_ID $AWS_SECRET_ACCESS_KEY"'
    assert launch("sh", "-c", text, docker=running).stdout == "a-secret a-secret\n"
