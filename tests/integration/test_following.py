"""What somebody sees who asks for a training and follows it: on a terminal, in a file, and as JSON."""

import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from typing import ClassVar
from uuid import UUID

import pytest

from modelyard.store import jobs
from modelyard.store.connections import connect
from tests.integration.crew import WORKLOAD, Crew, Fault, open_crew, wait_until
from tests.integration.outcomes import Outcome

FIT = "before modelyard.workloads.california_housing:Trained"
JOB_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
END_S = 120


class Command:
    """``modelyard`` with some arguments, as a process; ``err`` is the same as ``out`` on a terminal."""

    begun: ClassVar[list["Command"]] = []

    def __init__(self, crew: Crew, *arguments: str, terminal: bool = False) -> None:
        self._crew, self._read = crew, bytearray()
        command = [sys.executable, "-m", "modelyard", *arguments]
        environment = crew.make_environment() | {"COLUMNS": "160", "TERM": "xterm-256color"}
        folder = crew.folder / f"command-{time.monotonic_ns()}"
        folder.mkdir()
        self._out, self._err = folder / "out", folder / "err"
        self._terminal, inside = pty.openpty() if terminal else (None, None)
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL if inside is None else inside,
                stdout=out if inside is None else inside,
                stderr=err if inside is None else inside,
                env=environment,
                cwd=crew.folder,
                start_new_session=True,
                preexec_fn=None if inside is None else lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            )
        if inside is not None and self._terminal is not None:
            os.close(inside)
            os.set_blocking(self._terminal, False)
        self.begun.append(self)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        if self._terminal is not None:
            os.close(self._terminal)

    @property
    def out(self) -> str:
        if self._terminal is None:
            return self._out.read_text()
        try:
            while data := os.read(self._terminal, 65536):
                self._read += data
        except OSError:  # nothing more now, or its other end is closed
            pass
        return ESCAPES.sub("", self._read.decode(errors="replace"))

    @property
    def err(self) -> str:
        return self.out if self._terminal is not None else self._err.read_text()

    def press_ctrl_c(self) -> None:
        assert self._terminal is not None
        os.write(self._terminal, b"\x03")

    def wait_to_say(self, pattern: str) -> str:
        """Wait until the output has this; return what matched."""

        def said() -> bool:
            return re.search(pattern, self.out + self.err) is not None

        try:
            wait_until(said, what=repr(pattern), crew=self._crew, timeout_s=END_S)
        except TimeoutError as error:
            raise AssertionError(f"{error}\nit said:\n{self.out}\n{self.err}") from None
        found = re.search(pattern, self.out + self.err)
        assert found is not None
        return found[0]

    def end(self) -> int:
        """Wait for its exit code."""
        give_up_s = time.monotonic() + END_S
        while self.process.poll() is None:
            assert time.monotonic() < give_up_s, f"it did not end:\n{self.out}\n{self.err}"
            assert self.out is not None  # a terminal that nobody reads from stops who writes
            time.sleep(0.05)
        return self.process.returncode


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    """A stack with an evaluator and, until a test starts one, no trainer; its claims outlast a restart of Postgres."""
    with open_crew(claim_s=30) as crew:
        crew.start(evaluators=1)
        yield crew
    for command in Command.begun:
        command.close()


def train(crew: Crew, seed: int, *more: str, terminal: bool = False) -> Command:
    data = str(crew.sample)
    return Command(crew, "train", WORKLOAD, "--data", data, "--set", f"seed={seed}", *more, terminal=terminal)


def test_without_a_trainer_the_follower_says_so_and_goes_on_when_there_is_one(crew: Crew) -> None:
    command = train(crew, 1, "--json")
    command.wait_to_say("no trainer is connected; start one: .* up")
    crew.start(trainers=1)
    assert command.end() == 0, command.err
    outcome = json.loads(command.out)
    assert sorted(outcome) == [
        "dataset", "evaluation", "evaluation_job", "job", "raw", "registration", "training",
    ]  # fmt: skip
    job_id = outcome["job"]["job_id"]
    for text in (
        rf"job      {job_id} \(train\)\n",
        r"dataset  california_housing .*2,000 rows",
        r"  training.*: fitting the training rows\n",
        r"run      [0-9a-f]{32} \(hist_gradient_boosting\)\n",
        r"model    california_housing_model version 1\n",
        rf"job      {outcome['evaluation_job']['job_id']} \(evaluate\)\n",
        r"verdict  PASSED on the test rows\n",
        r"policy   california_housing_policy version 1, stage candidate\n",
    ):
        assert re.search(text, command.err), f"{text}\n{command.err}"


def test_jobs_are_listed_and_shown_by_the_beginning_of_their_number(crew: Crew) -> None:
    listed = Command(crew, "jobs", "list", "--json")
    assert listed.end() == 0, listed.err
    evaluation, training = json.loads(listed.out)
    assert [(job["kind"], job["state"]) for job in (training, evaluation)] == [
        ("train", "succeeded"),
        ("evaluate", "succeeded"),
    ]
    table = Command(crew, "jobs", "list", "--state", "succeeded", "--limit", "1")
    assert table.end() == 0, table.err
    assert re.search(rf"{evaluation['job_id'][:8]} +evaluate +{WORKLOAD} +succeeded +1 ", table.out), table.out
    assert training["job_id"][:8] not in table.out
    shown = Command(crew, "jobs", "show", training["job_id"][:6].upper())
    assert shown.end() == 0, shown.err
    for text in (
        rf"job      {training['job_id']} \(train, succeeded\)\n",
        rf"then     {evaluation['job_id']} \(evaluate, succeeded\)\n",
        r"│ 1 +│ succeeded │ trainer ",
    ):
        assert re.search(text, shown.out), f"{text}\n{shown.out}"
    whole = Command(crew, "jobs", "show", training["job_id"], "--json")
    assert whole.end() == 0, whole.err
    value = json.loads(whole.out)
    assert value["arguments"]["parameters"]["seed"] == 1
    assert [attempt["state"] for attempt in value["attempts"]] == ["succeeded"]
    assert value["evaluation_job_id"] == evaluation["job_id"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["jobs", "show", "zebra"], "'zebra' is no job; .* jobs list shows those there are"),
        (["jobs", "cancel", "00000000"], "no job begins with 00000000; .* jobs list shows those there are"),
        (["jobs", "list", "--state", "done"], "there is no state 'done'"),
        (["train", "california_husing"], "there is no workload 'california_husing'; did you mean 'california_housing'"),
        (["train", WORKLOAD, "--set", "sead=1"], "did you mean 'seed'"),
        (["train", WORKLOAD, "--set", "seed=many"], "seed"),
        (["train", WORKLOAD, "--data", "nowhere.csv"], "there is no file nowhere.csv"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_is_said_with_exit_code_2_and_nothing_is_queued(
    crew: Crew, arguments: list[str], text: str
) -> None:
    before = list_ids(crew)
    command = Command(crew, *arguments)
    assert command.end() == 2, command.err
    assert re.search(text, command.err), command.err
    assert list_ids(crew) == before


def test_a_job_that_has_ended_is_not_cancelled_and_one_that_succeeded_not_retried(crew: Crew) -> None:
    job_id = list_ids(crew)[-1][:8]
    for verb, text in (("cancel", r"has ended already \(succeeded\)"), ("retry", "it is succeeded")):
        command = Command(crew, "jobs", verb, job_id)
        assert command.end() == 2, command.err
        assert re.search(text, command.err), command.err


def test_a_terminal_has_a_bar_with_rate_and_time_left_and_ctrl_c_leaves_the_job_running(crew: Crew) -> None:
    crew.place("seed 2", Fault(do="hold", at=FIT))
    command = train(crew, 2, terminal=True)
    command.wait_to_say(r"training +━+.* 90 % +\d+\.\d %/s +\d:\d\d:\d\d left +(-:--:--|\d:\d\d:\d\d)")
    job_id = command.wait_to_say(JOB_ID.pattern)
    command.press_ctrl_c()
    assert command.end() == 130
    program = r"\S+"
    assert re.search(
        rf"job {job_id} goes on without you; follow it: {program} jobs follow {job_id}; "
        rf"cancel it: {program} jobs cancel {job_id}",
        " ".join(command.out.split()),
    ), command.out
    assert get_state(crew, job_id) == "running"
    follower = Command(crew, "jobs", "follow", job_id[:13])
    follower.wait_to_say("training")
    crew.release("seed 2")
    assert follower.end() == 0, follower.err
    assert "verdict  PASSED" in follower.out


def test_a_follower_asks_nothing_while_nothing_happens_and_a_cancelled_job_may_be_retried(crew: Crew) -> None:
    crew.place("seed 3", Fault(do="hold", at=FIT))
    command = train(crew, 3)
    job_id = command.wait_to_say(JOB_ID.pattern)
    crew.wait_struck("seed 3")
    time.sleep(3)  # after two seconds it looks once whether somebody is at work
    before = find_last_query(crew)
    time.sleep(4)
    assert find_last_query(crew) == before
    cancelled = Command(crew, "jobs", "cancel", job_id[:8])
    assert cancelled.end() == 0, cancelled.err
    assert command.end() == 1
    assert f"modelyard: job {job_id} was cancelled: cancelled by {crew.stack.person}" in command.err
    retried = Command(crew, "jobs", "retry", job_id)
    assert retried.end() == 0, retried.err
    follower = Command(crew, "jobs", "follow", job_id, "--json")
    assert follower.end() == 0, follower.err
    assert json.loads(follower.out)["job"] == {"job_id": job_id, "attempt": 2}


def test_the_same_request_is_one_job_however_many_follow_it_and_a_restart_of_postgres_ends_no_following(
    crew: Crew,
) -> None:
    crew.place("seed 4", Fault(do="hold", at=FIT))
    first = train(crew, 4, "--no-wait", "--json")
    assert first.end() == 0, first.err
    job_id = UUID(json.loads(first.out)["job_id"])
    assert f"jobs follow {job_id}" in first.err
    followers = [train(crew, 4), train(crew, 4)]
    for follower in followers:
        follower.wait_to_say(f"job +{job_id} is the same request and has not ended; going on with it")
        follower.wait_to_say(rf"job +{job_id} \(train\)")
    crew.wait_struck("seed 4")
    crew.signal_postgres(signal.SIGKILL)
    for follower in followers:
        follower.wait_to_say("PostgreSQL is away; the job goes on or is taken up again, waiting for news of it")
    crew.start_postgres()
    for follower in followers:
        follower.wait_to_say("PostgreSQL is back")
    crew.release("seed 4")
    for follower in followers:
        assert follower.end() == 0, follower.err
        assert follower.out.count("verdict  PASSED") == 1
    crew.wait_settled(job_id)
    assert Outcome(crew.stack, job_id).check().states == ["succeeded"]


def list_ids(crew: Crew) -> list[str]:
    """All jobs, the newest first."""
    with connect(crew.dsn) as connection:
        return [str(job.job_id) for job in jobs.list_jobs(connection, nb_jobs=1000)]


def get_state(crew: Crew, job_id: str) -> str:
    with connect(crew.dsn) as connection:
        return jobs.get_job(connection, job_id=UUID(job_id)).state


def find_last_query(crew: Crew) -> list[tuple[int, str]]:
    """Each follower's session, and when it was last asked for anything."""
    query = "SELECT pid, state_change FROM pg_stat_activity WHERE application_name = 'modelyard follow' ORDER BY pid"
    with connect(crew.dsn) as connection:
        found = [(row["pid"], str(row["state_change"])) for row in connection.execute(query).fetchall()]
    assert found
    return found
