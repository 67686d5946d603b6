"""Read by Airflow when it starts. Makes a backfill on SQLite, the laptop profile's database, all or nothing.

Airflow makes a backfill's runs inside savepoints. Python's sqlite3 begins no transaction before a SAVEPOINT, so that
what is read inside is a snapshot; where another process has written meanwhile, the INSERT that follows fails at once
with "database is locked", in the middle of the dates. A transaction that means to write from its beginning waits.
https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#sqlite-transactions
"""

from typing import Any

from sqlalchemy import Connection, Engine, event

__all__: list[str] = []  # nothing that Airflow should take over


@event.listens_for(Engine, "savepoint")
def _begin(connection: Connection, name: str) -> None:
    """Begin the transaction that the first savepoint is a part of."""
    dbapi: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite" and not dbapi.in_transaction:
        dbapi.execute("BEGIN IMMEDIATE")
