"""Takes guards away, one at a time, and holds that a test fails for each: `python -m mutants`."""
