"""Product reviews, told to Portrait as they are written: a stored section of events.

Run it from the root of the checkout:

    portrait serve --plugin examples/plugins/reviews.py

The schema is all it takes: the section has its write, list, history and delete routes, its documents and its place in
the OpenAPI document. Every field says how personal it is: `impersonal`, `personal` or `sensitive`.
"""

from typing import Annotated

from msgspec import Meta

from portrait import Record, Text, Timestamp, impersonal, personal, register_profile_section


@register_profile_section("reviews", key=("review_id",), kind="events", effective="written_at")
class Review(Record, frozen=True, kw_only=True):
    """Product reviews, the newest 20."""

    review_id: Annotated[Text, impersonal, Meta(examples=["rev_001"])]
    product_id: Annotated[Text, impersonal, Meta(examples=["prd_001"])]
    rating: Annotated[int, impersonal, Meta(ge=1, le=5, examples=[5])]
    text: Annotated[str | None, personal, Meta(examples=["It fits."])] = None
    written_at: Annotated[Timestamp, impersonal, Meta(examples=["2026-03-28T10:30:00Z"])]
