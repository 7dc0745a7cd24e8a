"""Whatever stands in an event refuses that event alone: no value of any field costs the others of its batch."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collecting.test_lenient import odd
from portrait.collecting import collector
from portrait.collecting.families import FAMILIES
from portrait.collecting.records import Circumstances, records_of
from portrait.collecting.rules import CollectingRules
from portrait.model.errors import InvalidRequest

FIELDS = {
    "segment": [
        "type", "messageId", "userId", "anonymousId", "event", "name", "timestamp", "originalTimestamp", "sentAt",
        "properties", "traits", "context", "groupId", "previousId",
    ],
    "posthog": ["event", "uuid", "distinct_id", "timestamp", "sent_at", "properties", "$set", "$set_once"],
    "snowplow": ["e", "eid", "uid", "duid", "ttm", "dtm", "stm", "page", "se_ac", "se_va", "ue_px", "ue_pr", "tr_tt"],
    "cloudevents": [
        "specversion", "id", "source", "type", "subject", "time", "data", "data_base64", "datacontenttype", "userid",
    ],
}  # fmt: skip
LIKELY = st.sampled_from(
    [
        "track", "identify", "page", "group", "alias", "u1", "1.0", "t.identify", "2026-06-01T11:00:00Z", "$identify",
        "$create_alias", "$groupidentify", "pv", "ue", "se", "tr", "application/json", "text/plain", "e30=", {},
        {"email": "a@shop.example.org", "address": {"city": "x"}}, {"consent": {"categoryPreferences": {"a": True}}},
        {"traits": {"plan": 1}}, {"$set": {"plan": 1}, "$group_key": 1, "alias": "u2"}, ["track"], [{}],
        '{"data": {"schema": "iglu:a/b/c/1-0-0", "data": {"a": 1}}}',
    ]
)  # fmt: skip
GIVEN = Circumstances("web", 1_780_000_000_000_000, frozenset(), CollectingRules())
EVENT = {"type": "track", "messageId": "m1", "userId": "u1", "event": "Seen", "timestamp": "2026-06-01T11:00:00Z"}


@pytest.mark.parametrize("name", FAMILIES)
@given(data=st.data())
def test_of_any_event_its_records_are_made_or_it_is_refused(name, data):
    event = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS[name], LIKELY | odd)))
    with contextlib.suppress(InvalidRequest):
        read = FAMILIES[name].read(json.dumps(event).encode(), None)
        records = list(records_of(read, GIVEN, 0))
        assert {record.subject for record in records} <= {("customer_id", read.user_id), read.subject}


async def test_a_defect_in_reading_one_event_refuses_it_and_no_other(web, monkeypatch):
    of_form = collector.of_form

    def failing(form):
        family, kind = of_form(form)

        def read(text, kind):
            if b"u2" in text:
                raise KeyError("a defect")
            return family.read(text, kind)

        return family._replace(read=read), kind

    monkeypatch.setattr(collector, "of_form", failing)
    await one_is_refused(web)


async def test_a_defect_in_making_one_events_records_refuses_it_and_no_other(web, monkeypatch):
    def failing(event, *given):
        if event.user_id == "u2":
            raise KeyError("a defect")
        return records_of(event, *given)

    monkeypatch.setattr(collector, "records_of", failing)
    await one_is_refused(web)


async def one_is_refused(web):
    assert await web.batch(EVENT, EVENT | {"userId": "u2"}) == {"success": True, "received": 2, "refused": 1}
    assert len(await web.served.section("interactions", "u1")) == 1
    assert [(one.code, b"u2" in one.body) for one in await web.rejects()] == [("internal_error", True)]


async def test_a_page_can_read_that_the_service_failed(web, monkeypatch):
    async def fails(*_):
        raise KeyError("a defect")

    monkeypatch.setattr(web.served.services.collector, "take", fails)
    answer = await web.post("/v1/batch", {"batch": [EVENT]})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert answer.json()["message"]
    assert answer.headers["access-control-allow-origin"] == "*"
