"""Many short jobs, four workers, and a hand that kills workers and their processes all the while."""

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from psycopg.rows import tuple_row

from modelyard.store import jobs
from modelyard.store.connections import connect
from tests.integration.crew import FAULTS, Crew, list_children, open_crew, signal_if_there

NB_JOBS = 200
NB_KILLS = 20
SEED = 4


@pytest.fixture
def crew() -> Iterator[Crew]:
    with open_crew() as crew:
        crew.environment["ORDERS"] = str(FAULTS / "short_orders.py")
        yield crew


def test_many_jobs_under_random_kills_are_all_done_and_none_twice(crew: Crew) -> None:
    chance = random.Random(SEED)
    with connect(crew.dsn) as person:
        for number in range(NB_JOBS):
            jobs.submit_job(person, kind="process", arguments={"number": number})
        crew.start(trainers=4)
        killed: Counter[str] = Counter()
        while (nb_left := count_unfinished(person)) > 0:
            time.sleep(chance.uniform(0.2, 0.6))
            if killed.total() < NB_KILLS and nb_left > 4:
                killed.update(strike(crew, person, chance))
        with person.cursor(row_factory=tuple_row) as cursor:
            states = cursor.execute("SELECT state, result->>'attempt' FROM exp.jobs").fetchall()
            effects = cursor.execute("SELECT split_part(mlflow_model_id, ' ', 1) FROM exp.model_files").fetchall()
            ended = dict(cursor.execute("SELECT state, count(*) FROM exp.attempts GROUP BY state").fetchall())
    print(f"killed {dict(killed)}, attempts {ended}")
    assert Counter(state for state, _ in states) == {"succeeded": NB_JOBS}
    assert sorted(Counter(effects).values()) == [1] * NB_JOBS
    assert ended["succeeded"] == NB_JOBS
    assert killed.total() >= 15
    assert ended["failed"] + ended["lost"] >= killed.total() // 2  # some are struck when their work is just done
    assert min(killed["worker"], killed["process"]) >= 3


def count_unfinished(person) -> int:
    query = "SELECT count(*) AS nb FROM exp.jobs WHERE finished_at IS NULL"
    return person.execute(query).fetchone()["nb"]


def strike(crew: Crew, person, chance: random.Random) -> list[str]:
    """Kill a worker at work or its process; say which. A job's third attempt is spared: it has no fourth."""
    query = "SELECT worker FROM exp.attempts WHERE state = 'running' AND attempt < 3 AND session_pid IS NOT NULL"
    busy = {int(row["worker"].rpartition(":")[2]) for row in person.execute(query).fetchall()}
    found = sorted(busy & set(crew.list_pids()))
    if not found:
        return []
    worker = chance.choice(found)
    if chance.random() < 0.5:
        signal_if_there(worker, signal.SIGKILL)
        return ["worker"]
    children = list_children(worker)
    for child in children:
        signal_if_there(child, signal.SIGKILL)
    return ["process"] if children else []
