"""Uploaded tables: streamed to disk, described by a trainer, kept while they are used."""
