"""Which version of the client this is; what it calls itself to the gateway."""

VERSION = "0.1.0"
"""The package's version; pyproject.toml says the same."""
