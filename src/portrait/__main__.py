"""`python -m portrait`."""

from portrait.cli import main

main()
