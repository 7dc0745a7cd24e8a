"""Gives the tests of the reference what the page on identity holds: its tables are generated as the others are."""

from docs import identity, reference

reference.BLOCKS.update(identity.BLOCKS)
