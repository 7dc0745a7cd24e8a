"""The words of the house: fact, identifier, document, time, and the one error tree."""
