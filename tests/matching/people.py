"""A small population with known truth: people in streets and families, some of them in several records, with errors."""

import random
from itertools import product

NAMES = """
Agnes Albert Beatrix Bruno Cecilia Clemens Dorothea Dieter Edith Emil Frieda Ferdinand Gudrun Gregor Hedwig Hugo
Ingrid Igor Johanna Jakob Katharina Konrad Liselotte Ludwig Mathilde Maximilian Nadine Norbert Ottilie Oskar Petra
Philipp Quentin Renate Rudolf Sieglinde Stefan Theresa Thomas Ursula Ulrich Veronika Viktor Wilhelmina Wolfgang Xenia
Yvonne Zoltan
"""
FIRST = "Acker Bruck Dun Eng Fors Gruber Holt Jens Lind Mol Nor Schu"
LAST = "mann er ström ova berg itz"
ROADS = "Oak Mill Station Church Garden King Harbour Market"
KINDS = "Street Road Lane Avenue"
PLACES = "Ash Brink Car Dun East Farn Gor Hex"
ENDS = "ford ley low more ham"
GIVEN = NAMES.split()
SURNAMES = ["".join(parts) for parts in product(FIRST.split(), LAST.split())]
STREETS = [" ".join(parts) for parts in product(ROADS.split(), KINDS.split())]
TOWNS = ["".join(parts) for parts in product(PLACES.split(), ENDS.split())]


def population(people: int = 450, *, seed: int = 1, families: bool = False):
    """Return records, and whose each is. Half of the people have one record, a quarter each two and three."""
    dice = random.Random(seed)
    records, truth, home = [], {}, None
    for person in range(people):
        if home is None or not families or person % 3 == 0:
            town = dice.randrange(len(TOWNS))
            home = {
                "surname": dice.choice(SURNAMES),
                "address": f"{dice.randint(1, 180)} {dice.choice(STREETS)}",
                "zip": f"{3000 + 137 * town}",
                "city": TOWNS[town],
            }
        attributes = {"first_name": dice.choice(GIVEN), **home}
        for version in range(dice.choice((1, 1, 2, 3))):
            key = f"r{person}-{version}"
            truth[key] = person
            records.append({"id": key, **(attributes if version == 0 else damaged(attributes, dice))})
    dice.shuffle(records)
    return records, truth


def damaged(record: dict, dice: random.Random) -> dict:
    """Return a record with one or two errors that people make."""
    other = dict(record)
    for kind in dice.choices(
        ("typo", "missing", "mark", "postcode", "swap"), (8, 3, 4, 3, 1), k=dice.choice((1, 1, 2))
    ):
        column = dice.choice(("first_name", "surname", "address", "city"))
        value = other[column] or ""
        at = dice.randrange(1, max(2, len(value)))
        if kind == "typo":
            other[column] = value[:at] + dice.choice("aeirst") + value[at + 1 :]
        elif kind == "swap":
            other["first_name"], other["surname"] = other["surname"], other["first_name"]
        elif kind == "missing" and column in {"address", "city"}:
            other[column] = None
        elif kind == "mark":
            other[column] = value.upper().replace(" ", "-")
        elif kind == "postcode":
            other["zip"] = other["zip"][:2] + other["zip"][3] + other["zip"][2]
    return other
