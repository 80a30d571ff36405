"""What a break-in would find: read back from the running containers, their processes, their images and their logs."""

import json
import re

import pytest

from tests.stack.project import ROOT, SURROUNDINGS, docker, name_image, run

SERVICES = ("postgres", "minio", "mlflow", "trainer", "evaluator")
ONE_SHOTS = ("secrets", "init")
IMAGES = ("postgres", "minio", "mlflow", "trainer", "evaluator", "cli")
MOUNTED_BY = {
    "postgres-secrets": {"postgres", "secrets", "init"},
    "minio-secrets": {"minio", "secrets", "init"},
    "init-secrets": {"secrets", "init"},  # and a command that makes or takes away a login
    "mlflow-secrets": {"mlflow", "secrets", "init"},  # and a command that deletes
    "trainer-secrets": {"trainer", "secrets", "init"},
    "evaluator-secrets": {"evaluator", "secrets", "init"},
    "cli-secrets": {"secrets", "init"},  # and the command line, while it runs
    "gc-secrets": {"secrets", "init"},  # and a command that deletes
    "operator-secrets": {"secrets", "init"},
    "postgres-data": {"postgres"},
    "minio-data": {"minio"},
}
STATUS = "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; echo; cat $p/status; echo; done"
SECRET_FILES = {
    "trainer": {"trainer.password", "s3_credentials"},
    "evaluator": {"evaluator.password", "s3_credentials"},
    "mlflow": {"mlflow.password", "s3_credentials"},
    "postgres": {"postgres.password"},
}


@pytest.fixture(scope="module")
def containers(project, outcome):
    """What the engine knows of each container of the stack's own, by service, after a training."""
    found = project.inspect()
    return {name: found[f"{name}-1"] for name in (*SERVICES, *ONE_SHOTS)}


@pytest.fixture(scope="module")
def secrets(project):
    """What must be nowhere to be seen: each password and secret key, by its place."""
    return {place: re.split(r"\s*=\s*|\s+", text)[-1] for place, text in project.secrets.items()}


def read_processes(container):
    """The fields of ``/proc/<pid>/status`` of every process in a container, by its command line."""
    # from a container that shares its processes: MinIO's image has no shell
    words = ["run", "--rm", "--network=none", f"--pid=container:{container['Id']}", "--entrypoint=sh"]
    found = {}
    for block in docker(*words, name_image("cli"), "-c", STATUS).strip().split("\n\n"):
        command, *fields = block.strip().splitlines()
        status = dict(line.split(":", 1) for line in fields)
        # the engine's own way in for a health check is none of ours until it has become that
        if "/proc/[0-9]" not in command and not command.startswith("runc init") and status:
            found[f"{command} {status['Pid'].strip()}"] = {name: value.split() for name, value in status.items()}
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_no_process_is_root_or_could_become_it(containers, service):
    processes = read_processes(containers[service])
    assert processes
    for command, status in processes.items():
        assert "0" not in status["Uid"] + status["Gid"] + status["Groups"], command
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[name][0], 16) == 0, (command, name)
        assert status["NoNewPrivs"] == ["1"], command
        assert status["Seccomp"] == ["2"], command


def check_limits(container, *, restart):
    """A container has limits, and no rights beyond those of a plain process."""
    host = container["HostConfig"]
    assert container["Config"]["User"] not in ("", "0", "root", "0:0")
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"] and not host["CapAdd"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert not host["Privileged"] and not host["Devices"] and not host["PidMode"]
    assert host["IpcMode"] == "private" and host["NetworkMode"] != "host"
    assert 0 < host["PidsLimit"] <= 512
    assert 0 < host["Memory"] <= 4 << 30
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
    assert host["RestartPolicy"]["Name"] == restart
    assert not [mount for mount in container["Mounts"] if mount["Type"] not in ("volume", "tmpfs")]


@pytest.mark.parametrize("service", (*SERVICES, *ONE_SHOTS))
def test_a_container_has_limits_and_no_rights(containers, service):
    check_limits(containers[service], restart="no" if service in ONE_SHOTS else "unless-stopped")


def test_a_commands_container_too_and_only_one_that_needs_more_has_the_keys_for_that(project, open_another):
    with open_another() as fresh:
        fresh.compose("create", "cli", "gc", "admin").checked()
        created = fresh.inspect()
        seen = {}
        for name, container in created.items():
            check_limits(container, restart="no")
            named = [mount for mount in container["Mounts"] if mount["Name"].startswith(fresh.name)]
            seen[name] = {mount["Name"].removeprefix(f"{fresh.name}_") for mount in named}
            assert not any(mount["RW"] for mount in named)
    assert seen == {
        "cli-1": {"cli-secrets"},
        "gc-1": {"cli-secrets", "gc-secrets", "mlflow-secrets"},
        "admin-1": {"cli-secrets", "init-secrets"},
    }


@pytest.mark.parametrize("service", ["postgres", "mlflow", "trainer", "evaluator"])
def test_nothing_can_be_written_but_scratch_space(project, service):
    for folder in ("/", "/etc", "/usr/local/bin", "/opt", "/srv", "/home", "/secrets"):
        refused = project.execute(service, "sh", "-c", f"test -d {folder} && echo x > {folder}/x")
        assert refused.code != 0, folder
    project.execute(service, "sh", "-c", "echo x > /tmp/x && rm /tmp/x").checked()


def test_minio_can_write_its_data_and_nothing_else(containers):
    container = containers["minio"]
    writable = {mount["Destination"] for mount in container["Mounts"] if mount["RW"]}
    assert writable == {"/data"}
    assert set(container["HostConfig"]["Tmpfs"]) == {"/tmp"}  # noqa: S108


def test_a_service_mounts_the_volumes_of_its_own_and_no_socket(project, containers):
    found = {}
    for service, container in containers.items():
        for mount in container["Mounts"]:
            assert "docker.sock" not in mount["Source"] + mount["Destination"]
            if mount["Name"].startswith(f"{project.name}_"):
                found.setdefault(mount["Name"].removeprefix(f"{project.name}_"), set()).add(service)
                assert not mount["RW"] or service == "secrets" or not mount["Name"].endswith("-secrets")
    assert found == MOUNTED_BY


@pytest.mark.parametrize("service", SECRET_FILES)
def test_a_service_sees_the_secrets_of_its_own(project, service):
    seen = project.execute(service, "find", "/secrets", "/run/secrets", "-type", "f").stdout.split()
    assert {path.removeprefix("/secrets/") for path in seen} == SECRET_FILES[service]


def test_no_secret_is_in_a_process_environment_or_command_line(project, secrets):
    for service in ("postgres", "mlflow", "trainer", "evaluator"):
        told = project.execute(service, "sh", "-c", "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null").stdout
        assert "PATH=" in told
        assert find_secrets(secrets, told) == [], service


def test_no_secret_is_in_what_the_engine_shows(project, containers, secrets):
    shown = docker("inspect", *project.list_containers())
    assert find_secrets(secrets, shown) == []
    for service, container in containers.items():
        logs = run(["docker", "logs", container["Id"]], SURROUNDINGS, cwd=ROOT).checked()
        assert find_secrets(secrets, logs.stdout + logs.stderr) == [], service
    assert find_secrets(secrets, project.compose("--profile", "cli", "config").checked().stdout) == []


def test_no_secret_is_in_an_image(project, secrets):
    for image in map(name_image, IMAGES):
        told = docker("image", "inspect", image) + docker("image", "history", "--no-trunc", image)
        assert find_secrets(secrets, told) == [], image
        assert not re.search(r"BEGIN CERTIFICATE|://[^/ ]+:[^/ ]+@", told), image
        for text in json.loads(docker("image", "inspect", "--format", "{{json .Config.Env}}", image)):
            name, _, value = text.partition("=")
            assert value.startswith("/secrets/") or not re.search("password|secret|token|index|proxy", name, re.I), text


def test_no_secret_is_in_what_mlflow_and_the_database_show(project, outcome, secrets):
    client = project.mlflow()
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(ids, max_results=1000)
    assert runs
    told = [json.dumps(run.to_dictionary(), default=str) for run in runs]
    for (table,) in (row.values() for row in project.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'exp'")):
        told += [str(row) for row in project.rows(f"SELECT * FROM exp.{table}", role="backup")]
    assert find_secrets(secrets, "\n".join(told)) == []


def test_no_secret_is_told_by_the_command_line(project, secrets):
    for words in (["urls"], ["doctor"], ["env"], ["ps"]):
        ended = project.launch(*words)
        assert find_secrets(secrets, ended.stdout + ended.stderr) == [], words


def test_each_secret_is_one_of_a_kind_and_long_enough(secrets):
    assert len(set(secrets.values())) == len(secrets)
    short = {place for place, text in secrets.items() if len(text) < 40}
    assert short == {"minio/root_user"}, "a name, not a secret, but generated too"


def find_secrets(secrets, text):
    """The places of those secrets that occur in a text."""
    return [place for place, secret in secrets.items() if secret in text]
