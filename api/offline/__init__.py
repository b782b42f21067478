"""Predictions of whole datasets: asked for as jobs, followed by workers, kept as files for a while."""
