"""What is live for a policy, among 100,000 policy versions: asked of us and of MLflow's alias, in one run.

    python benchmarks/resolve.py [--policies 1000] [--versions 100]

Prints one table. Ours as an application asks: psycopg 3 over one connection, a statement that it prepares by itself, as
the role ``application``; the row alone, and as Python objects through the library. MLflow's: its client's
``get_model_version_by_alias`` over HTTP, on a registry with as many models and versions. Goals: p50 of at most
0.15 ms, and at least 30 times faster than MLflow. Takes two minutes and 1 GB of disk.
"""

import argparse
import os
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import psycopg

import modelyard
from embedded import run_embedded, say
from modelyard.store.connections import connect
from modelyard.store.loadable import resolve_loadable
from modelyard.store.policies import resolve_policy
from policy_rows import add_policies, log_dataset

GOAL_MS, SPEED_GOAL = 0.15, 30


def put_first_live(dsn: str, client: Any, *, policies: int, versions: int) -> None:
    """A version of each policy is live for us, and has the alias ``production`` at MLflow."""
    client.create_registered_model("model_1")
    client.create_model_version("model_1", source="s3://models/1", await_creation_for=0)
    client.set_registered_model_alias("model_1", "production", "1")
    values = {"policies": policies, "versions": versions, "live": (versions + 1) // 2}
    with psycopg.connect(dsn) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(
            """
            UPDATE exp.policies AS p SET live_policy_version_id = pv.policy_version_id
            FROM exp.policy_versions AS pv WHERE pv.policy_id = p.policy_id AND pv.version = %(live)s
            """,
            values,
        )
        for table, changed, numbers in (
            ("registered_models", "'name', 'model_' || p", "generate_series(2, %(policies)s) AS p"),
            (
                "model_versions",
                "'name', 'model_' || p, 'version', v",
                "generate_series(1, %(policies)s) AS p, generate_series(1, %(versions)s) AS v",
            ),
            (
                "registered_model_aliases",
                "'name', 'model_' || p, 'version', %(live)s::integer",
                "generate_series(2, %(policies)s) AS p",
            ),
        ):
            connection.execute(
                f"""
                INSERT INTO mlflow.{table}
                SELECT made.* FROM mlflow.{table} AS was, {numbers},
                    jsonb_populate_record(was, jsonb_build_object({changed})) AS made
                WHERE was.name = 'model_1'
                ON CONFLICT DO NOTHING
                """,  # noqa: S608
                values,
            )
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def time_calls(work: Callable[[], Any], *, number: int) -> list[float]:
    """Milliseconds of each call, after some that do not count."""
    took_ms = []
    for turn in range(-100, number):
        began_s = time.perf_counter()
        work()
        if turn >= 0:
            took_ms.append((time.perf_counter() - began_s) * 1000)
    return took_ms


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policies", type=int, default=1_000)
    parser.add_argument("--versions", type=int, default=100)
    asked = parser.parse_args()
    chance = random.Random(1)
    with run_embedded() as (_, addresses), modelyard.connect() as session:
        say("making the rows")
        owner = addresses.dsn("postgres")
        add_policies(owner, log_dataset(session), policies=asked.policies, versions=asked.versions)
        put_first_live(owner, session.mlflow, policies=asked.policies, versions=asked.versions)
        live = (asked.versions + 1) // 2

        def choose() -> int:
            return chance.randint(2, asked.policies)

        with (
            psycopg.connect(addresses.dsn("application"), autocommit=True) as plain,
            connect(addresses.dsn("application")) as connection,
        ):
            query = "SELECT * FROM exp.resolve_policy(%s)"
            assert plain.execute(query, ["policy_2"]).fetchone()
            assert resolve_policy(connection, policy_id="policy_2").version == live
            found = session.mlflow.get_model_version_by_alias("model_2", "production")
            assert int(found.version) == live
            say("resolving")
            figures = {
                "ours, the row": time_calls(
                    lambda: plain.execute(query, [f"policy_{choose()}"]).fetchone(), number=5_000
                ),
                "ours, through the library": time_calls(
                    lambda: resolve_policy(connection, policy_id=f"policy_{choose()}"), number=5_000
                ),
                "ours, with all that loading needs": time_calls(
                    lambda: resolve_loadable(connection, f"policy_{choose()}"), number=5_000
                ),
                "MLflow, alias lookup": time_calls(
                    lambda: session.mlflow.get_model_version_by_alias(f"model_{choose()}", "production"), number=300
                ),
            }
    theirs_ms = statistics.median(figures["MLflow, alias lookup"])
    print(f"\n{asked.policies * asked.versions:,} versions of {asked.policies:,} policies, {os.cpu_count()} cores")
    print(f"{'milliseconds':36}{'p50':>9}{'p99':>9}{'× MLflow':>10}")
    for name, took_ms in figures.items():
        middle_ms = statistics.median(took_ms)
        print(
            f"{name:36}{middle_ms:>9.3f}{statistics.quantiles(took_ms, n=100)[98]:>9.3f}{theirs_ms / middle_ms:>10.1f}"
        )
    print(f"goals for ours: {GOAL_MS} ms, {SPEED_GOAL} × MLflow")


if __name__ == "__main__":
    main()
