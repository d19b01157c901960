"""The tables of new MLflow stores in the tests: made once a process, and copied from there.

MLflow makes them by all migrations that there ever were, in more than a processor second, and most
tests with a run have a store of their own.
"""

import sqlite3
from collections.abc import Callable
from typing import Any


class Tables:
    """Takes the place of what makes the tables of a store; one that has some is left to that."""

    def __init__(self, make: Callable[[Any], None]) -> None:
        self.make = make
        self.made: sqlite3.Connection | None = None

    def __call__(self, engine: Any) -> None:
        from mlflow.store.db import utils

        if engine.dialect.name != "sqlite" or not utils._is_empty_database(engine):
            self.make(engine)
            return
        if self.made is None:
            self.make(engine)
        connection = engine.raw_connection()
        try:
            if self.made is None:
                self.made = sqlite3.connect(":memory:", check_same_thread=False)
                connection.driver_connection.backup(self.made)
            else:
                self.made.backup(connection.driver_connection)
        finally:
            connection.close()


def copy_tables() -> None:
    """Have MLflow's stores of this process copy their tables."""
    from mlflow.store.db import utils

    if not isinstance(utils._initialize_tables, Tables):
        utils._initialize_tables = Tables(utils._initialize_tables)
