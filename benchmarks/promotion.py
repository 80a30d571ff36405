"""Twenty people who promote at once: by us and by MLflow's aliases and tags, in one run.

    python benchmarks/promotion.py [--rounds 20]

Prints one table. In each round twenty promoters begin at the same moment, and each puts a version of its own in
production once. Ours: ``store.promotions.promote`` on the stack's PostgreSQL, every commit on disk; whoever comes too
late is told so, looks again and asks again. MLflow's: the alias ``production`` and the tag ``stage`` are set, then the
tag of every other version that says production is set to archived, as its documentation has it. A round has ended wrong
unless exactly one version is in production and the alias names that one. Also shown: twenty promoters with a policy
each. Takes two minutes.
"""

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import Any

from mlflow import MlflowException

import modelyard
from embedded import run_embedded, say
from modelyard.errors import PromotionConflict
from modelyard.stack.addresses import Addresses
from modelyard.store.canonical import hash_json
from modelyard.store.connections import connect, find_value
from modelyard.store.gates import declare_gate
from modelyard.store.policies import resolve_policy
from modelyard.store.promotions import promote
from policy_rows import GATE, add_policies, log_dataset, pass_all

NB_PROMOTERS = 20
MODEL = "houses_model"  # MLflow's


@dataclass
class Figures:
    """What came of so many rounds."""

    promotions: int = 0
    took_s: float = 0
    conflicts: int = 0
    rounds: int = 0
    wrong: int = 0


def race(work: Callable[[int, Barrier], int], check: Callable[[], bool], *, rounds: int) -> Figures:
    """Let all promoters begin at once, so many times; ``work`` returns how often one came too late."""
    figures = Figures()
    with ThreadPoolExecutor(NB_PROMOTERS) as pool:
        for _ in range(rounds):
            barrier = Barrier(NB_PROMOTERS + 1)
            running = [pool.submit(work, number, barrier) for number in range(NB_PROMOTERS)]
            barrier.wait()
            began_s = time.perf_counter()
            figures.conflicts += sum(one.result() for one in running)
            figures.took_s += time.perf_counter() - began_s
            figures.promotions += NB_PROMOTERS
            figures.rounds += 1
            figures.wrong += not check()
    return figures


def promote_once(connection: Any, policy: str, version: int) -> int:
    """Put a version in production, whatever is; how often somebody else was first."""
    conflicts = 0
    while True:
        live = find_value(connection, "SELECT version FROM exp.live_policies WHERE policy_id = %(id)s", {"id": policy})
        if live == version:  # of an earlier round
            version = version % NB_PROMOTERS + 1
        try:
            promote(connection, policy_id=policy, version=version, expected=live or 0)
        except PromotionConflict:
            conflicts += 1
        else:
            return conflicts


def measure_ours(addresses: Addresses, *, rounds: int, shared: bool) -> Figures:
    """Promoters of one policy, or of one each."""
    connections = [connect(addresses.dsn(addresses.person)) for _ in range(NB_PROMOTERS)]
    viewer = connect(addresses.dsn(addresses.person))

    def work(number: int, barrier: Barrier) -> int:
        policy = "policy_1" if shared else f"policy_{number + 2}"
        barrier.wait()
        return promote_once(connections[number], policy, number + 1)

    def check() -> bool:
        """One version of each policy is in production, and it is the one that the log says."""
        query = """
            SELECT bool_and(l.policy_version_id = last.policy_version_id AND s.nb = 1)
            FROM exp.live_policies AS l
            CROSS JOIN LATERAL (
                SELECT p.policy_version_id FROM exp.promotions AS p
                WHERE p.policy_id = l.policy_id ORDER BY p.promotion_id DESC LIMIT 1
            ) AS last
            CROSS JOIN LATERAL (
                SELECT count(*) AS nb FROM exp.stages AS s
                WHERE s.mlflow_model_name = l.mlflow_model_name AND s.stage = 'production'
            ) AS s
        """
        return bool(find_value(viewer, query))

    try:
        return race(work, check, rounds=rounds)
    finally:
        for connection in [*connections, viewer]:
            connection.close()


def measure_mlflow(client: Any, *, rounds: int) -> Figures:
    """What people do without us: an alias and tags."""
    client.create_registered_model(MODEL)
    for number in range(1, NB_PROMOTERS + 1):
        client.create_model_version(MODEL, source=f"s3://models/{number}", await_creation_for=0)

    def list_production() -> list[str]:
        found = client.search_model_versions(f"name = '{MODEL}'")
        return [version.version for version in found if version.tags.get("stage") == "production"]

    def work(number: int, barrier: Barrier) -> int:
        version, failures = str(number + 1), 0
        barrier.wait()
        while True:
            try:
                client.set_registered_model_alias(MODEL, "production", version)
            except MlflowException:  # two that set it for the first time: one of them gets an error of the database
                failures += 1
            else:
                break
        client.set_model_version_tag(MODEL, version, "stage", "production")
        for other in list_production():
            if other != version:
                client.set_model_version_tag(MODEL, other, "stage", "archived")
        return failures

    def check() -> bool:
        return list_production() == [client.get_model_version_by_alias(MODEL, "production").version]

    return race(work, check, rounds=rounds)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    asked = parser.parse_args()
    with run_embedded() as (_, addresses), modelyard.connect() as session:
        say("making the rows")
        dataset_id, owner = log_dataset(session), addresses.dsn("postgres")
        add_policies(owner, dataset_id, policies=NB_PROMOTERS + 1, versions=NB_PROMOTERS)
        pass_all(owner, dataset_id, gate_sha256=hash_json(GATE))
        with connect(addresses.dsn("evaluator")) as evaluator:
            for number in range(1, NB_PROMOTERS + 2):
                declare_gate(evaluator, mlflow_model_name=f"model_{number}", gate=GATE)
        with connect(addresses.dsn(addresses.person)) as person:
            for number in range(1, NB_PROMOTERS + 2):
                promote(person, policy_id=f"policy_{number}", version=NB_PROMOTERS, expected=0)
        with connect(addresses.dsn("application")) as application:
            assert resolve_policy(application, policy_id="policy_1").version == NB_PROMOTERS
        say("promoting")
        figures = {
            "ours, one policy": measure_ours(addresses, rounds=asked.rounds * 5, shared=True),
            "ours, a policy each": measure_ours(addresses, rounds=asked.rounds * 5, shared=False),
            "MLflow, alias and tags": measure_mlflow(session.mlflow, rounds=asked.rounds),
        }
    print(f"\n{NB_PROMOTERS} promoters at once, {os.cpu_count()} cores, fsync on")
    print(f"{'':26}{'promotions/s':>14}{'too late':>10}{'rounds':>8}{'wrong ends':>12}")
    for name, one in figures.items():
        rate = one.promotions / one.took_s
        print(f"{name:26}{rate:>14,.0f}{one.conflicts:>10,}{one.rounds:>8}{one.wrong:>12}")


if __name__ == "__main__":
    main()
