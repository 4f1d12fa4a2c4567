"""The one database of the service's state: SQLite or PostgreSQL, its tables, and the version of their schema."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

VERSION = 2
BUSY_SECONDS = 10
CONNECT_SECONDS = 5
UPGRADE_LOCK = 0x45515549  # "EQUI": one upgrade at a time in a PostgreSQL database

metadata = sa.MetaData()
schema = sa.Table(
    "schema", metadata,
    sa.Column("one", sa.Integer, sa.CheckConstraint("one = 1"), primary_key=True, autoincrement=False),
    sa.Column("version", sa.Integer, nullable=False),
)  # fmt: skip
revisions = sa.Table(
    "revisions", metadata,
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("time", sa.String, nullable=False),
    sa.Column("actor", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("model_version", sa.String, nullable=False),
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("thresholds", sa.Text, nullable=False),
)  # fmt: skip
tokens = sa.Table(
    "tokens", metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("digest", sa.String, nullable=False),
    sa.Column("scopes", sa.String, nullable=False),
    sa.Column("created", sa.String, nullable=False),
    sa.Column("revoked", sa.String),
)  # fmt: skip
_LIVE = tokens.c.revoked.is_(None)
sa.Index("tokens_live_name", tokens.c.name, unique=True, sqlite_where=_LIVE, postgresql_where=_LIVE)


class StoreError(Exception):
    """The database does not answer, or not as it should."""


class Database:
    """Connections to the state; its tables are made, or brought to this version, when it is opened.

    Every error is a StoreError, but for a constraint's IntegrityError, which belongs to whoever writes.
    """

    def __init__(self, url: str) -> None:
        try:
            self._engine = _engine(url)
        except (SQLAlchemyError, OSError, ImportError, ValueError) as error:
            raise StoreError(f"the database cannot be opened: {_said(error)}") from error
        self._writer = self._engine.execution_options(for_writing=True)
        try:
            self._prepare()
        except StoreError:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One consistent look."""
        try:
            with self._engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StoreError(f"the database cannot be read: {_said(error)}") from error

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One transaction, on disk when the block ends; nothing of it where the block raises."""
        try:
            with self._writer.begin() as connection:
                yield connection
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            raise StoreError(f"the database cannot be written: {_said(error)}") from error

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()

    def _prepare(self) -> None:
        """Create or upgrade in one transaction; of several processes the first does it, the others wait."""
        with self.reading() as connection:
            if _version(connection) == VERSION:
                return
        with self.writing() as connection:
            if connection.dialect.name == "postgresql":  # SQLite's BEGIN IMMEDIATE locks by itself
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(UPGRADE_LOCK)))
            found = _version(connection)
            if found > VERSION:
                raise StoreError(f"the database has schema {found}, this version knows {VERSION}")
            if found < VERSION:
                metadata.create_all(connection)  # 0 and 1 lack tables only; a step that alters one goes before this
                connection.execute(sa.delete(schema))
                connection.execute(sa.insert(schema).values(one=1, version=VERSION))


def _version(connection: sa.Connection) -> int:
    """0 with no tables; 1 before there was a table that says."""
    inspector = sa.inspect(connection)
    if inspector.has_table(schema.name):
        return int(connection.execute(sa.select(schema.c.version)).scalar_one())
    return int(inspector.has_table(revisions.name))


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
