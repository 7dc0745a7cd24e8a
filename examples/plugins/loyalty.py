"""Loyalty tier and points, from a source of their own: a computed section.

Run it from the root of the checkout:

    portrait serve --plugin examples/plugins/loyalty.py

The source here is a JSON file; yours may be a database, an HTTP service or a model. An answer that takes longer than
`timeout` leaves the other sections whole, and an answer that came is kept for `cache_seconds` a customer.
"""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from portrait import Context, register_profile_section

SOURCE = Path(os.environ.get("LOYALTY_FILE", Path(__file__).parent / "data" / "loyalty.json"))


@register_profile_section("loyalty", timeout=0.2, cache_seconds=60)
async def loyalty(ctx: Context) -> list[dict[str, Any]]:
    """Loyalty tier and points."""
    accounts = json.loads(await asyncio.to_thread(SOURCE.read_text, encoding="utf-8"))
    account = accounts.get(ctx.tenant_id, {}).get(ctx.customer_id)
    return [] if account is None else [{"tier": account["tier"], "points": account["points"]}]
