"""Storage: the only room that holds SQL.

`contract.py` says what an engine promises, `conformance/` holds it to that.
"""
