"""Open support tickets, from the help desk's own file: a computed section written as a plain function.

Run it from the root of the checkout:

    portrait serve --plugin examples/plugins/support_tickets.py

Blocking code is welcome in a plain `def`: it runs in a thread, under the same deadline.
"""

import csv
import os
from pathlib import Path

from portrait import Context, register_profile_section

SOURCE = Path(os.environ.get("TICKETS_FILE", Path(__file__).parent / "data" / "tickets.csv"))


@register_profile_section("support-tickets", timeout=0.5)
def support_tickets(ctx: Context) -> list[dict[str, str]]:
    """Open support tickets, the newest first."""
    with SOURCE.open(newline="", encoding="utf-8") as file:
        tickets = [
            {"ticketId": row["id"], "subject": row["subject"], "openedAt": row["opened_at"]}
            for row in csv.DictReader(file)
            if (row["tenant"], row["customer"], row["status"]) == (ctx.tenant_id, ctx.customer_id, "open")
        ]
    return sorted(tickets, key=lambda ticket: (ticket["openedAt"], ticket["ticketId"]), reverse=True)
