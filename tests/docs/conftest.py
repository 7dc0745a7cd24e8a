"""Adds the generated blocks of the page on identity to those of the reference pages."""

from docs import identity, reference

reference.BLOCKS.update(identity.BLOCKS)
