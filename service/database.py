"""The one database of the service's state: SQLite or PostgreSQL, its tables, and the version of their schema."""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

VERSION = 3
BUSY_SECONDS = 10
CONNECT_SECONDS = 5
UPGRADE_LOCK = 0x45515549  # "EQUI": one upgrade at a time in a PostgreSQL database

metadata = sa.MetaData()
schema = sa.Table(
    "schema", metadata,
    sa.Column("one", sa.Integer, sa.CheckConstraint("one = 1"), primary_key=True, autoincrement=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("database", sa.String, nullable=False),
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
    sa.Column("event", sa.String, nullable=False),
    sa.Column("certificates", sa.Text, nullable=False),
    sa.Column("figures", sa.Text, nullable=False),
)  # fmt: skip
hosts = sa.Table(
    "hosts", metadata,
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("host", sa.String, primary_key=True),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("seen", sa.DateTime(timezone=True), nullable=False),
)  # fmt: skip
answers = sa.Table(
    "answers", metadata,
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("id", sa.LargeBinary(16), primary_key=True),
    sa.Column("model_version", sa.String, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("label", sa.SmallInteger, nullable=False),
    sa.Column("probabilities", sa.LargeBinary, nullable=False),
    sa.Index("answers_of_version", "model", "model_version", "id"),
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

    final = False
    """Whether waiting is of no use."""


class NewerSchema(StoreError):
    """The database was made by a later version of this service."""

    final = True


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
        self._prepared = False

    @property
    def id(self) -> str:
        """Of this very database: a copy has it too, another never."""
        with self.reading() as connection:
            return str(connection.execute(sa.select(schema.c.database)).scalar_one())

    @property
    def notifies(self) -> bool:
        """Whether several hosts may share it, which hear of each other's commits: PostgreSQL."""
        return self._engine.dialect.name == "postgresql"

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One consistent look."""
        self.prepare()
        try:
            with self._engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            self._prepared = False  # it may be another one when it answers again
            raise StoreError(f"the database cannot be read: {_said(error)}") from error

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One transaction, on disk when the block ends; nothing of it where the block raises."""
        self.prepare()
        try:
            with self._writer.begin() as connection:
                yield connection
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            self._prepared = False
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
        self.prepare()
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

    def prepare(self) -> None:
        """Create or upgrade in one transaction; of several processes the first does it, the others wait."""
        if self._prepared:
            return
        try:
            self._bring_up()
        except (SQLAlchemyError, StoreError) as error:
            self.close()
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"the database cannot be opened: {_said(error)}") from error
        self._prepared = True

    def _bring_up(self) -> None:
        with self._engine.connect() as connection:
            if _version(connection) == VERSION:
                return
        with self._writer.begin() as connection:
            if connection.dialect.name == "postgresql":  # SQLite's BEGIN IMMEDIATE locks by itself
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(UPGRADE_LOCK)))
            found = _version(connection)
            if found > VERSION:
                raise NewerSchema(f"the database has schema {found}, this version knows {VERSION}")
            if found < VERSION:
                if 0 < found < 3:
                    _tell_more_of_revisions(connection)
                metadata.create_all(connection)  # what lacks tables only has them after this
                connection.execute(sa.delete(schema))
                own = {"one": 1, "version": VERSION, "database": uuid.uuid4().hex}
                connection.execute(sa.insert(schema).values(own))


def _heard(driver: Any, seconds: float, lost: type[Exception]) -> None:
    """Wait on a connection of psycopg's for one notification, or so long."""
    try:
        for _ in driver.notifies(timeout=seconds, stop_after=1):
            pass
    except lost as error:
        raise StoreError(f"the database cannot be listened to: {_said(error)}") from error


def _version(connection: sa.Connection) -> int:
    """0 with no tables; 1 before there was a table that says."""
    inspector = sa.inspect(connection)
    if inspector.has_table(schema.name):
        return int(connection.execute(sa.select(schema.c.version)).scalar_one())
    return int(inspector.has_table(revisions.name))


def _tell_more_of_revisions(connection: sa.Connection) -> None:
    """Schema 3: an id of the database; of a revision, what kind of event it was, its certificates, and its preview."""
    if sa.inspect(connection).has_table(schema.name):
        connection.exec_driver_sql("ALTER TABLE schema ADD COLUMN database VARCHAR NOT NULL DEFAULT ''")
    for column, default in (("event VARCHAR", "change"), ("certificates TEXT", "[]"), ("figures TEXT", "null")):
        connection.exec_driver_sql(f"ALTER TABLE revisions ADD COLUMN {column} NOT NULL DEFAULT '{default}'")


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
