"""What Alembic runs around the revisions: it uses the connection and transaction it is given."""

from alembic import context

from api.ledger.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
