"""Declared sources: computed sections that a TOML file describes, over a database or an HTTP service.

`load` makes sections of files. What a file may say stands in `tables`, and what a query or URL may name in `names`.
"""

from portrait.declared.loading import load

__all__ = ["load"]
