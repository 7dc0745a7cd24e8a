"""Declared sources: computed sections that a TOML file describes, over a database or an HTTP service."""
