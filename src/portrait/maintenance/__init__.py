"""Upkeep of what is derived: check it against the facts, rebuild it from them, refresh what time has overtaken."""
