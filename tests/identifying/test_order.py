"""The order of recording changes no identity: the same evidence makes the same people, links and candidates."""

import asyncio
import json
import os

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from harness import service
from identifying.acting import FREE, SEGMENT, line, rules, tie
from portrait.ingest.records import Parser
from portrait.model.identifier import is_generated
from portrait.reads.identity import head_of

ENDS = [
    *"ABC", "email:e@example.org", "email:f@example.org", "phone:+4930901820", "device_id:d1", "device_id:d2",
    "cookie_id:k", "anonymous_id:n", "loyalty:l",
]  # fmt: skip
RULES = [
    {"types": {"loyalty": {}}},
    FREE,
    {"shared": "demote", "types": {"device_id": {"sharedFrom": 2}, "loyalty": {"unique": True}}},
    {"types": {"email": {"unique": True}, "loyalty": {"limit": 1}, "cookie_id": {"limit": 1, "windowDays": 2}},
     "maxIdentifiers": 5, "sourceRanks": {"crm": 1, "web": 900}},
]  # fmt: skip
ORDERS = 3
RUNS = int(os.environ.get("PORTRAIT_TEST_ORDERS", "60"))


@st.composite
def evidence(draw):
    """Lines of evidence with moments, no two at the same one, and some other records."""
    pairs = draw(
        st.lists(st.lists(st.sampled_from(ENDS), min_size=2, max_size=2, unique=True), min_size=1, max_size=12)
    )
    lines = []
    for number, (end, other) in enumerate(pairs):
        source, confidence = draw(st.sampled_from(["crm", "web"])), draw(st.sampled_from([0.3, 0.8, 1.0]))
        moment = f"2026-02-0{draw(st.integers(1, 9))}T00:00:{number:02}Z"
        lines.append(tie(end, other, confidence, source=source, effectiveAt=moment))
    segment_ends = draw(st.lists(st.sampled_from(ENDS), max_size=3))
    return [*lines, *(line(end, "segments", SEGMENT, effectiveAt="2026-02-01T00:00:00Z") for end in segment_ends)]


def ends_of(lines):
    """Return deletes of evidence recorded at one identifier alone: a delete ends it at all of the customer's."""
    subjects = {}
    for statement in lines:
        subjects.setdefault((statement["record"].get("type"), statement["record"].get("value")), set()).add(
            statement["identifier"]["value"]
        )
    return [
        {**line, "op": "delete", "record": {"type": type_, "value": value}, "effectiveAt": "2026-03-01T00:00:00Z"}
        for line in lines
        for type_, value in [(line["record"].get("type"), line["record"].get("value"))]
        if type_ is not None and len(subjects[type_, value]) == 1
    ]


def mixed(draw, lines, ends):
    """Return lines in some order, each delete somewhere after a line that it ends, and some lines twice."""
    order = [*draw(st.permutations(lines)), *draw(st.lists(st.sampled_from(lines), max_size=3))]
    for end in ends:
        first = next(
            index for index, line in enumerate(order)
            if line["identifier"] == end["identifier"] and end["record"].items() <= line["record"].items()
        )  # fmt: skip
        order.insert(draw(st.integers(first + 1, len(order))), end)
    return order


async def take_in(running, tenant, lines, sizes):
    """Record lines, some at a time."""
    parser, ahead = Parser(tenant, "test"), list(lines)
    while ahead:
        size = sizes[len(ahead) % len(sizes)]
        texts, ahead = [json.dumps(line).encode() for line in ahead[:size]], ahead[size:]
        incoming = [parser.line(at, text, running.services.registry) for at, text in enumerate(texts)]
        await running.services.recorder.record_each(
            tenant.id, [record for record in incoming if hasattr(record, "section")]
        )


async def known(running, tenant):
    """Return the people with their identifiers and candidates; generated ids are left out."""
    store, explainer = running.services.store, running.services.explainer
    owners = await store.resolve(tenant, await store.derived_identifiers(tenant, None, 1000))
    people = []
    for name in sorted(set(owners.values())):
        survivor, head = await head_of(store, tenant, name)
        explained = await explainer.explain(tenant, survivor)
        made = is_generated(survivor)
        identifiers = (
            []
            if made
            else [(link.identified.identifier.tag, link.identified.record.confidence) for link in explained.why]
        )
        members = sorted(
            identifier.tag for identifier in head.identifiers(survivor) if not is_generated(identifier.value)
        )
        people.append(f"{' '.join(members)}: {None if made else survivor}, {sorted(identifiers)}")
        people += [
            f"{min(claim.a, claim.b).tag} {max(claim.a, claim.b).tag} waits: {claim.reason} {claim.record.confidence}"
            for claim in explained.candidates
        ]
    return sorted(set(people))


ORDERLY = settings(max_examples=RUNS, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate],
                   suppress_health_check=list(HealthCheck))  # fmt: skip


@ORDERLY
@given(lines=evidence(), made=st.sampled_from(RULES), data=st.data())
def test_the_same_evidence_makes_the_same_people_in_any_order(lines, made, data, tmp_path_factory):
    assert_order_is_nothing(lines, made, data.draw, tmp_path_factory.mktemp("order"))


def assert_order_is_nothing(lines, made, draw, directory):
    """Assert that lines of evidence, and deletes of some of it, make the same people in any order."""
    ends = [line for line in ends_of(lines) if draw(st.integers(0, 4)) == 0]
    sizes = st.lists(st.integers(1, 4), min_size=1, max_size=3)
    orders = [([*lines, *ends], [1]), *((mixed(draw, lines, ends), draw(sizes)) for _ in range(ORDERS - 1))]

    async def run():
        async with service(directory, tenants=()) as running:
            outcomes = []
            for number, (order, sizes) in enumerate(orders):
                tenant = await running.services.access.create_tenant(f"t{number}")
                await rules(running, made, tenant.id)
                await take_in(running, await running.services.store.tenant(tenant.id), order, sizes)
                outcomes.append(await known(running, tenant.id))
            await running.checked()
            return outcomes

    first, *others = asyncio.run(run())
    for other in others:
        assert (sorted({*first} - {*other}), sorted({*other} - {*first})) == ([], [])
