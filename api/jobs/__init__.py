"""The life of an accepted job: Celery carries it, a worker follows it, the ledger owns its state.

Celery's exceptions stop in this package.
"""
