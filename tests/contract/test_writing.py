"""Writing: the same routes for every stored section, built-in or custom, and the routes beside them."""

import json
import re

import msgspec
import pytest

from contract.given import NAMES, RECORDS, merge, row
from harness import TENANT, interaction, ndjson, portrait
from portrait.model import time

TICKET = {"ticketId": "t1", "subject": "Where is it?", "openedAt": "2026-02-01T00:00:00Z"}
ALL = {**RECORDS, "tickets": TICKET}
STORED = (*NAMES, "tickets")
SEGMENT = RECORDS["segments"]
NDJSON = {"content-type": "application/x-ndjson"}


def segments(*numbers):
    return [{**SEGMENT, "segmentId": f"s{number:04}"} for number in numbers]


@row("POST /api/v1/customers/{customerId}/{section}")
@pytest.mark.parametrize("section", STORED)
async def test_a_body_is_a_record_or_an_array_bare_or_in_envelopes(extended, section):
    for number in range(5):
        # An identifier belongs to one person.
        record = {**ALL[section], "value": f"{number}@example.org"} if section == "identities" else ALL[section]
        enveloped = {"record": record, "effectiveAt": "2026-05-01T00:00:00Z", "source": "crm"}
        body = (record, [record], enveloped, [enveloped], {"record": record})[number]
        customer_id = f"c{number}"
        assert (await extended.profile(customer_id)).status_code == 404
        answer = await extended.record(section, body, customer_id)
        assert answer.status_code == 201
        assert answer.json() == {"recorded": 1, "duplicates": 0}
        assert await extended.section(section, customer_id) == [record]
        (listed_record,) = (await extended.listed(section, customer_id))["data"]
        assert listed_record["source"] == ("crm" if number in {2, 3} else "api")


@row("POST /api/v1/customers/{customerId}/{section}")
@pytest.mark.parametrize("unset", [{"effectiveAt": None}, {"source": None}, {"effectiveAt": None, "source": None}])
async def test_an_unset_time_or_source_counts_as_absent(running, unset):
    assert await running.recorded("segments", {"record": SEGMENT, **unset}) == {"recorded": 1, "duplicates": 0}
    (listed_record,) = (await running.listed("segments"))["data"]
    assert (listed_record["effectiveAt"], listed_record["source"]) == (listed_record["recordedAt"], "api")
    bulk = ndjson([{"customerId": "c2", "section": "segments", "record": SEGMENT, **unset}])
    answer = await running.client.post("/api/v1/records", content=bulk, headers=NDJSON)
    assert answer.json() == {"recorded": 1, "duplicates": 0, "refused": []}


@row("POST /api/v1/customers/{customerId}/{section}")
@pytest.mark.parametrize("section", STORED)
async def test_a_bad_record_refuses_the_array_and_is_named_with_its_field(extended, section):
    record = ALL[section]
    field = next(name for name in reversed(record) if record[name] is not None and name != "source")
    bad = {**record, field: {}}
    answer = await extended.record(section, [record, record, bad])
    assert answer.status_code == 422
    assert "Record 2" in answer.json()["detail"]
    assert f"`{field}`" in answer.json()["detail"]
    assert (await extended.profile()).status_code == 404


@row("POST /api/v1/customers/{customerId}/{section}")
@pytest.mark.parametrize("body", [[], {}, 1, "text", [[]], [None], [[SEGMENT]], {"record": None}, {"record": []}])
async def test_what_is_no_record_is_refused(running, body):
    answer = await running.record("segments", body)
    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_record"
    assert (await running.profile()).status_code == 404


@row("GET /api/v1/customers/{customerId}/{section}")
@pytest.mark.parametrize("section", STORED)
async def test_the_list_gives_each_record_with_its_source_and_times(extended, section):
    await extended.recorded(section, {"record": ALL[section], "effectiveAt": "2026-05-01T00:00:00Z", "source": "crm"})
    page = await extended.listed(section)
    assert page.keys() == {"data", "pagination"}
    assert page["pagination"] == {"cursor": None, "hasMore": False}
    (listed_record,) = page["data"]
    assert listed_record.keys() == {"key", "record", "effectiveAt", "recordedAt", "source"}
    assert (listed_record["record"], listed_record["effectiveAt"], listed_record["source"]) == (
        ALL[section],
        "2026-05-01T00:00:00Z",
        "crm",
    )


@row("GET /api/v1/customers/{customerId}/{section}")
async def test_the_list_of_events_has_all_history_newest_first_in_pages(running):
    events = [interaction(number, f"2026-05-01T00:{number % 7:02}:00Z") for number in range(57)]
    await running.recorded("interactions", events)
    assert len(await running.section("interactions")) == 20
    for limit in (None, 1, 7, 56, 57, 100):
        listed, cursor = [], None
        while True:
            params = {name: value for name, value in (("limit", limit), ("cursor", cursor)) if value is not None}
            page = await running.listed("interactions", **params)
            assert len(page["data"]) <= (limit or 20)
            listed += page["data"]
            cursor = page["pagination"]["cursor"]
            assert page["pagination"]["hasMore"] is (cursor is not None)
            if cursor is None:
                break
            assert len(page["data"]) == (limit or 20)
            assert re.fullmatch(r"[A-Za-z0-9_-]+", cursor)
        assert sorted(listed_record["key"] for listed_record in listed) == [event["id"] for event in events]
        times = [listed_record["effectiveAt"] for listed_record in listed]
        assert times == sorted(times, reverse=True)


@row("GET /api/v1/customers/{customerId}/{section}")
async def test_the_list_of_state_has_the_records_that_count_by_key_in_pages(running):
    for number in (*range(0, 25, 2), *range(1, 25, 2)):
        await running.recorded("segments", segments(number, 0))
        running.clock.advance(1)
    for limit in (1, 10, 24, 25):
        pages = [page async for page in every_page(running, "/api/v1/customers/c1/segments", limit)]
        assert [len(page) for page in pages] == [limit] * (25 // limit) + [25 % limit] * (25 % limit > 0)
        assert [listed_record["key"] for page in pages for listed_record in page] == [
            f"s{number:04}" for number in range(25)
        ]


@row("GET /api/v1/customers/{customerId}/{section}")
async def test_a_record_changed_between_two_pages_is_seen_once_and_hides_no_other(running):
    await running.recorded("segments", segments(*range(6)))
    pages = []
    async for page in every_page(running, "/api/v1/customers/c1/segments", 2):
        pages.append([listed_record["key"] for listed_record in page])
        await running.recorded("segments", {**SEGMENT, "segmentId": "s0000", "segmentName": f"renamed {len(pages)}"})
        await running.recorded("segments", {**SEGMENT, "segmentId": "s0003", "segmentName": f"renamed {len(pages)}"})
    assert pages == [["s0000", "s0001"], ["s0002", "s0003"], ["s0004", "s0005"]]


@row("GET /api/v1/customers/{customerId}/{section}")
async def test_a_merge_between_two_pages_hides_no_record(running):
    await running.recorded("segments", segments(0, 2, 4), "a")
    await running.recorded("segments", segments(1, 3, 5), "b")
    pages = []
    async for page in every_page(running, "/api/v1/customers/a/segments", 1):
        pages += [listed_record["key"] for listed_record in page]
        if len(pages) == 1:
            await merge(running, "a", "b")
        if len(pages) == 3:
            await running.services.identities.unmerge(TENANT, "b", "a", None)
    assert pages == ["s0000", "s0001", "s0002", "s0004"]


async def every_page(running, path, limit):
    """Yield the pages of a list, one after another."""
    params = {"limit": limit}
    while params is not None:
        answer = await running.client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert page["pagination"]["hasMore"] is (page["pagination"]["cursor"] is not None)
        yield page["data"]
        params = {"limit": limit, "cursor": page["pagination"]["cursor"]} if page["pagination"]["hasMore"] else None


def cursor_of(*position):
    return cursor(position)


def cursor(position):
    return (
        msgspec.json.decode(msgspec.json.encode(msgspec.msgpack.encode(position)))
        .rstrip("=")
        .translate(str.maketrans("+/", "-_"))
    )


@row("GET /api/v1/customers/{customerId}/{section}")
@pytest.mark.parametrize("section", ["interactions", "segments"])
@pytest.mark.parametrize(
    "params",
    [
        {"limit": "0"}, {"limit": "101"}, {"limit": "-1"}, {"limit": "ten"}, {"limit": ""}, {"limit": "1.0"},
        {"limit": "\uff11"}, {"cursor": "?"}, {"cursor": "AAAA"}, {"cursor": cursor_of(2**64 - 1, b"x")},
        {"cursor": cursor_of(1, "text")}, {"cursor": cursor_of("text")}, {"cursor": cursor("a\0")},
    ],
)  # fmt: skip
async def test_an_invalid_limit_or_cursor_is_400(running, section, params):
    await running.recorded(section, RECORDS[section])
    (listed_record,) = (await running.listed(section))["data"]
    for path in (section, f"{section}/{listed_record['key']}/history"):
        answer = await running.client.get(f"/api/v1/customers/c1/{path}", params=params)
        assert answer.status_code == 400
        assert next(iter(params)) in answer.json()["detail"]


@row("GET /api/v1/customers/{customerId}/{section}")
@pytest.mark.parametrize(("section", "position"), [("segments", (1, b"x")), ("interactions", "s0001")])
async def test_a_cursor_of_another_kind_of_list_is_refused(running, section, position):
    await running.recorded(section, RECORDS[section])
    answer = await running.client.get(f"/api/v1/customers/c1/{section}", params={"cursor": cursor(position)})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")


@row("GET …/{section}/{key}/history")
@pytest.mark.parametrize("section", [name for name in STORED if name != "interactions"])
async def test_the_history_gives_every_fact_with_its_source_and_times(extended, section):
    record = ALL[section]
    for day, source in enumerate(("crm", "shop", None), 1):
        body = {"record": record, "effectiveAt": f"2026-05-0{day}T00:00:00Z"}
        await extended.recorded(section, body if source is None else {**body, "source": source})
    (listed_record,) = (await extended.listed(section))["data"]
    path = f"/api/v1/customers/c1/{section}/{listed_record['key']}"
    assert (await extended.client.delete(path)).status_code == 204
    history = (await extended.client.get(f"{path}/history")).json()
    assert history.keys() == {"data", "pagination"}
    assert history["pagination"] == {"cursor": None, "hasMore": False}
    assert [fact["op"] for fact in history["data"]] == ["delete", "put", "put", "put"]
    assert [fact["source"] for fact in history["data"][1:]] == ["api", "shop", "crm"]
    assert all(fact["record"] == record for fact in history["data"][1:])
    assert [fact["effectiveAt"][:10] for fact in history["data"][1:]] == ["2026-05-03", "2026-05-02", "2026-05-01"]
    recorded_times = [time.parse(fact["recordedAt"]) for fact in history["data"]]
    assert recorded_times == sorted(recorded_times, reverse=True)


@row("GET …/{section}/{key}/history")
async def test_the_history_comes_in_pages_newest_first_over_all_identifiers(running):
    names = [f"n{number:02}" for number in range(25)]
    for number, name in enumerate(names):
        body = {"record": {**SEGMENT, "segmentName": name}, "effectiveAt": f"2026-05-{number // 3 + 1:02}T00:00:00Z"}
        await running.recorded("segments", body, f"c{number % 2}")
    await merge(running, "c1", "c0")
    path = f"/api/v1/customers/c1/segments/{SEGMENT['segmentId']}/history"
    for limit in (1, 10, 24, 25, 100):
        pages = [page async for page in every_page(running, path, limit)]
        assert [len(page) for page in pages] == [limit] * (25 // limit) + [25 % limit] * (25 % limit > 0)
        assert [fact["record"]["segmentName"] for page in pages for fact in page] == names[::-1]
    assert len((await running.client.get(path)).json()["data"]) == 20


@row("GET …/{section}/{key}/history", "DELETE …/{section}/{key}")
@pytest.mark.parametrize("section", STORED)
async def test_a_key_that_is_not_there_is_404(extended, section):
    await extended.recorded(section, ALL[section])
    path = f"/api/v1/customers/c1/{section}/none"
    for answer in (await extended.client.get(f"{path}/history"), await extended.client.delete(path)):
        assert (answer.status_code, answer.json()["code"]) == (404, "record_not_found")
    path = f"/api/v1/customers/nobody/{section}/none"
    for answer in (await extended.client.get(f"{path}/history"), await extended.client.delete(path)):
        assert (answer.status_code, answer.json()["code"]) == (404, "customer_not_found")


@row("DELETE …/{section}/{key}")
@pytest.mark.parametrize("section", STORED)
async def test_a_delete_ends_the_record_once(extended, section):
    await extended.recorded(section, ALL[section])
    (listed_record,) = (await extended.listed(section))["data"]
    path = f"/api/v1/customers/c1/{section}/{listed_record['key']}"
    answer = await extended.client.delete(path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert await extended.section(section) == []
    assert (await extended.listed(section))["data"] == []
    assert (await extended.client.delete(path)).status_code == 404
    await extended.checked()


@row("DELETE …/{section}/{key}")
async def test_a_delete_ends_the_record_for_every_identifier_that_holds_it(running):
    for customer_id in ("c1", "c2"):
        await running.recorded("segments", SEGMENT, customer_id)
    await merge(running, "c2", "c1")
    assert (await running.client.delete("/api/v1/customers/c2/segments/seg_001")).status_code == 204
    assert await running.section("segments") == []
    history = (await running.client.get("/api/v1/customers/c1/segments/seg_001/history")).json()["data"]
    assert sorted(fact["op"] for fact in history) == ["delete", "delete", "put", "put"]


@row("DELETE …/{section}/{key}")
async def test_a_key_is_url_safe_and_free_of_personal_data(extended):
    for section in STORED:
        await extended.recorded(section, ALL[section])
        extended.clock.advance(1)
        (listed_record,) = (await extended.listed(section))["data"]
        if section in {"interactions", "segments", "experiments", "tickets"}:
            assert listed_record["key"] == next(iter(ALL[section].values()))
        else:
            assert re.fullmatch(r"[A-Za-z0-9_-]+", listed_record["key"])
            assert not any(isinstance(value, str) and value in listed_record["key"] for value in ALL[section].values())


@row("DELETE …/{section}/{key}")
async def test_an_opaque_key_differs_from_tenant_to_tenant(guarded):
    keys = set()
    for tenant in ("my-tenant", "other"):
        headers = {"X-API-Key": await guarded.key("editor", tenant)}
        await guarded.recorded("identities", RECORDS["identities"], headers=headers)
        page = await guarded.client.get("/api/v1/customers/c1/identities", headers=headers)
        keys.add(page.json()["data"][0]["key"])
    assert len(keys) == 2


@row("POST /api/v1/records")
@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/json"])
async def test_a_bulk_takes_what_it_can_and_names_what_it_refuses(extended, kind):
    lines = [
        *({"customerId": "c1", "section": name, "record": ALL[name]} for name in STORED),
        {"identifier": {"type": "customer_id", "value": "c2"}, "section": "segments", "record": SEGMENT,
         "effectiveAt": "2026-05-01T00:00:00Z", "source": "crm"},
        {"customerId": "c1", "section": "segments", "record": SEGMENT},
        {"customerId": "c3", "section": "segments", "record": {**SEGMENT, "memberSince": "never"}},
        {"customerId": "c3", "section": "nothing", "record": SEGMENT},
        {"customerId": "c3", "section": "loyalty", "record": {}},
        {"customerId": "..", "section": "segments", "record": SEGMENT},
        {"section": "segments", "record": SEGMENT},
        {"customerId": "c3", "identifier": {"type": "customer_id", "value": "c3"}, "section": "segments", "record": {}},
        {"customerId": "c3", "section": "segments"},
        {"customerId": "c3", "section": "segments", "record": SEGMENT, "surprise": 1},
        {"customerId": "c1", "section": "interactions", "record": {**RECORDS["interactions"], "offerId": "other"}},
        "text",
    ]  # fmt: skip
    body = ndjson(lines) if kind == "application/x-ndjson" else json.dumps(lines).encode()
    answer = await extended.client.post("/api/v1/records", content=body, headers={"content-type": kind})
    assert answer.status_code == 200
    outcome = answer.json()
    refused = outcome.pop("refused")
    assert outcome == {"recorded": len(STORED) + 1, "duplicates": 1}
    assert all(refusal.keys() == {"index", "code", "detail"} for refusal in refused)
    first = len(STORED) + 2
    assert [(refusal["index"] - first, refusal["code"]) for refusal in refused] == [
        (0, "invalid_record"), (1, "unknown_section"), (2, "unknown_section"), (3, "invalid_record"),
        (4, "invalid_record"), (5, "invalid_record"), (6, "invalid_record"), (7, "invalid_record"),
        (8, "event_conflict"), (9, "invalid_record"),
    ]  # fmt: skip
    assert "`memberSince`" in refused[0]["detail"]
    assert (await extended.profile("c3")).status_code == 404
    (listed_record,) = (await extended.listed("segments", "c2"))["data"]
    assert (listed_record["effectiveAt"], listed_record["source"]) == ("2026-05-01T00:00:00Z", "crm")
    extended.clock.advance(1)
    await extended.checked()


@row("POST /api/v1/records")
@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/json"])
async def test_a_bulk_is_committed_in_chunks_of_at_most_1000(running, kind, monkeypatch):
    lines = [{"customerId": f"c{number}", "section": "segments", "record": SEGMENT} for number in range(2500)]
    store = running.services.store
    write, known = store.write, []

    async def counted(tenant, work):
        result = await write(tenant, work)
        known.append(store._rows("SELECT count(*) FROM facts")[0][0])
        return result

    monkeypatch.setattr(store, "write", counted)
    body = ndjson(lines) if kind == "application/x-ndjson" else json.dumps(lines).encode()
    answer = await running.client.post("/api/v1/records", content=body, headers={"content-type": kind})
    assert answer.json() == {"recorded": 2500, "duplicates": 0, "refused": []}
    assert max(after - before for before, after in zip([0, *known], known, strict=False)) <= 1000
    assert known[-1] == 2500


@row("POST /api/v1/records")
async def test_lines_of_a_bulk_are_numbered_with_the_empty_ones(running):
    body = b'\n{"customerId":"c1"}\r\n\n  \nx'
    answer = await running.client.post("/api/v1/records", content=body, headers=NDJSON)
    assert [refusal["index"] for refusal in answer.json()["refused"]] == [1, 4]


@row("GET /api/v1/customers")
async def test_customers_are_listed_by_id_in_pages(running):
    assert (await running.client.get("/api/v1/customers")).json() == {
        "data": [],
        "pagination": {"cursor": None, "hasMore": False},
    }
    names = sorted(["é", "B", "a", "a/b", "z", *(f"c{number:03}" for number in range(40))], key=str.encode)
    lines = [{"customerId": name, "section": "segments", "record": SEGMENT} for name in reversed(names)]
    await running.client.post("/api/v1/records", content=ndjson(lines), headers=NDJSON)
    customers, params = [], {"limit": 7}
    while params is not None:
        page = (await running.client.get("/api/v1/customers", params=params)).json()
        customers += page["data"]
        more = page["pagination"]
        params = {"limit": 7, "cursor": more["cursor"]} if more["hasMore"] else None
    assert [customer["customerId"] for customer in customers] == names
    assert all(customer.keys() == {"customerId", "createdAt", "updatedAt"} for customer in customers)


@row("GET /api/v1/customers")
async def test_a_customer_is_known_since_its_first_record_and_updated_by_its_newest(running):
    await running.recorded("segments", SEGMENT)
    (first,) = (await running.client.get("/api/v1/customers")).json()["data"]
    assert first["createdAt"] == first["updatedAt"]
    running.clock.advance(60)
    await running.recorded("consent", RECORDS["consent"])
    (second,) = (await running.client.get("/api/v1/customers")).json()["data"]
    assert second["createdAt"] == first["createdAt"]
    assert time.parse(second["updatedAt"]) - time.parse(first["updatedAt"]) >= 60 * time.SECOND


@row("POST /api/v1/records")
@pytest.mark.parametrize(("bad", "code"), [((), 0), (("x", {"customerId": "c2"}), 3)])
def test_load_takes_the_same_lines_and_exits_with_3_if_any_is_refused(tmp_path, bad, code):
    database, file = tmp_path / "portrait.db", tmp_path / "lines.jsonl"
    assert portrait("tenant", "create", TENANT, database=database).returncode == 0
    lines = [{"customerId": "c1", "section": name, "record": RECORDS[name]} for name in NAMES]
    file.write_bytes(ndjson([*lines, *bad]))
    assert portrait("load", str(file), "--tenant", TENANT, database=database).returncode == code
    beside = tmp_path / "lines.jsonl.refused.jsonl"
    refused = [json.loads(line) for line in beside.read_text().splitlines()] if beside.exists() else []
    assert [refusal["line"] for refusal in refused] == [len(NAMES) + 1 + number for number in range(len(bad))]
    printed = portrait("show", "c1", "--tenant", TENANT, "--json", database=database)
    assert {section["name"]: section["data"] for section in json.loads(printed.stdout)["sections"]} == {
        name: [RECORDS[name]] for name in NAMES
    }
    assert portrait("load", str(file), "--tenant", "nowhere", database=database).returncode not in {0, 3}
