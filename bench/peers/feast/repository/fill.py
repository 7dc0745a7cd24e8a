"""Run by Feast's own interpreter: registers the definitions, and writes rows of JSON lines to the online store."""

import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pandas as pd
from definitions import customer, profile
from feast import FeatureStore

BATCH = 2000


def fill(repository: Path, lines: Iterable[str]) -> None:
    """Write each line, an object with a `customer_id` and the view's features, in batches."""
    store = FeatureStore(repo_path=repository)
    store.apply([customer, profile])
    rows = map(json.loads, lines)
    while batch := list(islice(rows, BATCH)):
        store.write_to_online_store(profile.name, pd.DataFrame(batch).assign(told_at=datetime.now(UTC)))


if __name__ == "__main__":
    fill(Path(sys.argv[1]), sys.stdin)
