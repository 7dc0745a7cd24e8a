"""Turn the CDNOW master file into JSON lines for `portrait load`.

    python examples/cdnow/convert.py cdnow-master.txt | portrait load - --tenant cdnow

Each line of the file is one purchase: customer id, date (YYYYMMDD), number of CDs, dollar value, between white space.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any


def purchases(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield one record line a purchase, numbered within its customer in the file's order."""
    numbers: Counter[str] = Counter()
    for line in lines:
        customer, date, cds, dollars = line.split()
        numbers[customer] += 1
        yield {
            "customerId": customer,
            "section": "interactions",
            "record": {
                "id": f"cdnow-{customer}-{numbers[customer]:03}",
                "interactionType": "purchase",
                "timestamp": f"{datetime.strptime(date, '%Y%m%d').date()}T00:00:00Z",  # noqa: DTZ007  # a date alone
                "numberOfCds": int(cds),
                "dollarValue": float(dollars),
            },
            "source": "cdnow",
        }


def main() -> None:
    """Write the file's purchases to stdout."""
    if len(sys.argv) != 2:  # the script and the file
        sys.exit("usage: convert.py FILE")
    with Path(sys.argv[1]).open(encoding="ascii") as file:
        next(file)  # the header
        for purchase in purchases(file):
            print(json.dumps(purchase))


if __name__ == "__main__":
    main()
