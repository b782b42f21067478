"""The whole gateway on one machine with no container engine: ``make up`` and what belongs to it."""
