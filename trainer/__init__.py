"""The trainer: from a training request to one published version, and every other change to ``models/``."""
