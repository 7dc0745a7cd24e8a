"""Writes pseudopeople's sample population as JSON lines; run in an environment of its own, on its libraries alone."""

import json
import sys

import pseudopeople  # type: ignore[import-not-found,unused-ignore]  # never in the environment that is checked


def main() -> None:
    """Write one person a line: id, household (null in group quarters), names and age, as nobody misspelt them."""
    census = pseudopeople.generate_decennial_census(seed=int(sys.argv[1]), config=pseudopeople.NO_NOISE)
    for row in census.itertuples():
        person = {
            "id": str(row.simulant_id),
            "household": str(row.household_id) if row.housing_type == "Household" else None,
            "first": str(row.first_name),
            "last": str(row.last_name),
            "age": int(row.age),
        }
        sys.stdout.write(json.dumps(person, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
