"""Migration files: numbered without gaps, named NNNN_verb_object.sql, each safe to run as one transaction."""

import re

from modelyard.store.migration_files import find_sql_folder, list_migrations
from modelyard.store.statements import split_statements

VERBS = {"create", "alter", "drop", "extend", "grant", "queue", "revoke", "rename", "secure", "fill"}
ENDS_A_TRANSACTION = re.compile(r"(BEGIN|COMMIT|ROLLBACK|START|END|SAVEPOINT|VACUUM)\b", re.IGNORECASE)


def test_migrations_are_numbered_from_one_without_gaps():
    versions = [migration.version for migration in list_migrations(find_sql_folder())]
    assert versions == list(range(1, len(versions) + 1))


def test_migrations_begin_with_a_known_verb():
    verbs = {migration.name.split("_")[1] for migration in list_migrations(find_sql_folder())}
    assert verbs <= VERBS


def test_no_migration_leaves_its_transaction():
    for migration in list_migrations(find_sql_folder()):
        for line, statement in split_statements(migration.text):
            assert not ENDS_A_TRANSACTION.match(statement), f"{migration.name}:{line}"


def test_every_file_is_told_in_the_readme():
    readme = (find_sql_folder() / "README.md").read_text()
    missing = [migration.name for migration in list_migrations(find_sql_folder()) if migration.name not in readme]
    assert missing == []


def test_statements_are_cut_at_their_own_semicolons_only():
    text = "SELECT ';'; -- one; two\n/* three; */ DO $b$ BEGIN; $c$;$c$ END $b$;\n\nSELECT \"a;b\", E'it\\';s'"
    assert list(split_statements(text)) == [
        (1, "SELECT ';'"),
        (2, "DO $b$ BEGIN; $c$;$c$ END $b$"),
        (4, "SELECT \"a;b\", E'it\\';s'"),
    ]
