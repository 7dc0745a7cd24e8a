"""Ingest: the formats in which records arrive, turned into what `recording` takes."""
