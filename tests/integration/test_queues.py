"""Queues: workers with further packages take the jobs of theirs and of no other, on records and on a real stack."""

import json
import subprocess
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from modelyard.errors import BadInput, RecordConflict, UnknownName
from modelyard.stack import embedded, own_workers
from modelyard.stack.home import Home
from modelyard.stack.own_workers import add_workers, list_own_workers, remove_workers
from modelyard.stack.processes import is_alive
from modelyard.stack.supervisor import ENVIRONMENT
from modelyard.stack.workers import list_workers, stop_workers
from modelyard.store.attempts import begin_attempt, finish_job, list_attempts
from modelyard.store.connections import connect, find_value
from modelyard.store.jobs import cancel_job, find_child, get_job, name_queue, retry_job, submit_job
from modelyard.workloads.registry import get_workload
from tests.integration.trainings import run_command

OWN = {"trainer-vision", "evaluator-vision"}
TRAIN = {"kind": "train", "arguments": {"workload": "houses"}}
VERSION_1 = {"model_name": "houses_model", "model_version": "1"}


def list_hints(database):
    owner = database.connect("postgres")
    return {row["queue_name"] for row in owner.execute("SELECT queue_name FROM queue.procrastinate_jobs").fetchall()}


def test_only_workers_of_its_queue_are_told_of_a_job_and_may_take_it(database, person, trainer):
    job_id = submit_job(person, queue="vision", **TRAIN)
    assert get_job(person, job_id=job_id).queue == "vision"
    assert list_hints(database) == {"trainer-vision"}
    assert begin_attempt(trainer, job_id=job_id, worker="w", claim_s=60) is None
    assert begin_attempt(trainer, job_id=job_id, worker="w", claim_s=60, queue="speech") is None
    assert begin_attempt(trainer, job_id=job_id, worker="w", claim_s=60, queue="vision") == 1


def test_workers_of_a_queue_leave_other_jobs_alone(database, person, trainer):
    job_id = submit_job(person, **TRAIN)
    assert list_hints(database) == {"trainer"}
    assert begin_attempt(trainer, job_id=job_id, worker="w", claim_s=60, queue="vision") is None
    assert begin_attempt(trainer, job_id=job_id, worker="w", claim_s=60) == 1


def test_the_same_request_in_another_queue_is_another_job(person, trainer):
    first = submit_job(person, queue="vision", **TRAIN)
    assert submit_job(person, queue="vision", **TRAIN) == first
    plain = submit_job(person, **TRAIN)
    assert plain != first
    assert submit_job(person, queue="default", **TRAIN) == plain, "that is where it goes when no queue is named"
    with pytest.raises(RecordConflict, match="asked for before, with other arguments"):
        submit_job(person, job_id=first, **TRAIN)
    finish_job(trainer, job_id=plain, attempt=begin_attempt(trainer, job_id=plain, worker="w", claim_s=60),
               state="failed")  # fmt: skip
    retry_job(person, job_id=plain)
    assert get_job(person, job_id=plain).state == "queued", "the one in the other queue does not stand for it"


def test_what_follows_from_a_job_goes_to_its_queue(database, person, trainer):
    job_id = submit_job(person, queue="vision", **TRAIN)
    begin_attempt(trainer, job_id=job_id, worker="w", claim_s=60, queue="vision")
    child = submit_job(trainer, kind="evaluate", arguments=VERSION_1, parent_job_id=job_id)
    assert get_job(person, job_id=child).queue == "vision"
    assert list_hints(database) == {"trainer-vision", "evaluator-vision"}


def test_a_model_is_opened_again_where_it_was_made(person, records):
    job_id = submit_job(person, queue="vision", **TRAIN)
    records.model_version(job_id=job_id)
    records.model_version(version="2")
    for kind in ("evaluate", "reproduce"):
        found = [submit_job(person, kind=kind, arguments=VERSION_1 | {"model_version": v}) for v in ("1", "2")]
        assert [get_job(person, job_id=job_id).queue for job_id in found] == ["vision", "default"], kind
        named = submit_job(person, kind=kind, arguments=VERSION_1, queue="speech")
        assert get_job(person, job_id=named).queue == "speech"


def test_a_job_that_waits_for_its_retry_stays_in_its_queue(database, person):
    job_id = submit_job(person, queue="vision", **TRAIN)
    owner = database.connect("postgres")
    owner.execute("SET search_path = queue; DELETE FROM procrastinate_jobs")
    owner.execute("SELECT exp.sweep_jobs(60)")
    assert list_hints(database) == {"trainer-vision"}, "a hint that was lost comes again, and to the same"
    assert get_job(person, job_id=job_id).state == "queued"


def test_what_is_no_name_is_refused_before_anything_is_written(person):
    for name in ("", "Vision", "two words", "1st", "-a", "a-", "a--b", "a" * 31, "vision\n"):
        with pytest.raises(BadInput, match="is no name of a queue; take one like vision"):
            submit_job(person, queue=name, **TRAIN)
    assert find_value(person, "SELECT count(*) FROM exp.jobs") == 0
    for name in ("v", "vision-2", "a" * 30):
        assert submit_job(person, queue=name, **TRAIN)


def test_queues_are_named_alike_in_python_and_in_the_database(database):
    owner = database.connect("postgres")  # nobody else calls it
    for kind, role in (("train", "trainer"), ("evaluate", "evaluator")):
        for queue in ("default", "vision"):
            found = find_value(owner, "SELECT exp.name_queue(%(kind)s, %(queue)s)", {"kind": kind, "queue": queue})
            assert found == name_queue(role, queue)


@pytest.fixture(scope="module")
def houses(tmp_path_factory) -> Path:
    [sample] = get_workload("california_housing").sample(tmp_path_factory.mktemp("raw"))
    return Path(sample)


@pytest.fixture(scope="module")
def no_workers_left(stack, stack_settings) -> Iterator[None]:
    """Whatever happens here, the stack of the other tests has its own workers only."""
    yield
    for own in list_own_workers(stack_settings):
        remove_workers(stack_settings, print, name=own.name)


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """A folder of wheels that pip finds instead of an index, with one small package."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    metadata = "Metadata-Version: 2.1\nName: tinyvision\nVersion: 1.0\n"
    with zipfile.ZipFile(folder / "tinyvision-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tinyvision.py", "SEES = True\n")
        wheel.writestr("tinyvision-1.0.dist-info/METADATA", metadata)
        wheel.writestr("tinyvision-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("tinyvision-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return folder


def test_own_workers_train_and_evaluate_with_their_packages(
    stack, stack_settings, environment, no_workers_left, index, houses, tmp_path
):
    asked = tmp_path / "requirements.txt"
    for refused in ("numpy<1", "modelyard>=99"):
        asked.write_text(f"tinyvision\n{refused}\n")
        with pytest.raises(BadInput, match=r"\(constraint\).*Modelyard's own packages stay as they are"):
            add_workers(stack_settings, print, name="vision", requirements=asked)
    assert list_own_workers(stack_settings) == []

    asked.write_text("# for the eyes\ntinyvision==1.0\nnumpy\n")
    add_workers(stack_settings, print, name="vision", requirements=asked)
    [own] = list_own_workers(stack_settings)
    assert (own.name, own.running, own.requirements.read_text()) == ("vision", 2, asked.read_text())
    home = Home(stack.home)
    assert {"trainer-1", "evaluator-1", *OWN} < list_workers(home).keys()
    python = home.workers / "vision" / (home.workers / "vision" / ENVIRONMENT).read_text().strip() / "bin/python"
    code = "import json, numpy, tinyvision, modelyard; print(json.dumps([numpy.__version__, tinyvision.SEES]))"
    seen = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(seen) == [version("numpy"), True]

    words = ["train", "california_housing", "--data", str(houses), "--set", "max_iter=5", "--queue", "vision", "--json"]
    ended = run_command(words, environment=environment, folder=tmp_path)
    with connect(stack.dsn(stack.person)) as connection:
        job = get_job(connection, job_id=ended.outcome["job"]["job_id"])
        child = find_child(connection, job_id=job.job_id)
        assert (job.state, child.state, child.queue) == ("succeeded", "succeeded", "vision"), ended.printed
        workers = [list_attempts(connection, job_id=one.job_id)[-1].worker for one in (job, child)]
    assert [worker.partition(" ")[0] for worker in workers] == ["trainer-vision", "evaluator-vision"]
    run_id = ended.outcome["training"]["run_id"]
    registered = run_command(["register", run_id], environment=environment, folder=tmp_path)
    with connect(stack.dsn(stack.person)) as connection:
        query = "SELECT queue FROM exp.jobs WHERE kind = 'register' AND arguments ->> 'run_id' = %(run)s"
        assert find_value(connection, query, {"run": run_id}) == "vision", registered.printed


def test_other_packages_end_the_workers_that_were_there(stack, stack_settings, index, tmp_path):
    home = Home(stack.home)
    before = {name: list_workers(home)[name][0] for name in OWN}
    asked = tmp_path / "requirements.txt"
    asked.write_text("tinyvision\n")

    def die(path, text):
        if path.name == ENVIRONMENT:
            raise KeyboardInterrupt
        written(path, text)

    written = own_workers._write
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(own_workers, "_write", die)
        add_workers(stack_settings, print, name="vision", requirements=asked)
    assert not OWN & list_workers(home).keys(), "none is left with packages that no file names"
    add_workers(stack_settings, print, name="vision", requirements=asked)
    [own] = list_own_workers(stack_settings)
    assert (own.running, own.requirements.read_text()) == (2, asked.read_text())
    assert not any(map(is_alive, before.values()))
    assert len([path for path in (home.workers / "vision").iterdir() if path.is_dir()]) == 1


def test_own_workers_are_there_again_after_down_and_up_and_gone_after_removal(
    stack, stack_settings, environment, houses, tmp_path
):
    home = Home(stack.home)
    stop_workers(home)  # of what down stops these count here; the rest goes on for the other tests
    assert not list_workers(home)
    embedded.up(stack_settings, print)
    assert {own.name for own in list_own_workers(stack_settings)} == {"vision"}
    assert {service.name for service in embedded.status(stack_settings).services} > OWN
    with pytest.raises(UnknownName, match="did you mean 'vision'"):
        remove_workers(stack_settings, print, name="visions")
    remove_workers(stack_settings, print, name="vision")
    assert not OWN & list_workers(home).keys()
    assert not (home.workers / "vision").exists()
    assert not OWN & {service.name for service in embedded.status(stack_settings).services}

    words = ["train", "california_housing", "--data", str(houses), "--set", "max_iter=6", "--queue", "vision"]
    ended = run_command([*words, "--no-wait"], environment=environment, folder=tmp_path)
    assert ended.code == 0
    told = " ".join(ended.printed.split())
    assert "no trainer of the queue vision is connected" in told
    assert "make worker NAME=vision REQUIREMENTS=FILE makes and starts it" in told
    with connect(stack.dsn(stack.person)) as connection:
        row = connection.execute("SELECT job_id FROM exp.jobs WHERE queue = 'vision' AND state = 'queued'").fetchone()
        assert row, "the stack's own trainer leaves it alone"
        cancel_job(connection, job_id=row["job_id"])
