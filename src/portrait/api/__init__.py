"""The HTTP API: resources, one file each; `errors.py` is the one table from error to status."""
