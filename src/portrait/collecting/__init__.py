"""Collecting: what clients of other makers send becomes records, each event exactly once."""
