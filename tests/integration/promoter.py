"""A person who promotes all the time: ``python -m tests.integration.promoter DSN SEED``, until it is killed.

Each request that it was told has been done is a line of its output. After a lost connection it asks once more.
"""

import os
import random
import sys
from uuid import UUID, uuid4

import psycopg

from modelyard.errors import PromotionConflict, ServiceFailed
from modelyard.store import policies, promotions
from modelyard.store.connections import Connection, connect

POLICY = "houses_policy"


def promote_always(dsn: str, chance: random.Random) -> None:
    """Promote any other version than the live one, again and again."""
    asked: tuple[UUID, int, int] | None = None
    while True:
        try:
            with connect(dsn) as connection:
                while True:
                    asked = asked or _choose(connection, chance)
                    request, version, expected = asked
                    try:
                        promotions.promote(
                            connection, policy_id=POLICY, version=version, expected=expected, request_id=request
                        )
                        os.write(1, f"{request}\n".encode())
                    except PromotionConflict:
                        pass
                    asked = None
        except (psycopg.OperationalError, ServiceFailed):
            pass  # the session was ended; nobody knows whether that request was done


def _choose(connection: Connection, chance: random.Random) -> tuple[UUID, int, int]:
    versions = policies.list_policy_versions(connection, policy_id=POLICY)
    policy = policies.find_policy(connection, policy_id=POLICY)
    assert policy is not None
    [live] = [row for row in versions if row.policy_version_id == policy.live_policy_version_id]
    return uuid4(), chance.choice([row.version for row in versions if row != live]), live.version


if __name__ == "__main__":
    promote_always(sys.argv[1], random.Random(int(sys.argv[2])))
