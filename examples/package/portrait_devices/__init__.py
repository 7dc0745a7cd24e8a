"""The devices that a customer uses: a stored section in a package of its own.

Install the package beside Portrait, and the section is there; no flag names it:

    pip install ./examples/package
    portrait sections
"""

from typing import Annotated

from msgspec import Meta

from portrait import Record, Text, Timestamp, impersonal, personal, register_profile_section


@register_profile_section("devices", key=("device_id",), effective="last_seen", order="last_seen")
class Device(Record, frozen=True):
    """Devices, the one seen last first."""

    device_id: Annotated[Text, personal, Meta(examples=["idfa-6D92"])]
    platform: Annotated[Text, impersonal, Meta(examples=["ios"])]
    last_seen: Annotated[Timestamp, impersonal, Meta(examples=["2026-03-28T10:30:00Z"])]
