"""Identity: pure decisions on which identifiers are one person. No I/O."""
