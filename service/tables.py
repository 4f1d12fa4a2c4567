"""The tables of the service's state, the version of their schema, and how an older one becomes this.

Ids are those of answers, times whole milliseconds since the epoch where they are numbers.
"""

import uuid

import sqlalchemy as sa

VERSION = 4

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
    sa.Column("preview", sa.Text, nullable=False),
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
    sa.Column("flags", sa.LargeBinary),
    sa.Index("answers_of_version", "model", "model_version", "id"),
)  # fmt: skip
audits = sa.Table(
    "audits", metadata,
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("id", sa.LargeBinary(16), primary_key=True),
    sa.Column("probability", sa.Double, nullable=False),
    sa.Column("design", sa.String, nullable=False),
    sa.Column("time", sa.BigInteger, nullable=False),
)  # fmt: skip
draws = sa.Table(
    "draws", metadata,
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("model_version", sa.String, nullable=False),
    sa.Column("first", sa.LargeBinary(16), nullable=False),
    sa.Column("last", sa.LargeBinary(16), nullable=False),
    sa.Column("design", sa.String, nullable=False),
    sa.Column("rule", sa.LargeBinary, nullable=False),
    sa.Column("time", sa.BigInteger, nullable=False),
)  # fmt: skip
labels = sa.Table(
    "labels", metadata,
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("id", sa.LargeBinary(16), primary_key=True),
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("label", sa.String, nullable=False),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.String, nullable=False),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("design", sa.String, nullable=False),
)  # fmt: skip
snapshots = sa.Table(
    "snapshots", metadata,
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("model_version", sa.String, primary_key=True),
    sa.Column("host", sa.String, primary_key=True),
    sa.Column("start", sa.String, primary_key=True),
    sa.Column("time", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("sums", sa.LargeBinary, nullable=False),
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


def version(connection: sa.Connection) -> int:
    """That of the database: 0 with no tables; 1 before there was a table that says."""
    inspector = sa.inspect(connection)
    if inspector.has_table(schema.name):
        return int(connection.execute(sa.select(schema.c.version)).scalar_one())
    return int(inspector.has_table(revisions.name))


def upgrade(connection: sa.Connection, found: int) -> None:
    """Make the tables, or bring those of version `found` to this one; all of it in the caller's transaction."""
    if 0 < found < 3:
        _add_columns_of_3(connection)
    if 0 < found < 4:
        _add_column_of_4(connection)
    metadata.create_all(connection)  # what lacks tables only has them after this
    if found >= 3:
        connection.execute(sa.update(schema).values(version=VERSION))
    else:
        connection.execute(sa.delete(schema))
        connection.execute(sa.insert(schema).values(one=1, version=VERSION, database=uuid.uuid4().hex))


def _add_columns_of_3(connection: sa.Connection) -> None:
    """An id of the database; of a revision, what kind of event it was, its certificates, and what its preview said."""
    if sa.inspect(connection).has_table(schema.name):
        connection.exec_driver_sql("ALTER TABLE schema ADD COLUMN database VARCHAR NOT NULL DEFAULT ''")
    for column, default in (("event VARCHAR", "change"), ("certificates TEXT", "[]"), ("preview TEXT", "null")):
        connection.exec_driver_sql(f"ALTER TABLE revisions ADD COLUMN {column} NOT NULL DEFAULT '{default}'")


def _add_column_of_4(connection: sa.Connection) -> None:
    """Of an answer, its flags, which nobody knows of those that are there."""
    if sa.inspect(connection).has_table(answers.name):
        kind = answers.c.flags.type.compile(connection.dialect)
        connection.exec_driver_sql(f"ALTER TABLE answers ADD COLUMN flags {kind}")
