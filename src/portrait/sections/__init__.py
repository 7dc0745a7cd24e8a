"""Sections: the units of knowledge that a portrait is made of, one file each. Importing one registers nothing."""
