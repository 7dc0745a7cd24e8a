"""The way out: profiles, lists, and why identifiers are one person. Nothing here writes."""
