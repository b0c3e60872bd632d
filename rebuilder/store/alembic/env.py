"""Runs the migrations on the connection that `rebuilder.store.database` hands over; else writes PostgreSQL's SQL."""

from alembic import context

from rebuilder.store.models import Base

if context.is_offline_mode():
    context.configure(dialect_name="postgresql", target_metadata=Base.metadata, literal_binds=True)
else:
    context.configure(
        connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
    )
with context.begin_transaction():
    context.run_migrations()
