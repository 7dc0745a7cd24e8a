"""A developer's program on the package that openapi-python-client makes: reads, writes, bulk, merges."""

import os
from datetime import UTC, datetime

from portrait_client import AuthenticatedClient
from portrait_client.api.consent import record_consent
from portrait_client.api.customers import list_customers
from portrait_client.api.identities import record_identities
from portrait_client.api.identity import act_on_identity
from portrait_client.api.interactions import record_interactions
from portrait_client.api.profile import find_unified_profile, get_unified_profile
from portrait_client.api.records import record_bulk
from portrait_client.api.reviews import record_reviews
from portrait_client.models import (
    BulkRecorded,
    ConsentSection,
    DeleteLine,
    DeleteLineOp,
    EnvelopedConsentPreference,
    FoundAll,
    IdentitiesSection,
    InteractionsSection,
    MergeCustomers,
    MergeCustomersAction,
    Named,
    NamedIdentifier,
    NewConsent,
    NewConsentKind,
    NewConsentStatus,
    NewIdentity,
    NewInteraction,
    NewInteractionProperties,
    NewPreference,
    NewPreferenceKind,
    NewReview,
    PageCustomer,
    Preview,
    PreviewAction,
    PreviewOf,
    Problem,
    Recorded,
    RecordLine,
    RecordLineRecord,
    ReviewsSection,
    SegmentsSection,
    ShownEffect,
    UnifiedProfile,
    Wanted,
)
from portrait_client.types import Unset

AT = datetime(2026, 1, 2, tzinfo=UTC)
client = AuthenticatedClient(base_url=os.environ["PORTRAIT_URL"], token=os.environ["PORTRAIT_KEY"])

# Write: a field with a default may be left out.
recorded = record_identities.sync("ann", client=client, body=NewIdentity(type_="email", value="ann@example.com"))
assert isinstance(recorded, Recorded), recorded
assert (recorded.recorded, recorded.duplicates) == (1, 0)
consent = NewConsent(kind=NewConsentKind.CONSENT, purpose="ads", status=NewConsentStatus.GRANTED)
preference = NewPreference(kind=NewPreferenceKind.PREFERENCE, key="language", value=["fr"])
body: list[EnvelopedConsentPreference | NewConsent | NewPreference]
body = [consent, EnvelopedConsentPreference(preference, source="form")]
assert isinstance(record_consent.sync("ann", client=client, body=body), Recorded)
properties = NewInteractionProperties.from_dict({"price": 9.5})
interaction = NewInteraction(id="i1", interaction_type="buy", timestamp=AT, properties=properties)
assert isinstance(record_interactions.sync("ann", client=client, body=interaction), Recorded)
review = NewReview(review_id="r1", product_id="p1", rating=5, written_at=AT)
assert isinstance(record_reviews.sync("ann", client=client, body=review), Recorded)

# Bulk: records of several customers, and a deletion.
phone = RecordLineRecord.from_dict({"type": "phone", "value": "+4930123456"})
cookie = RecordLineRecord.from_dict({"type": "cookie_id", "value": "c"})
segment = {"segmentId": "s1", "segmentName": "New", "memberSince": AT.isoformat()}
lines: list[DeleteLine | RecordLine]
lines = [
    RecordLine(section="segments", record=RecordLineRecord.from_dict(segment), customer_id="ann"),
    DeleteLine(op=DeleteLineOp.DELETE, section="segments", key="s1", customer_id="ann"),
    RecordLine(section="identities", record=phone, customer_id="ann-2"),
    RecordLine(section="identities", record=cookie, identifier=NamedIdentifier(type_="email", value="bob@example.com")),
    RecordLine(section="nothing", record=RecordLineRecord(), customer_id="ann"),
]
bulk = record_bulk.sync(client=client, body=lines)
assert isinstance(bulk, BulkRecorded), bulk
assert (bulk.recorded, [(refusal.index, refusal.code) for refusal in bulk.refused]) == (4, [(4, "unknown_section")])

# Merge, after a preview of its effect.
merge = MergeCustomers(action=MergeCustomersAction.MERGE, target_id="ann", source_id="ann-2")
for action in (Preview(action=PreviewAction.PREVIEW, of=PreviewOf.from_dict(merge.to_dict())), merge):
    effect = act_on_identity.sync(client=client, body=action)
    assert isinstance(effect, ShownEffect), effect
    assert [profile.customer_id for profile in effect.after] == ["ann"]


# Read: by id, by identifier, several.
def identifiers(profile: UnifiedProfile) -> list[tuple[str, float]]:
    return [
        (identity.value, identity.confidence)
        for section in profile.sections
        if isinstance(section, IdentitiesSection)
        for identity in section.data
    ]


sections = "identities,consent,interactions,reviews,segments"
profile = get_unified_profile.sync("ann", client=client, sections=sections)
assert isinstance(profile, UnifiedProfile), profile
assert identifiers(profile) == [("ann-2", 1.0), ("ann@example.com", 1.0), ("+4930123456", 1.0)]
for section in profile.sections:
    match section:
        case ConsentSection():
            assert [record.to_dict().get("revokedAt", record.to_dict().get("value")) for record in section.data]
        case InteractionsSection():
            (stored_interaction,) = section.data
            assert not isinstance(stored_interaction.properties, Unset)
            assert (stored_interaction.properties["price"], stored_interaction.timestamp) == (9.5, AT)
        case SegmentsSection():
            assert section.data == []
        case ReviewsSection():
            assert [stored_review.rating for stored_review in section.data] == [5]
        case _:
            assert isinstance(section, IdentitiesSection)
by_identifier = find_unified_profile.sync(
    client=client, body=Wanted(identifier=Named(type_="email", value="ann@example.com"), sections=["identities"])
)
assert isinstance(by_identifier, UnifiedProfile), by_identifier
assert identifiers(by_identifier) == identifiers(profile)
several = find_unified_profile.sync(client=client, body=[Wanted(customer_id="ann"), Wanted(customer_id="nobody")])
assert isinstance(several, FoundAll), several
assert [result.status for result in several.data] == [200, 404]
assert isinstance(several.data[0].profile, UnifiedProfile)
assert isinstance(several.data[1].problem, Problem)
page = list_customers.sync(client=client, limit=1)
assert isinstance(page, PageCustomer), page
assert (len(page.data), page.pagination.has_more) == (1, True)

# An error is typed too.
refused = get_unified_profile.sync("nobody", client=client)
assert isinstance(refused, Problem), refused
assert (refused.status, refused.code) == (404, "customer_not_found")

print("python: done")
