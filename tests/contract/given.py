"""What the contract's tests share: which row of the contract a test covers, and a good record of each section."""

import re
from collections.abc import Callable
from typing import Any

from harness import TENANT, Service

NAMES = ("identities", "interactions", "segments", "journeys", "experiments", "consent")
"""The built-in sections, in the order of the contract."""

RECORDS: dict[str, dict[str, Any]] = {
    "identities": {"type": "email", "value": "ann@example.com", "confidence": 0.9},
    "interactions": {
        "id": "ih_001", "offerId": "off_001", "channelId": "ch_001", "interactionType": "click",
        "timestamp": "2026-03-28T10:30:00Z",
    },
    "segments": {"segmentId": "seg_001", "segmentName": "High Value", "memberSince": "2026-01-15T00:00:00Z"},
    "journeys": {
        "journeyId": "jrn_001", "journeyName": "Onboarding", "status": "active", "currentStep": "welcome",
        "enrolledAt": "2026-02-01T09:00:00Z", "completedAt": None,
    },
    "experiments": {
        "experimentId": "exp_001", "experimentName": "Checkout", "variant": "treatment",
        "assignedAt": "2026-02-10T12:00:00Z",
    },
    "consent": {
        "kind": "consent", "purpose": "marketing", "channel": "email", "status": "granted",
        "grantedAt": "2026-01-20T08:00:00Z", "revokedAt": None, "source": "form",
    },
}  # fmt: skip
PREFERENCE: dict[str, Any] = {
    "kind": "preference", "key": "newsletter", "value": "weekly", "updatedAt": "2026-01-20T08:00:00Z", "source": "form",
}  # fmt: skip

PLUGIN = '''
import asyncio
from typing import Annotated

from portrait import Record, Text, Timestamp, impersonal, personal, register_profile_section

calls = []


@register_profile_section("loyalty")
async def loyalty(ctx):
    """Loyalty tier."""
    calls.append(ctx.customer_id)
    return [{"tier": "gold"}]


@register_profile_section("tickets", key=("ticket_id",), order="opened_at")
class Ticket(Record, frozen=True):
    """Support tickets."""

    ticket_id: Annotated[Text, impersonal]
    subject: Annotated[Text, personal]
    opened_at: Annotated[Timestamp, impersonal]


@register_profile_section("guarded", roles=("admin",), key=("id",))
class Guarded(Record, frozen=True):
    """For admins alone."""

    id: Annotated[Text, impersonal]


@register_profile_section("broken", default=False)
def broken(ctx):
    """Fails."""
    raise RuntimeError("words of the exception")


@register_profile_section("slow", default=False, timeout=0.05)
async def slow(ctx):
    """Takes too long."""
    await asyncio.sleep(30)
'''


def row(*_: str) -> Callable[[Any], Any]:
    """Name the rows of the contract that a test covers; `test_rows.py` reads them from the source."""
    return lambda test: test


def plain(cell: str) -> str:
    """Return a table's cell without its marks."""
    return re.sub(r"[`*]", "", cell).strip()


def shape(problem: dict[str, Any]) -> dict[str, Any]:
    """Return a problem without its member that differs from request to request."""
    return {name: value for name, value in problem.items() if name != "instance"}


async def merge(running: Service, loser: str, survivor: str) -> None:
    """Merge two customers."""
    await running.services.identities.merge(TENANT, survivor, loser, None)
