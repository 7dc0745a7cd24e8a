"""A bound comes before the work that it bounds, and work grows no faster than its input."""

import asyncio
import io
import json
import threading
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from growth import LINEAR, growth
from harness import TENANT, service
from identifying.acting import act, bulk, named, tie, tried
from portrait.access import cache
from portrait.api import bulk as bulk_route
from portrait.api import operation, pages, profile
from portrait.api.bodies import MAX_INLINE
from portrait.api.records import Records
from portrait.identity import normalise
from portrait.identity.rules import MAX_RULES
from portrait.ingest import records
from portrait.model import streams, strict_json
from portrait.model.errors import BodyTooLarge, InvalidRecord, MalformedJson, SectionForbidden
from portrait.model.identifier import MAX_NAME_BYTES, MAX_VALUE_BYTES, length_fault, name_fault
from portrait.sections import registry
from portrait.sections.base import ROLES
from portrait.sections.links import LINKS
from portrait.storage.contract import TenantRow
from portrait.writes.naming import MAX_NAMED

IDENTITY, LOOKUP = "/api/v1/identity", "/api/v1/unified-profile"
TOO_LONG = f"must have at most {MAX_VALUE_BYTES} bytes of UTF-8"


@pytest.fixture
async def running(tmp_path):
    async with service(tmp_path) as opened:
        yield opened


def checked(raw):
    try:
        strict_json.check(raw)
    except MalformedJson:
        return False
    return True


SHAPES = {
    "wide": lambda size: b"[" + b"[]," * size + b"1]",
    "deep": lambda size: b"[" + (b"[" * 60 + b"]" * 60 + b",") * (size // 100) + b"1]",
    "deeper": lambda size: b"[" * size,
    "closed only": lambda size: b"[" * 65 + b"]" * size,
    "never closed": lambda size: b"{" * 65 + b'\\"' * size,
    "never closed, of quotes": lambda size: b"[" * 65 + b'"' * (size + 1),
    "a NUL after backslashes": lambda size: b'"' + b"\\" * size + b'\\\\u0000"',
    "what is spelled as NUL": lambda size: b'"' + b"\\\\u0000" * size + b'"',
    "names": lambda size: b'{"a":1,' * 60 + b'"a":1,' * size + b"}" * 60,
    "names, never closed": lambda size: b'{"' + b'\\"' * size,
    "spelled otherwise": lambda size: b'{"' + b"\\u0061" * size + b'":1}',
    "blanks behind texts": lambda size: b'"a"' + b" " * size + b'"',
    "texts apart": lambda size: (b'"a"' + b" " * 1000) * (size // 1000),
    "digits": lambda size: b"[" + b"1111111111111111111," * (size // 10) + b"1]",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_checking_json_takes_time_in_proportion_to_its_length(shape):
    assert growth(checked, SHAPES[shape]) < LINEAR


@given(st.lists(st.sampled_from(["\\\\", "\\u0000", "u0000", "\\n", "a"]), max_size=6).map("".join))
def test_check_refuses_exactly_the_texts_with_a_nul(text):
    raw = f'"{text}"'
    assert checked(raw.encode()) == ("\0" not in json.loads(raw))


@given(st.recursive(st.just([]), lambda inner: st.lists(inner, max_size=3), max_leaves=10), st.integers(0, 70))
def test_check_refuses_json_deeper_than_64(tree, around):
    for _ in range(around):
        tree = {"a]": tree} if around % 2 else [tree]
    depth = 0
    level = [tree]
    while level := [node for node in level if isinstance(node, list | dict)]:
        depth += 1
        level = [inner for node in level for inner in (node.values() if isinstance(node, dict) else node)]
    assert checked(json.dumps([tree] + [[]] * 100).encode()) == (depth + 1 <= strict_json.MAX_DEPTH)


@given(
    st.recursive(
        st.integers(0, 3) | st.text('a":,{}[]\\', max_size=6),
        lambda inner: (
            st.lists(inner, max_size=3) | st.lists(st.tuples(st.text('ab":\\', max_size=2), inner), max_size=4)
        ),
        max_leaves=8,
    ),
    st.booleans(),
    st.sampled_from([":", " :", ": ", "\t \n:"]),
)
def test_check_refuses_an_object_that_repeats_a_key(tree, escaped, colon):
    twice = False

    def written(value):
        nonlocal twice
        if isinstance(value, list) and value and isinstance(value[0], tuple):
            twice |= len(dict(value)) < len(value)
            names = [json.dumps(name).replace("a", "\\u0061") if escaped else json.dumps(name) for name, _ in value]
            return (
                "{"
                + ",".join(f"{name}{colon}{written(member)}" for name, (_, member) in zip(names, value, strict=True))
                + "}"
            )
        return f"[{','.join(map(written, value))}]" if isinstance(value, list) else json.dumps(value)

    assert checked(written(tree).encode()) == (not twice)


@pytest.mark.parametrize(
    "more",
    [{"record": {"segmentId": "s"}}, {"op": "delete", "key": "k"}, {"op": "delete", "record": {"segmentId": "s"}}],
)
def test_a_line_with_nothing_wrong_is_read_at_once(more, monkeypatch):
    """A line that is read member by member takes several times as long."""
    monkeypatch.setattr(records.Parser, "_by_member", None)
    line = {"customerId": "c", "section": "segments", **more}
    line["record"] = line.get("record") and {"segmentName": "S", "memberSince": "2026-01-01T00:00:00Z"} | line["record"]
    text = json.dumps({name: value for name, value in line.items() if value}).encode()
    parser = records.Parser(TenantRow("t", "t", 0, b"k" * 32), None)
    assert parser.line(0, text, registry.load(installed=False)).section.name == "segments"


class Trickle(io.RawIOBase):
    """A stream that gives all but its end at once, and its end a byte at a time."""

    def __init__(self, raw):
        self._raw = io.BytesIO(raw)
        self._next = len(raw) - 2000

    def read(self, size=-1):
        piece, self._next = self._raw.read(self._next), 1
        return piece


def test_a_line_is_not_copied_for_each_piece_that_arrives():
    """The number of pieces stays the same, so eight times as many bytes before them make nearly no difference."""
    assert growth(lambda raw: list(streams.lines(Trickle(raw))), lambda size: b"x" * size, 100_000) < 4


def test_a_too_long_line_is_cut_one_byte_past_the_limit(monkeypatch):
    monkeypatch.setattr(streams, "MAX_LINE", 10)
    lines = b"a" * 95 + b"\n" + b"b" * 10 + b"\n\n" + b"c" * 11
    assert [(at, len(line)) for at, line in streams.lines(io.BytesIO(lines))] == [(0, 11), (1, 10), (3, 11)]


class Sized(io.BytesIO):
    """A stream that keeps the size that each read asked for."""

    def __init__(self, raw):
        super().__init__(raw)
        self.asked = []

    def read1(self, size=-1):
        self.asked.append(size)
        return super().read(size)

    read = read1


@pytest.mark.parametrize(
    ("read", "raw"),
    [(streams.lines, b"1\n" * 20), (streams.elements, b"[" + b"1," * 19 + b"1]")],
    ids=["lines", "elements"],
)
def test_a_stream_is_read_a_block_at_a_time(read, raw, monkeypatch):
    monkeypatch.setattr(streams, "MAX_LINE", 10)
    stream = Sized(raw)
    assert next(read(stream)) == (0, b"1")
    assert stream.tell() <= 20
    assert set(stream.asked) == {10}
    assert len(list(read(Sized(raw)))) == 20


def test_reading_stops_soon_in_a_too_long_element(monkeypatch):
    monkeypatch.setattr(streams, "MAX_LINE", 10)
    assert list(streams.elements(io.BytesIO(b'["' + b"x" * 8 + b'"]'))) == [(0, b'"xxxxxxxx"')]
    stream = Sized(b'["' + b"x" * 1000 + b'"]')
    with pytest.raises(BodyTooLarge):
        list(streams.elements(stream))
    assert stream.tell() <= 40


def test_an_array_of_more_elements_than_there_may_be_is_refused(monkeypatch):
    monkeypatch.setattr(streams, "MAX_ELEMENTS", 3)
    assert len(list(streams.elements(io.BytesIO(b"[1,2,3]")))) == 3
    with pytest.raises(BodyTooLarge):
        list(streams.elements(io.BytesIO(b"[1,2,3,4]")))


@pytest.mark.parametrize(("source", "is_name"), [("", False), ("x", True), ("x" * 256, True), ("x" * 257, False)])
def test_the_name_of_a_source_has_its_length(source, is_name):
    if is_name:
        records.check_source(source)
    else:
        with pytest.raises(InvalidRecord):
            records.check_source(source)


async def test_a_line_that_is_too_long_is_refused_and_the_longest_is_taken(running, monkeypatch):
    line = json.dumps(tie("A", "email:a@x.org"))
    monkeypatch.setattr(records, "MAX_LINE", len(line))
    headers = {"content-type": "application/json"}
    answer = await running.client.post("/api/v1/records", content=f"[{line},{line[:-1]} }}]", headers=headers)
    assert answer.json()["recorded"] == 1
    assert [(refusal["index"], refusal["code"]) for refusal in answer.json()["refused"]] == [(1, "body_too_large")]


async def test_records_beyond_the_most_of_an_array_are_not_read(running, monkeypatch):
    monkeypatch.setattr(records, "MAX_RECORDS", 2)
    monkeypatch.setattr(records.Parser, "_record", None)
    answer = await running.record("consent", [{"kind": "preference", "key": "k", "value": "v"}] * 3, "c1")
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("most", [1, 2, 5])
async def test_a_bulk_is_not_read_on_after_so_many_refusals(running, monkeypatch, most):
    monkeypatch.setattr("portrait.api.bulk.MAX_REFUSED", most)
    monkeypatch.setattr("portrait.api.bulk.MAX_CHUNK", 1)
    answer = await running.client.post("/api/v1/records", json=[{"section": "nothing"}] * 5)
    codes = [refusal["code"] for refusal in answer.json()["refused"]]
    assert codes == ["too_many_refused" if index == most else "invalid_record" for index in range(min(most + 1, 5))]


def test_elements_beyond_the_most_are_not_taken_apart():
    assert strict_json.elements(b"[1,[2,3]]", 2) == [b"1", b"[2,3]"]
    assert strict_json.elements(b"[1,2,3]", 2) is None


@pytest.mark.parametrize("value", ["x" * (MAX_VALUE_BYTES + 1), " " * MAX_VALUE_BYTES + "x", "é" * 513], ids=len)
@pytest.mark.parametrize("type_", ["email", "phone", "device_id"])
async def test_every_route_refuses_a_long_identifier_before_normalising_it(running, type_, value, monkeypatch):
    """Every route refuses it in the same words; a value of the greatest length is taken."""

    def never(*arguments):
        raise AssertionError("work before its bound")

    await bulk(running, tie("A", f"{type_}:{value[:500]}x"))
    for name in ("normalize", "_email", "phone_form"):
        monkeypatch.setattr(normalise, name, never)
    tag = f"{type_}:{value}"
    answers = [
        await running.client.post("/api/v1/customers/A/identities", json=named(tag)),
        await running.client.post("/api/v1/customers/A/identities", json=[named(tag)]),
        await running.client.post(LOOKUP, json={"identifier": named(tag)}),
        await tried(running, "resolve", identifier=tag),
        await tried(running, "link", canonicalId="A", identifiers=[tag]),
        await tried(running, "unlink", canonicalId="A", identifier=tag),
        *[await tried(running, action, identifier=tag, other="A") for action in ("accept", "reject", "cannot-link")],
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_record")
        assert answer.json()["detail"].endswith(f"{TOO_LONG}.")
    several = (await running.client.post(LOOKUP, json=[{"identifier": named(tag)}])).json()
    assert several["data"][0]["problem"]["detail"].endswith(f"{TOO_LONG}.")
    lines = "\n".join(map(json.dumps, [tie(tag, "A"), tie("A", tag)]))
    taken = await running.client.post(
        "/api/v1/records", content=lines, headers={"content-type": "application/x-ndjson"}
    )
    assert [(refusal["code"], refusal["detail"].endswith(f"{TOO_LONG}.")) for refusal in taken.json()["refused"]] == [
        ("invalid_record", True)
    ] * 2


@pytest.mark.parametrize(("fault", "most"), [(length_fault, MAX_VALUE_BYTES), (name_fault, MAX_NAME_BYTES)])
def test_a_text_that_is_too_long_is_not_even_encoded(fault, most):
    class Unread(str):
        def encode(self, *arguments):
            raise AssertionError("work before its bound")

        isprintable = encode

    assert fault(Unread("x" * (most + 1))) == f"must have at most {most} bytes of UTF-8"
    assert fault("é" * (most // 2 + 1)) == f"must have at most {most} bytes of UTF-8"
    assert fault("é" * (most // 2)) is None
    assert fault("\ud800") == "must be valid Unicode, without lone surrogates"


async def test_a_refusal_names_some_types_and_not_all_there_are(running):
    types = {f"type_{number}": {} for number in range(200)}
    await running.client.put(f"{IDENTITY}/rules", json={"types": types})
    answer = await tried(running, "resolve", identifier="other:x")
    assert answer.json()["code"] == "unknown_identifier_type"
    assert answer.json()["detail"].count(",") == MAX_NAMED - 1


async def test_rules_that_are_too_long_are_not_read(running, monkeypatch):
    monkeypatch.setattr(strict_json, "check", None)
    answer = await running.client.put(
        f"{IDENTITY}/rules", content=b" " * (MAX_RULES + 1), headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_rules")
    assert str(MAX_RULES) in answer.json()["detail"]


async def test_a_long_cursor_is_not_decoded(running, monkeypatch):
    monkeypatch.setattr(pages, "_decoded", None)
    answer = await running.client.get("/api/v1/customers", params={"cursor": "x" * (pages.MAX_CURSOR + 1)})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")


async def test_the_longest_cursor_that_a_page_gives_is_taken(running):
    for number in range(2):
        await running.recorded(
            "segments", {"segmentId": "s", "segmentName": "S", "memberSince": "2026-01-01T00:00:00Z"}, f"{number}" * 256
        )
    first = (await running.client.get("/api/v1/customers", params={"limit": 1})).json()
    answer = await running.client.get("/api/v1/customers", params={"limit": 1, "cursor": first["pagination"]["cursor"]})
    assert [customer["customerId"] for customer in answer.json()["data"]] == ["1" * 256]


async def test_no_plan_is_kept_for_a_long_query(running):
    await act(running, "link", canonicalId="A", identifiers=["email:a@x.org"])
    kept = running.client._transport.app._profiles._plans
    for names, plans in ((",".join(["consent"] * profile.MAX_KEPT), 0), ("consent,consent", 1)):
        assert (await running.profile("A", names)).status_code == 200
        assert len(kept) == plans


@pytest.mark.parametrize("announced", ["9" * 5000, "\u00b2", "9" * 19])
async def test_an_announced_length_of_any_form_is_no_failure(running, announced):
    headers = {"content-type": "application/json", "content-length": announced.encode("latin-1")}
    answer = await running.client.post(LOOKUP, content=b"[]", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_record")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/customers/c1/consent", [{"kind": "preference", "key": "k", "value": "v"}]),
        ("/api/v1/unified-profile", [{"identifier": {"type": "email", "value": "e@example.org"}}]),
        ("/api/v1/identity", {"action": "resolve", "identifier": {"type": "email", "value": "e@example.org"}}),
    ],
)
async def test_a_long_body_is_read_beside_the_event_loop_and_a_short_one_on_it(running, monkeypatch, path, body):
    """A body that takes long to read must not delay other requests."""
    readers = []
    usual = strict_json.check
    monkeypatch.setattr(strict_json, "check", lambda raw: readers.append(threading.get_ident()) or usual(raw))
    here = threading.get_ident()
    await running.client.post(path, json=body)
    assert set(readers) == {here}
    readers.clear()
    text = json.dumps(body).encode()
    await running.client.post(path, content=b" " * MAX_INLINE + text, headers={"Content-Type": "application/json"})
    assert readers
    assert here not in readers


async def test_an_array_of_links_is_as_long_as_others_are_to_wait_for_it(running, monkeypatch):
    """An array is written whole, not in pieces: a link costs many times as much, so an array has fewer links."""
    monkeypatch.setattr(records, "MAX_RECORDS", 60)

    async def recorded(section, body):
        return await running.record(section, body, "c1")

    identities = [{"type": "email", "value": f"e{number}@example.org"} for number in range(4)]
    answer = await recorded("identities", identities)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert (await recorded("identities", identities[:3])).status_code == 201
    preferences = [{"kind": "preference", "key": f"k{number}", "value": "v"} for number in range(60)]
    assert (await recorded("consent", preferences)).status_code == 201


async def arriving_late(rest):
    """Give the end of a body after a while."""
    yield b"["
    await asyncio.sleep(2)
    yield rest


@pytest.mark.parametrize(
    ("module", "name", "path", "body"),
    [
        (operation, "BODY_SECONDS", LOOKUP, b'{"identifier": {"type": "email", "value": "a@x.org"}}]'),
        (bulk_route, "BULK_SECONDS", "/api/v1/records", b"]"),
    ],
    ids=["body", "bulk"],
)
async def test_a_body_that_stops_arriving_is_408(running, monkeypatch, module, name, path, body):
    monkeypatch.setattr(module, name, 0)
    headers = {"content-type": "application/json"}
    assert (await running.client.post(path, content=b"[" + body, headers=headers)).status_code == 200
    answer = await running.client.post(path, content=arriving_late(body), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (408, "body_too_slow")


async def test_as_many_items_are_on_a_page_as_is_declared_and_no_more(running):
    declared = (await running.client.get("/openapi.json")).json()["paths"]["/api/v1/customers"]["get"]["parameters"]
    (most,) = [parameter["schema"]["maximum"] for parameter in declared if parameter["name"] == "limit"]
    for limit, status in ((0, 400), (1, 200), (most, 200), (most + 1, 400)):
        answer = await running.client.get("/api/v1/customers", params={"limit": limit})
        assert answer.status_code == status


async def test_a_source_is_as_long_as_is_declared_and_no_longer(running):
    preference = {"kind": "preference", "key": "k", "value": "v"}
    document = (await running.client.get("/openapi.json")).json()
    (most,) = {
        variant["maxLength"]
        for schema in document["components"]["schemas"].values()
        for variant in schema.get("properties", {}).get("source", {}).get("anyOf", [])
        if "maxLength" in variant
    }
    for size, status in ((most, 201), (most + 1, 422)):
        answer = await running.record("consent", {"record": preference, "source": "s" * size})
        assert answer.status_code == status


async def test_no_more_plans_are_kept_than_the_limit(running, monkeypatch):
    monkeypatch.setattr(profile, "MAX_PLANS", 3)
    await act(running, "link", canonicalId="A", identifiers=["email:a@x.org"])
    kept = running.client._transport.app._profiles._plans
    for times in range(1, 9):
        assert (await running.profile("A", ",".join(["consent"] * times))).status_code == 200
        assert 1 <= len(kept) <= 3


async def test_a_tenant_is_remembered_for_a_while_and_not_for_ever(running, monkeypatch):
    asked = []
    real = running.services.store.tenant

    async def tenant(tenant_id):
        asked.append(tenant_id)
        return await real(tenant_id)

    monkeypatch.setattr(running.services.store, "tenant", tenant)
    for seconds, times in ((3600, 1), (0, 3)):
        monkeypatch.setattr(cache, "FRESH_SECONDS", seconds)
        running.services.access.changed(TENANT)
        asked.clear()
        for _ in range(3):
            assert (await running.client.get("/api/v1/customers")).status_code == 200
        assert len(asked) == times


@pytest.mark.parametrize("role", ROLES)
async def test_the_links_are_shown_to_nobody_as_they_are_stored(role):
    """Links are no section of the registry; an operation that served them would refuse every role."""
    with pytest.raises(SectionForbidden):
        await Records(LINKS, None, None).list(SimpleNamespace(caller=SimpleNamespace(role=role)))
