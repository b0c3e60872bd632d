"""Runs the migrations on the connection that `rebuilder.store.database` hands over; else writes PostgreSQL's SQL."""

from alembic import context

from rebuilder.store.models import tables_of

if context.is_offline_mode():
    context.configure(dialect_name="postgresql", target_metadata=tables_of("postgresql"), literal_binds=True)
else:
    connection = context.config.attributes["connection"]
    tables = tables_of(connection.dialect.name)
    context.configure(connection=connection, target_metadata=tables, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
