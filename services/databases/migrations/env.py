"""Run by Alembic: connects, and applies the revisions in the suite's schema."""

import sqlalchemy
from alembic import context

schema = context.config.attributes["schema"]
engine = sqlalchemy.create_engine(
    context.config.attributes["url"],
    poolclass=sqlalchemy.NullPool,
    connect_args={"options": f"-c search_path={schema}"},
)
with engine.connect() as connection:
    context.configure(connection=connection, version_table_schema=schema)
    with context.begin_transaction():
        context.run_migrations()
