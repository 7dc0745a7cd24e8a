"""The least that an answer can cost: the smallest programs that do the same work on the same tables."""
