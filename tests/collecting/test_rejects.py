"""Refused events are found by person, source and reason, taken again once what was wrong is mended, and let go of."""

import pytest

from harness import TENANT, portrait, service

TRACK = {"type": "track", "messageId": "m1", "userId": "u1", "event": "Seen", "timestamp": "2026-06-01T11:00:00Z"}


async def act(sender, action, **which):
    answer = await sender.served.client.post("/api/v1/rejects", json={"action": action, **which})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def listed(sender, **params):
    answer = await sender.served.client.get("/api/v1/rejects", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_refused_events_are_listed_page_by_page_with_reason_and_event(web, server):
    await web.batch(TRACK | {"userId": None}, TRACK | {"event": None}, TRACK | {"type": "shout"})
    await server.batch(TRACK | {"type": "shout"})
    first = await listed(web, limit=3)
    rest = await listed(web, limit=3, cursor=first["pagination"]["cursor"])
    found = first["data"] + rest["data"]
    assert sorted((one["source"], one["code"]) for one in found) == [
        ("public:web", "invalid_record"), ("public:web", "invalid_record"), ("public:web", "invalid_record"),
        ("shop", "invalid_record"),
    ]  # fmt: skip
    assert all('"messageId":"m1"' in one["event"] for one in found)
    assert [one["source"] for one in (await listed(web, source="shop"))["data"]] == ["shop"]
    assert (await listed(web, code="blocked_identifier"))["data"] == []
    answer = await web.served.client.get("/api/v1/rejects/counts")
    assert [(one["source"], one["events"]) for one in answer.json()["data"]] == [("public:web", 3), ("shop", 1)]


async def test_a_persons_refused_events_are_found_by_what_could_be_read_from_them(web):
    identify = {"type": "identify", "messageId": "m2", "userId": "u2", "timestamp": "soon"}
    identify["traits"] = {"email": "ann@shop.example.org"}
    await web.batch(TRACK | {"event": None, "anonymousId": "a1"}, identify)
    for type_, value in (("customer_id", "u2"), ("email", "ann@shop.example.org")):
        found = await act(web, "find", identifier={"type": type_, "value": value})
        assert ["soon" in one["event"] for one in found["data"]] == [True]
    for type_, value in (("customer_id", "u1"), ("anonymous_id", "a1")):
        found = await act(web, "find", identifier={"type": type_, "value": value})
        assert [one["identifiers"] for one in found["data"]] == [
            [{"type": "customer_id", "value": "u1"}, {"type": "anonymous_id", "value": "a1"}]
        ]
    assert (await act(web, "find", identifier={"type": "email", "value": "u1@shop.example.org"}))["data"] == []


async def test_what_a_rule_refused_is_taken_once_the_rule_allows_it(web):
    await web.batch(TRACK | {"userId": "NA"}, TRACK | {"messageId": "m2", "event": None})
    assert await act(web, "replay") == {"taken": 0, "refused": 2}
    answer = await web.served.client.put("/api/v1/identity/rules", json={"allowedValues": ["NA"]})
    assert answer.status_code == 200
    web.served.clock.advance(3 * 24 * 3600)
    assert await act(web, "replay", source="public:web") == {"taken": 1, "refused": 1}
    [shown] = await web.served.section("interactions", "NA")
    assert shown["timestamp"].startswith("2026-06-01T11:00:00")
    assert len(await web.rejects()) == 1
    await web.batch(TRACK | {"userId": "NA"})
    assert len(await web.served.section("interactions", "NA")) == 1


async def test_refused_events_are_dropped_where_all_that_is_given_holds(web, server):
    await web.batch(TRACK | {"event": None}, TRACK | {"type": "shout"})
    await server.batch(TRACK | {"event": None})
    named = {"type": "customer_id", "value": "u1"}
    assert await act(web, "drop", source="shop", code="other") == {"dropped": 0}
    assert await act(web, "drop", source="shop", identifier=named) == {"dropped": 1}
    assert await act(web, "drop") == {"dropped": 2}
    assert await web.rejects() == []


async def test_refused_events_are_let_go_of_after_so_many_days(web):
    await web.batch(TRACK | {"event": None})
    web.served.clock.advance(29 * 24 * 3600)
    await web.batch(TRACK | {"type": "shout"})
    web.served.clock.advance(24 * 3600)
    await web.served.services.rejects.expire(30)
    assert [one.body.count(b"shout") for one in await web.rejects()] == [1]


async def test_whoever_only_reads_sees_no_refused_events(tmp_path):
    async with service(tmp_path, auth="keys") as served:
        headers = {"authorization": f"Bearer {await served.key('viewer')}"}
        for method, end in (("GET", ""), ("GET", "/counts"), ("POST", "")):
            answer = await served.client.request(method, f"/api/v1/rejects{end}", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "role_forbidden")


def test_the_command_line_counts_lists_replays_and_drops(tmp_path):
    path = tmp_path / "portrait.db"
    assert portrait("tenant", "create", TENANT, database=path).returncode == 0
    made = portrait(
        "key", "create", "--tenant", TENANT, "--source", "web", "--origin", "https://a.example", database=path
    )
    assert made.stdout.startswith("portrait_")
    keys = portrait("key", "list", "--tenant", TENANT, database=path)
    assert keys.stdout.split("\t")[1:2] == ["collector"]
    for words in (["list"], ["list", "--events"], ["replay"], ["drop", "--identifier", "email", "a@shop.example.org"]):
        done = portrait("rejects", *words, "--tenant", TENANT, database=path)
        assert done.returncode == 0, done.stderr
    assert done.stderr == "0 dropped\n"


@pytest.mark.parametrize(
    "words",
    [
        ["--source", "web", "--role", "admin"], ["--private"], ["--origin", "https://a.example"],
        ["--source", "a b"], ["--source", "web", "--origin", "shop.example"],
        ["--source", "web", "--events-per-second", "0"],
    ],
)  # fmt: skip
def test_a_write_key_that_cannot_be_is_refused_in_words(tmp_path, words):
    path = tmp_path / "portrait.db"
    assert portrait("tenant", "create", TENANT, database=path).returncode == 0
    done = portrait("key", "create", "--tenant", TENANT, *words, database=path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert portrait("key", "list", "--tenant", TENANT, database=path).stdout == ""
