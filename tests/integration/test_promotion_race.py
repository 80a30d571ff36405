"""Many promoters at once on a real PostgreSQL: one version is live at every look, and the log is one unbroken line."""

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from threading import Barrier, Event, Thread
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from modelyard.errors import PromotionConflict, RequestReused
from modelyard.store import gates, policies, promotions
from modelyard.store.connections import connect

POLICY, MODEL = "houses_policy", "houses_model"
GATE = {"always": ["rmse <= 0.7"], "against_production": [], "first_version": []}
NB_PROMOTERS, NB_ROUNDS, NB_READERS, NB_VERSIONS = 50, 200, 3, 6
NB_KILLED, KILLING_S = 4, 10.0
SEED = 7


@pytest.fixture
def yard(cluster, database, records):
    """A policy with versions each of which has passed against each other one, and fifty promoters by name."""
    gates.declare_gate(records.evaluator, mlflow_model_name=MODEL, gate=GATE)
    versions = []
    for number in range(1, NB_VERSIONS + 1):
        records.evaluation(version=str(number), gate=GATE)
        added = policies.add_policy_version(
            records.evaluator, policy_id=POLICY, mlflow_model_name=MODEL, mlflow_model_version=str(number)
        )
        versions.append(added)
    for number in range(1, NB_VERSIONS + 1):
        for other in versions:
            if other.version != number:
                baseline = other.policy_version_id
                records.evaluation(version=str(number), gate=GATE, baseline_policy_version_id=baseline)
    names = [f"promoter_{number}" for number in range(NB_PROMOTERS)]
    cluster.run(*(f"CREATE ROLE {name} LOGIN IN ROLE modelyard_promoter" for name in names))
    yield database
    cluster.run(*(f"DROP ROLE {name}" for name in names))


@dataclass
class Reader:
    """Looks what is live, by both ways, as fast as it can; keeps every look that is not right."""

    dsn: str
    nb_looks: int = 0
    wrong: list[Any] = field(default_factory=list)

    def look(self, stop: Event) -> None:
        query = """
            SELECT p.live_policy_version_id, l.policy_version_id,
                (SELECT count(*) FROM exp.stages WHERE stage = 'production'),
                (SELECT count(*) FROM exp.promotions AS a
                 WHERE NOT EXISTS (SELECT FROM exp.promotions AS b WHERE b.previous_promotion_id = a.promotion_id))
            FROM exp.policies AS p
            CROSS JOIN LATERAL (SELECT policy_version_id FROM exp.promotions ORDER BY promotion_id DESC LIMIT 1) AS l
        """
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            while not stop.is_set():
                [(live, last, nb_live, nb_ends)] = connection.execute(query).fetchall()
                self.nb_looks += 1
                if live is None or live != last or (nb_live, nb_ends) != (1, 1):
                    self.wrong.append((live, last, nb_live, nb_ends))


@contextmanager
def readers(database) -> Iterator[list[Reader]]:
    """Readers that look during the block; afterwards none has seen anything wrong."""
    stop, found = Event(), [Reader(database.dsn("alice_viewer")) for _ in range(NB_READERS)]
    threads = [Thread(target=reader.look, args=[stop]) for reader in found]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert [reader.wrong for reader in found] == [[]] * NB_READERS
    assert all(reader.nb_looks > 100 for reader in found), [reader.nb_looks for reader in found]


def check_log(database) -> list[promotions.Promotion]:
    """Every row of the log follows from the one before it, in ids, versions and time; the last one is what is live."""
    with connect(database.dsn("alice_viewer")) as connection:
        log = promotions.list_promotions(connection, policy_id=POLICY)[::-1]
        policy = policies.find_policy(connection, policy_id=POLICY)
        moves = connection.execute(
            "SELECT request_id, from_stage, to_stage FROM exp.stage_transitions WHERE request_id IS NOT NULL"
        ).fetchall()
    assert log[0].previous_promotion_id is None
    assert log[0].replaced_version is None
    for before, after in pairwise(log):
        assert after.previous_promotion_id == before.promotion_id
        assert after.replaced_policy_version_id == before.policy_version_id
        assert after.replaced_version == before.version
        assert after.occurred_at >= before.occurred_at
        assert after.evaluation_id is not None
    assert policy.live_policy_version_id == log[-1].policy_version_id
    # each change is whole: what went up and what came down are on record under its request, or neither is
    ups = Counter(move["request_id"] for move in moves if move["to_stage"] == "production")
    downs = Counter(move["request_id"] for move in moves if move["to_stage"] == "archived")
    assert ups == Counter(row.request_id for row in log)
    assert downs == Counter(row.request_id for row in log[1:])
    return log


def test_of_fifty_promoters_one_wins_each_round_and_the_others_are_told_who(yard):
    barrier = Barrier(NB_PROMOTERS)
    winners: list[list[tuple[str, int]]] = [[] for _ in range(NB_ROUNDS)]
    conflicts: list[list[str]] = [[] for _ in range(NB_ROUNDS)]

    def run(number: int) -> None:
        name, chance = f"promoter_{number}", random.Random(number)
        with connect(yard.dsn(name)) as connection:
            for turn in range(NB_ROUNDS):
                barrier.wait(60)
                # what was live when this round began: all ask on the strength of the same look
                live = winners[turn - 1][0][1] if turn else 1
                wanted = chance.choice([version for version in range(1, NB_VERSIONS + 1) if version != live])
                barrier.wait(60)
                try:
                    done = promotions.promote(connection, policy_id=POLICY, version=wanted, expected=live)
                except PromotionConflict as lost:
                    conflicts[turn].append(str(lost))
                except BaseException:
                    barrier.abort()  # the others need not wait for this one
                    raise
                else:
                    winners[turn].append((name, done.version))

    with connect(yard.dsn("alice_promoter")) as first:
        promotions.promote(first, policy_id=POLICY, version=1, expected=0)
    with readers(yard), ThreadPoolExecutor(NB_PROMOTERS) as pool:
        list(pool.map(run, range(NB_PROMOTERS)))
    assert [len(won) for won in winners] == [1] * NB_ROUNDS
    assert [len(lost) for lost in conflicts] == [NB_PROMOTERS - 1] * NB_ROUNDS
    log = check_log(yard)
    assert [(row.actor, row.version) for row in log[1:]] == [won[0] for won in winners]
    for won, lost in zip(winners, conflicts, strict=True):
        [(name, version)] = won
        assert all(f"version {version} live since" in text and f"by {name}," in text for text in lost), lost
    assert len({name for [(name, _)] in winners}) > 5  # it is a race, and not always the same one wins it


def test_one_request_made_by_many_at_once_is_done_once(yard):
    request = uuid4()

    def ask(number: int) -> promotions.Promotion:
        with connect(yard.dsn("promoter_0")) as connection:
            return promotions.promote(connection, policy_id=POLICY, version=1, expected=0, request_id=request)

    with ThreadPoolExecutor(10) as pool:
        done = list(pool.map(ask, range(30)))
    assert len(set(done)) == 1
    assert check_log(yard) == [done[0]]
    with connect(yard.dsn("promoter_1")) as connection, pytest.raises(RequestReused, match="with other arguments"):
        promotions.promote(connection, policy_id=POLICY, version=2, expected=0, request_id=request)


def test_promoters_that_are_killed_leave_whole_changes_or_none(yard, tmp_path):
    """Clients die by kill -9 and sessions by pg_terminate_backend; what a client was told is on record."""
    chance, killed = random.Random(SEED), Counter[str]()
    told = tmp_path / "told.txt"

    def start(number: int) -> subprocess.Popen[bytes]:
        program = [sys.executable, "-m", "tests.integration.promoter"]
        arguments = [yard.dsn(f"promoter_{number}"), str(chance.randrange(10**6))]
        with told.open("ab") as output:
            return subprocess.Popen([*program, *arguments], stdout=output)

    with connect(yard.dsn("alice_promoter")) as first:
        promotions.promote(first, policy_id=POLICY, version=1, expected=0)
    terminate = """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND usename = %s
    """
    with connect(yard.dsn("postgres")) as admin, readers(yard):
        crew = [start(number) for number in range(NB_KILLED)]
        try:
            give_up_s = time.monotonic() + KILLING_S
            while time.monotonic() < give_up_s:
                time.sleep(chance.uniform(0.01, 0.1))
                number = chance.randrange(NB_KILLED)
                if chance.random() < 0.1:
                    end(crew[number])
                    crew[number] = start(number)
                    killed["process"] += 1
                else:
                    killed["session"] += len(admin.execute(terminate, [f"promoter_{number}"]).fetchall())
        finally:
            for process in crew:
                end(process)
    log = check_log(yard)
    done = [UUID(line) for line in told.read_text().splitlines()]
    print(f"{len(log)} promotions, {len(done)} told to their clients, killed {dict(killed)}")
    assert set(done) <= {row.request_id for row in log}
    assert len(done) > 50
    assert min(killed["process"], killed["session"]) >= 5


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
