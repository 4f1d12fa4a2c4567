"""The one database of the service's state, SQLite or PostgreSQL: connections, transactions, and who is told of them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from service import tables

BUSY_SECONDS = 10
CONNECT_SECONDS = 5
UPGRADE_LOCK = 0x45515549  # "EQUI": one upgrade at a time in a PostgreSQL database


class StoreError(Exception):
    """The database does not answer, or not as it should."""

    permanent = False
    """Whether waiting is of no use."""


class NewerSchema(StoreError):
    """The database was made by a later version of this service."""

    permanent = True


class Database:
    """Connections to the state; its tables are made, or brought to this version, when it first answers.

    Opening one does not need an answer yet: a service starts, and goes on, without. Every error is a StoreError, but
    for a constraint's IntegrityError, which belongs to whoever writes.
    """

    def __init__(self, url: str) -> None:
        try:
            self._engine = _engine(url)
        except (SQLAlchemyError, OSError, ImportError, ValueError) as error:
            raise StoreError(f"the database cannot be opened: {_said(error)}") from error
        self._writer = self._engine.execution_options(for_writing=True)
        self._ensured = False

    @property
    def is_postgresql(self) -> bool:
        return self._engine.dialect.name == "postgresql"

    @property
    def id(self) -> str:
        """Of this very database: a copy has it too, another never."""
        with self.reading() as connection:
            return str(connection.execute(sa.select(tables.schema.c.database)).scalar_one())

    @property
    def notifies(self) -> bool:
        """Whether several hosts may share it, which hear of each other's commits."""
        return self.is_postgresql

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One consistent look."""
        self.ensure_schema()
        try:
            with self._engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            self._ensured = False  # it may be another one when it answers again
            raise StoreError(f"the database cannot be read: {_said(error)}") from error

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One transaction, on disk when the block ends; nothing of it where the block raises."""
        self.ensure_schema()
        try:
            with self._writer.begin() as connection:
                yield connection
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            self._ensured = False
            raise StoreError(f"the database cannot be written: {_said(error)}") from error

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()

    @contextmanager
    def listening(self, channel: str, *, idle: Callable[[float], Any]) -> Iterator[Callable[[float], Any]]:
        """What is yielded waits for a commit that announced itself on `channel`, or for so many seconds.

        SQLite announces nothing: there it is `idle`. Raises StoreError where the connection is lost.
        """
        if not self.notifies:
            yield idle
            return
        self.ensure_schema()
        try:
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.detach()  # it listens until it is closed, and never for anybody else
                connection.exec_driver_sql(f"LISTEN {channel}")
                driver: Any = connection.connection.dbapi_connection
                lost = self._engine.dialect.loaded_dbapi.Error
                yield lambda seconds: _heard(driver, seconds, lost)
        except SQLAlchemyError as error:
            raise StoreError(f"the database cannot be listened to: {_said(error)}") from error

    def announce(self, connection: sa.Connection, channel: str) -> None:
        """Wake those who listen on `channel` when this transaction is committed."""
        if self.notifies:
            connection.execute(sa.select(sa.func.pg_notify(channel, "")))

    def ensure_schema(self) -> None:
        """Create or upgrade in one transaction; of several processes the first does it, the others wait."""
        if self._ensured:
            return
        try:
            self._bring_up()
        except (SQLAlchemyError, StoreError) as error:
            self.close()
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"the database cannot be opened: {_said(error)}") from error
        self._ensured = True

    def _bring_up(self) -> None:
        with self._engine.connect() as connection:
            if tables.version(connection) == tables.VERSION:
                return
        with self._writer.begin() as connection:
            if self.is_postgresql:  # SQLite's BEGIN IMMEDIATE locks by itself
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(UPGRADE_LOCK)))
            found = tables.version(connection)
            if found > tables.VERSION:
                raise NewerSchema(f"the database has schema {found}, this version knows {tables.VERSION}")
            if found < tables.VERSION:
                tables.upgrade(connection, found)


def _heard(driver: Any, seconds: float, lost: type[Exception]) -> None:
    """Wait on a connection of psycopg's for one notification, or so long."""
    try:
        for _ in driver.notifies(timeout=seconds, stop_after=1):
            pass
    except lost as error:
        raise StoreError(f"the database cannot be listened to: {_said(error)}") from error


def _engine(url: str) -> sa.Engine:
    parsed = sa.make_url(url)
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed)
    arguments: dict[str, Any] = {}
    if parsed.get_backend_name() == "postgresql":
        patience = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": 1000 * CONNECT_SECONDS}
        arguments = {name: value for name, value in patience.items() if name not in parsed.query}
    return sa.create_engine(parsed, pool_pre_ping=True, hide_parameters=True, connect_args=arguments)


def _sqlite(url: sa.URL) -> sa.Engine:
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    # No isolation level: the driver would begin late, leave tables out, and let a reader turn writer and fail.
    arguments = {"timeout": BUSY_SECONDS, "isolation_level": None}
    engine = sa.create_engine(url, hide_parameters=True, connect_args=arguments)

    @sa.event.listens_for(engine, "connect")
    def _durable(connection: Any, _record: Any) -> None:
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous=FULL")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("for_writing", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _write_ahead(connection: Any) -> None:
    """Set the WAL: while another process does the same, SQLite says "locked" at once, whatever its timeout."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except Exception as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _said(error: Exception) -> str:
    """What the driver said, in one line, without the statement and its parameters."""
    return " ".join(str(getattr(error, "orig", None) or error).split())
