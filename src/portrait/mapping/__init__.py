"""Mappings: how the rows of a table become records, in TOML that a person can read."""
