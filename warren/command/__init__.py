"""The ``warren`` command: what a person types, turned into calls of the client.

``main`` is the console script. Nothing here is imported by the client.
"""

from warren.command.main import main

__all__ = ["main"]
