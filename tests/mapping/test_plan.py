"""What a plan makes of rows: records, each with its customer, its moment and its source, or the reason why not."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapping.plans import AT, HEAD, lines, parsed, planned, reasons, records
from portrait.mapping.faults import NotMapped
from portrait.mapping.language import Mapping
from portrait.sections import registry
from portrait.tables.table import Row, Unreadable
from portrait.writes.incoming import Incoming
from portrait.writes.recording import Refusal

CONSENT = """
[[records]]
section = "consent"
[records.fields]
kind = { value = "consent" }
purpose = { value = "marketing" }
"""
PURCHASE = """
[[records]]
section = "interactions"
[records.fields]
id = "order"
interactionType = { value = "purchase" }
timestamp = { column = "when", zone = "UTC" }
total = { column = "total", type = "number" }
"""
PLUGIN = '''
from typing import Annotated, Literal

from msgspec import Meta
from portrait import Record, Text, Timestamp, impersonal, register_profile_section


def won(record):
    return record.won_at if record.level < 5 else 1 / 0


@register_profile_section("badges", kind="state", key=("badge_id",), effective=won)
class Badge(Record, frozen=True, kw_only=True):
    """A badge."""

    badge_id: Annotated[Text, impersonal]
    level: Annotated[int, impersonal, Meta(ge=1, le=5)] = 1
    colours: Annotated[list[Literal["red", "blue"]], impersonal] = []
    shiny: Annotated[bool, impersonal] = False
    share: Annotated[float | None, impersonal] = None
    code: Annotated[Annotated[str, Meta(pattern="^[A-Z]+$")] | None, impersonal] = None
    won_at: Annotated[Timestamp | None, impersonal] = None
    extra: Annotated[dict[str, int], impersonal] = {}
'''


@pytest.fixture(scope="module")
def sections(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugin") / "badges.py"
    path.write_text(PLUGIN)
    return registry.load([str(path)], installed=False)


def test_a_row_makes_a_line_of_each_record():
    text = f"""{HEAD}
[identifiers]
email = "mail"
phone = {{ column = "phone", strip = "'" }}
[attributes]
given_name = "first"
{CONSENT}
channel = {{ value = "email" }}
status = {{ column = "ok", words = {{ yes = "granted", no = "" }} }}
{PURCHASE}
"""
    row = {
        "id": "c1", "mail": "a@example.com", "phone": "'+49 30 901820", "first": "Anna", "ok": "yes", "order": "#1001",
        "when": "2026-03-01 12:00", "total": "59.90",
    }  # fmt: skip
    state = {"customerId": "c1", "effectiveAt": AT, "source": "shop"}
    assert lines(text, row) == [
        {**state, "section": "identities", "record": {"type": "email", "value": "a@example.com"}},
        {**state, "section": "identities", "record": {"type": "phone", "value": "+49 30 901820"}},
        {**state, "section": "attributes", "record": {"name": "given_name", "value": "Anna"}},
        {**state, "section": "consent",
         "record": {"kind": "consent", "purpose": "marketing", "channel": "email", "status": "granted"}},
        {"customerId": "c1", "section": "interactions", "source": "shop",
         "record": {"id": "#1001", "interactionType": "purchase", "timestamp": "2026-03-01T12:00:00Z", "total": 59.9}},
    ]  # fmt: skip
    plan = planned(text, tuple(row))
    assert plan.wanted == tuple(row)
    assert plan.width == 5
    made = plan.lines(Row(2, list(row.values())))
    assert all(isinstance(each, Incoming) for each in parsed(made))


def test_only_columns_that_are_used_are_wanted():
    assert planned(f'{HEAD}[attributes]\nname = "b"', ("a", "b", "id", "c")).wanted == ("id", "b")


def test_records_are_refused_independently():
    row = {"id": "c1", "order": "1", "when": "soon", "total": "3"}
    made = lines(f'{HEAD}[attributes]\nspent = {{ column = "total", type = "number" }}{PURCHASE}', row)
    assert made[0]["record"] == {"name": "spent", "value": 3}
    assert made[1].code == "invalid_record"
    assert made[1].detail.startswith("Column `when` holds no date or moment")


def test_one_reason_is_given_once():
    text = f'{HEAD}[attributes]\nspent = {{ column = "total", type = "number" }}{PURCHASE}'
    assert len(reasons(text, {"id": "c1", "order": "1", "when": "2026-01-01", "total": "much"})) == 1


@pytest.mark.parametrize("cell", ["", "  ", "NULL", "#N/A", "nan", None])
def test_a_row_without_its_customer_is_refused_once(cell):
    text = f'{HEAD}[attributes]\na = "a"\nb = "b"'
    assert reasons(text, {"id": cell, "a": "1", "b": "2"}) == [
        "Column `id` names no customer: a row needs the customer's id or identifier."
    ]


def test_a_row_at_fault_is_refused_once():
    plan = planned(f'{HEAD}[attributes]\na = "a"\nb = "b"', ("id", "a", "b"))
    assert plan.lines(Row(9, (), "It has 2 cells where the header has 3.")) == [
        NotMapped("invalid_record", "It has 2 cells where the header has 3.")
    ]


def test_an_unreadable_customer_is_refused_once():
    text = f'{HEAD}[attributes]\na = "a"\nb = "b"'
    assert reasons(text, {"id": Unreadable("holds an error"), "a": "1", "b": "2"}) == ["Column `id` holds an error."]


def test_a_customer_by_the_first_identifier_that_a_row_has():
    text = 'source = "s"\n[customer.identifier]\nemail = "mail"\nphone = ["mobile", "phone"]\n[attributes]\na = "a"'
    row = {"mail": "", "mobile": "n/a", "phone": "+49 30 901820", "a": "1"}
    assert lines(text, row)[0]["identifier"] == {"type": "phone", "value": "+49 30 901820"}
    assert lines(text, row | {"mail": "a@b.de"})[0]["identifier"] == {"type": "email", "value": "a@b.de"}
    assert reasons(text, row | {"phone": ""}) == [
        "None of `mail`, `mobile`, `phone` names a customer: a row needs the customer's id or identifier."
    ]
    assert planned(text, tuple(row)).named_by == ("mail", "mobile", "phone")


def test_an_identifier_that_names_the_customer_is_not_said_to_be_the_customers_too():
    both = 'email = "mail"\nphone = "phone"\n'
    text = f'source = "s"\n[customer.identifier]\n{both}[identifiers]\n{both}'
    row = {"mail": "a@b.de", "phone": "+49 30 901820"}
    (line,) = lines(text, row)
    assert (line["identifier"], line["record"]) == (
        {"type": "email", "value": "a@b.de"}, {"type": "phone", "value": "+49 30 901820"},
    )  # fmt: skip
    assert lines(text, row | {"mail": ""}) == []


def test_a_customer_by_a_template_and_an_id_that_is_a_number():
    assert (
        lines('source = "s"\ncustomer.id = { template = "shop:{id}" }\n[attributes]\na = "a"', {"id": "7", "a": "1"})[
            0
        ]["customerId"]
        == "shop:7"
    )
    number = 'source = "s"\ncustomer.id = { column = "id", type = "integer" }\n[attributes]\na = "a"'
    assert lines(number, {"id": "731.0", "a": "1"})[0]["customerId"] == "731"


def test_ids_of_salesforce_are_brought_into_their_longer_form():
    text = 'source = "s"\ncustomer.id = { column = "id", type = "salesforce_id" }\n[attributes]\na = "a"'
    for id_, longer in [
        ("001D000000IRFma", "001D000000IRFmaIAH"), ("001D000000IRFmaIAH", "001D000000IRFmaIAH"),
        ("001d000000irfmaiah", "001D000000IRFmaIAH"), ("001d000000irfma", "001d000000irfmaAAA"),
        ("50130000000014c", "50130000000014cAAA"), ("50130000000014C", "50130000000014CAAQ"),
    ]:  # fmt: skip
        assert lines(text, {"id": id_, "a": "1"})[0]["customerId"] == longer
    for id_ in (
        "001D000000IRFm",
        "001D000000IRFma000IAH",
        "001D000000IRFma!AH",
        "001D000000IRFmaI8H",
        "001D000000IRFmaBAH",
    ):
        assert "id of Salesforce's" in reasons(text, {"id": id_, "a": "1"})[0]


@pytest.mark.parametrize(("condition", "taken"), [
    ('{ column = "a", is = ["Yes", "maybe"] }', ["yes", " MAYBE "]),
    ('{ column = "a", not = ["no", ""] }', ["yes", " MAYBE "]),
    ('[{ column = "a", not = [""] }, { column = "a", not = ["NO", "maybe"] }]', ["yes"]),
    ('{ column = "a", is = "" }', ["", None]),
])  # fmt: skip
def test_only_rows_that_keep_to_the_conditions_make_a_record(condition, taken):
    text = f'{HEAD}[[records]]\nsection = "segments"\nwhen = {condition}\n'
    text += '[records.fields]\nsegmentId = { value = "s" }\n'
    text += 'segmentName = { value = "S" }\nmemberSince = { value = 2026-01-01T00:00:00Z }'
    cells = ["yes", " MAYBE ", "no", "", None]
    assert [cell for cell in cells if records(text, {"id": "c1", "a": cell})] == taken
    assert reasons(text, {"id": "c1", "a": Unreadable("is odd")}) == ["Column `a` is odd."]


def test_a_record_is_left_out_without_a_field_that_its_schema_requires():
    assert records(f"{HEAD}{PURCHASE}", {"id": "c1", "order": "1", "when": "", "total": "3"}) == []
    assert records(f"{HEAD}{PURCHASE}", {"id": "c1", "order": "1", "when": "0000-00-00", "total": "3"}) == []


def test_a_field_that_is_not_required_is_left_out_alone():
    (record,) = records(f"{HEAD}{PURCHASE}", {"id": "c1", "order": "1", "when": "2026-01-01", "total": ""})
    assert "total" not in record


def test_a_record_is_left_out_without_a_field_of_its_key():
    text = f'{HEAD}{CONSENT}channel = "channel"\nstatus = "status"'
    assert records(text, {"id": "c1", "status": "revoked", "channel": "sms"})[0]["channel"] == "sms"
    assert (
        records(text, {"id": "c1", "status": "revoked", "channel": ""}) == []
    )  # or it would be a decision on all channels


def test_a_record_is_left_out_whose_columns_say_nothing():
    text = f'{HEAD}{CONSENT}status = {{ value = "granted" }}\ngrantedAt = {{ column = "a", zone = "UTC" }}'
    assert records(text, {"id": "c1", "a": ""}) == []
    assert records(text, {"id": "c1", "a": None}) == []
    assert len(records(text, {"id": "c1", "a": "2026-01-01"})) == 1


def test_a_record_of_constants_alone_is_made_of_each_row():
    assert len(records(f'{HEAD}{CONSENT}status = {{ value = "granted" }}', {"id": "c1"})) == 1


def test_a_required_field_refuses_the_record():
    text = f'{HEAD}[attributes]\nname = {{ column = "a", required = true }}\nother = {{ column = "b" }}'
    made = lines(text, {"id": "c1", "a": "N/A", "b": "1"})
    assert made[0].detail == "Column `a` says nothing, and the mapping requires a value."
    assert made[1]["record"]["name"] == "other"
    several = f'{HEAD}[attributes]\nname = {{ column = ["a", "b"], required = true }}'
    assert reasons(several, {"id": "c1", "a": "", "b": ""}) == [
        "Columns `a`, `b` say nothing, and the mapping requires a value."
    ]


def test_a_required_field_refuses_a_record_that_would_be_left_out():
    text = f"{HEAD}{PURCHASE}".replace('total = { column = "total"', 'total = { column = "total", required = true')
    row = {"id": "c1", "order": "", "when": "", "total": ""}
    assert reasons(text, row) == ["Column `total` says nothing, and the mapping requires a value."]
    assert records(text, row | {"total": "1"}) == []


def test_null_takes_an_attribute_back_and_leaves_other_fields_out():
    assert records(f'{HEAD}[attributes]\nname = "a"', {"id": "c1", "a": None}) == [{"name": "name", "value": None}]
    assert records(f'{HEAD}[identifiers]\nemail = "a"', {"id": "c1", "a": None}) == []
    text = f'{HEAD}{CONSENT}status = "a"\nsource = "b"'
    assert "source" not in records(text, {"id": "c1", "a": "granted", "b": None})[0]


def test_null_in_a_json_text_is_no_object():
    text = f'{HEAD}{PURCHASE}properties = {{ column = "p", none = [] }}'
    row = {"id": "c1", "order": "1", "when": "2026-01-01", "total": "", "p": '{"a": 1}'}
    assert records(text, row)[0]["properties"] == {"a": 1}
    assert "properties" not in records(text, row | {"p": "null"})[0]


def test_the_moment_is_that_of_the_record_then_the_row_then_the_export():
    text = f'{HEAD}at = {{ column = "t", zone = "UTC" }}\n[attributes]\na = "a"\n'
    text += '[[records]]\nsection = "attributes"\nat = { column = "u", zone = "UTC" }\n'
    text += '[records.fields]\nname = { value = "b" }\nvalue = "a"'
    row = {"id": "c1", "a": "1", "t": "2026-01-02", "u": "2026-01-03"}

    def moments(row, **options):
        return [each["effectiveAt"] for each in lines(text, row, **options)]

    assert moments(row) == ["2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"]
    assert moments(row | {"u": ""}) == ["2026-01-02T00:00:00Z", "2026-01-02T00:00:00Z"]
    assert moments(row | {"t": ""}) == [AT, "2026-01-03T00:00:00Z"]
    assert moments(row | {"t": "", "u": "n/a"}) == [AT, AT]
    assert reasons(text, row | {"t": "soon"})[0].startswith("Column `t` holds no date or moment")
    assert len(reasons(text, row | {"t": "soon"})) == 1
    assert reasons(text, row | {"t": "", "u": ""}, exported=None) == [
        "Nothing says from when the record is true: say when the table was `exported`."
    ]


@pytest.mark.parametrize(
    "exported", ['"2026-04-03T10:00:00Z"', "2026-04-03T10:00:00Z", '"2026-04-03 12:00"', '"3.4.2026 12:00"']
)
def test_the_mapping_may_say_when_the_table_was_exported(exported):
    text = f'exported = {exported}\n{HEAD}values = {{ zone = "Europe/Berlin", date = "dmy" }}\n[attributes]\na = "a"'
    assert lines(text, {"id": "c1", "a": "1"}, exported=None)[0]["effectiveAt"] == AT


def test_the_moment_of_the_export_is_no_number():
    text = f'exported = 2026-04-03T10:00:00Z\n{HEAD}values = {{ date = "seconds" }}\n[attributes]\na = "a"'
    assert lines(text, {"id": "c1", "a": "1"}, exported=None)[0]["effectiveAt"] == AT


def test_what_the_caller_says_of_the_export_counts_before_the_mapping():
    text = f'exported = "2020-01-01T00:00:00Z"\n{HEAD}[attributes]\na = "a"'
    assert lines(text, {"id": "c1", "a": "1"})[0]["effectiveAt"] == AT


def test_a_record_that_says_itself_when_it_was_true_gets_no_other_moment(sections):
    text = f'{HEAD}{CONSENT}status = {{ column = "s" }}\ngrantedAt = {{ column = "t", zone = "UTC" }}'
    (granted,) = lines(text, {"id": "c1", "s": "granted", "t": "2026-01-02"})
    assert "effectiveAt" not in granted
    (revoked,) = lines(text, {"id": "c1", "s": "revoked", "t": "2026-01-02"})
    assert revoked["effectiveAt"] == AT  # a revocation's moment is no grant's
    (undated,) = lines(text, {"id": "c1", "s": "granted", "t": ""})
    assert undated["effectiveAt"] == AT
    badge = f'{HEAD}[[records]]\nsection = "badges"\n'
    badge += '[records.fields]\nbadgeId = "b"\nwonAt = { column = "t", zone = "UTC" }'
    (won,) = lines(badge, {"id": "c1", "b": "7", "t": "2026-01-02"}, sections=sections)
    assert "effectiveAt" not in won
    assert reasons(badge, {"id": "c1", "b": "7", "t": ""}, sections=sections, exported=None)


def test_what_a_section_fails_at_is_left_to_it(sections):
    text = f'{HEAD}[[records]]\nsection = "badges"\n[records.fields]\nbadgeId = "id"\nlevel = "level"\n'
    text += 'wonAt = { column = "t", zone = "UTC" }'
    (line,) = lines(text, {"id": "c1", "level": "5", "t": "2026-01-02"}, sections=sections, exported=None)
    assert "effectiveAt" not in line


def test_an_event_has_its_own_moment_and_needs_no_other():
    row = {"id": "c1", "order": "1", "when": "2026-01-01", "total": ""}
    assert "effectiveAt" not in lines(f"{HEAD}{PURCHASE}", row, exported=None)[0]


def test_the_types_of_a_schema_say_how_texts_are_read(sections):
    text = f"""{HEAD}
[[records]]
section = "badges"
[records.fields]
badgeId = "id"
level = "level"
colours = "colours"
shiny = "shiny"
share = "share"
code = "code"
extra = "extra"
wonAt = {{ column = "won", zone = "UTC" }}
"""
    row = {"id": "007", "level": "3.0", "colours": "red, blue", "shiny": "yes", "share": "1.50", "code": "ABC",
           "extra": '{"a": 1}', "won": "2026-01-01"}  # fmt: skip
    assert records(text, row, sections=sections) == [
        {"badgeId": "007", "level": 3, "colours": ["red", "blue"], "shiny": True, "share": 1.5, "code": "ABC",
         "extra": {"a": 1}, "wonAt": "2026-01-01T00:00:00Z"}
    ]  # fmt: skip
    for wrong in ({"level": "6"}, {"colours": "green"}, {"code": "abc"}, {"extra": '{"a": "b"}'}, {"extra": "[]"}):
        (name,) = wrong
        assert reasons(text, row | wrong, sections=sections)[0].startswith(f"Column `{name}` must hold ")


def test_a_choice_that_the_schema_does_not_have_is_refused():
    text = f'{HEAD}{CONSENT}status = "s"'
    assert reasons(text, {"id": "c1", "s": "secret"}) == ["Column `s` must hold one of: granted, revoked, pending."]


def test_a_mapping_passes_between_processes():
    text = f'exported = 2026-04-03T10:00:00Z\n{HEAD}[file]\ndelimiter = ";"\n[identifiers]\nemail = "mail"\n'
    text += f'{CONSENT}status = {{ value = "granted" }}\n'
    mapping = Mapping.read(text)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(mapping), type=Mapping) == mapping
    assert mapping.file.delimiter == ";"


def test_an_optional_column_may_be_missing():
    text = f'{HEAD}[attributes]\na = "a"\nb = {{ column = "b", optional = true }}\n'
    text += 'c = { column = ["c", "a"], optional = true }'
    assert records(text, {"id": "c1", "a": "1"}) == [{"name": "a", "value": "1"}, {"name": "c", "value": "1"}]
    assert planned(text, ("id", "a")).wanted == ("id", "a")
    when = f'{HEAD}[[records]]\nsection = "attributes"\nwhen = {{ column = "b", not = ["x"], optional = true }}\n'
    when += '[records.fields]\nname = { value = "n" }\nvalue = "a"'
    assert len(records(when, {"id": "c1", "a": "1"})) == 1


def test_rows_with_names_of_their_own_may_have_any_column():
    plan = planned(f'{HEAD}[attributes]\ncity = "address.city"', None)
    assert plan.wanted == ("id", "address.city")
    assert json.loads(plan.lines(Row(1, ["c1", "Ulm"]))[0])["record"]["value"] == "Ulm"


def test_an_export_of_another_system_that_opts_out_and_writes_days_first():
    text = """
source = "brevo"
at = "ADDED_TIME"
[file]
delimiter = ";"
[values]
date = "dmy"
zone = "Europe/Paris"
[customer]
identifier = { email = "EMAIL" }
[[records]]
section = "identities"
[records.fields]
type = { value = "phone" }
value = { template = "+{SMS}" }
[[records]]
section = "consent"
[records.fields]
kind = { value = "consent" }
purpose = { value = "marketing" }
channel = { value = "email" }
status = { column = "EMAIL_BLACKLISTED", words = { yes = "revoked", no = "" } }
"""
    row = {"EMAIL": "a@example.com", "SMS": "33612345678", "EMAIL_BLACKLISTED": "Yes", "ADDED_TIME": "12-04-2022 09:30"}
    phone, consent = lines(text, row, exported=None)
    assert phone["record"] == {"type": "phone", "value": "+33612345678"}
    assert (consent["record"]["status"], consent["effectiveAt"]) == ("revoked", "2022-04-12T07:30:00Z")
    assert len(lines(text, row | {"EMAIL_BLACKLISTED": "No", "SMS": ""}, exported=None)) == 0


def test_a_file_of_purchases_without_a_header():
    text = """
source = "cdnow"
[file]
delimiter = "spaces"
columns = ["customer", "day", "cds", "dollars"]
skip = 1
[values]
date = "ymd"
zone = "UTC"
[customer]
id = "customer"
[[records]]
section = "interactions"
[records.fields]
id = { template = "cdnow-{row number}" }
interactionType = { value = "purchase" }
timestamp = "day"
numberOfCds = { column = "cds", type = "integer" }
dollarValue = { column = "dollars", type = "number" }
"""
    columns = Mapping.read(text).file.columns
    row = dict(zip(columns, ["00004", "19970101", "2", "29.33"], strict=True))
    assert lines(text, row, exported=None) == [
        {"customerId": "00004", "section": "interactions", "source": "cdnow",
         "record": {"id": "cdnow-2", "interactionType": "purchase", "timestamp": "1997-01-01T00:00:00Z",
                    "numberOfCds": 2, "dollarValue": 29.33}}
    ]  # fmt: skip


EVERYTHING = f"""
source = "shop"
at = {{ column = "a", zone = "Europe/Berlin" }}
[customer.identifier]
email = "a"
phone = "b"
[identifiers]
email = ["b", "c"]
[attributes]
text = "a"
number = {{ column = "b", type = "number", thousands = "." , decimal = "," }}
integer = {{ column = "c", type = "integer" }}
truth = {{ column = "a", type = "boolean" }}
time = {{ column = "b", type = "time", date = "dmy", zone = "America/St_Johns" }}
seconds = {{ column = "b", type = "time", date = "seconds" }}
day = {{ column = "c", type = "date", date = "mdy" }}
list = {{ column = "a", type = "list" }}
json = {{ column = "b", type = "json" }}
salesforce = {{ column = "c", type = "salesforce_id" }}
words = {{ column = "a", words = {{ yes = 1, no = "" }} }}
made = {{ template = "{{a}}/{{b}}-{{row number}}", strip = "'" }}
[[records]]
section = "journeys"
at = {{ column = "c", date = "ymd", zone = "UTC" }}
[records.fields]
journeyId = "a"
journeyName = "b"
status = "c"
enrolledAt = {{ column = "b", date = "milliseconds" }}
{CONSENT}
channel = "c"
status = "b"
grantedAt = {{ column = "a", zone = "UTC" }}
[[records]]
section = "interactions"
[records.fields]
id = "a"
interactionType = "b"
timestamp = {{ column = "c", zone = "UTC" }}
properties = {{ column = "b", type = "json" }}
"""
PLAN = planned(EVERYTHING, ("a", "b", "c"))
cells = (
    st.text(max_size=20)
    | st.from_regex(r"\A'?[-+]?[0-9]{1,20}([.,][0-9]{0,4})?\Z")
    | st.from_regex(
        r"\A[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}([ T][0-9]{1,2}:[0-9]{2}(:[0-9]{2})?)?( ?([AP]M|Z|[-+][0-9]{4}))?\Z"
    )
    | st.sampled_from(
        ["granted", "NULL", "yes", '{"a": [1, null]}', "[]", "\ud800", "a\0b", "a@example.com", "0" * 300]
    )
    | st.sampled_from([None, Unreadable("is odd")])
)


@settings(deadline=None)  # what reads numbers of phones is loaded at the first
@given(st.lists(cells, min_size=3, max_size=3), st.integers(1, 10**9))
def test_any_row_makes_lines_that_are_taken_or_refused_with_reasons(row, number):
    made = PLAN.lines(Row(number, row))
    assert len(made) <= PLAN.width
    for each in made:
        assert isinstance(each, bytes) or (each.code == "invalid_record" and each.detail.endswith("."))
        assert b"\n" not in each if isinstance(each, bytes) else True
    for taken in parsed(made):
        assert isinstance(taken, Incoming) or (isinstance(taken, Refusal) and taken.detail)


@settings(deadline=None)
@given(st.lists(cells, min_size=3, max_size=3))
def test_what_is_refused_of_a_line_is_never_the_form_of_a_value(row):
    """The parser refuses names of customers and keys that cannot be; what a field takes the mapping knows itself."""
    for taken in parsed(PLAN.lines(Row(1, row))):
        if isinstance(taken, Refusal) and taken.code == "invalid_record":
            assert not any(word in taken.detail for word in ("expected", "timestamp", "one of", "is required")), (
                taken.detail
            )


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"id": "c" * 257}, "Column `id` must have at most 256 bytes of UTF-8."),
        ({"id": ".."}, "Column `id` must not be . or .., which HTTP clients remove from paths."),
        ({"id": "a\tb"}, "Column `id` must not contain control characters."),
        ({"mail": "é" * 513}, "Column `mail` must have at most 1024 bytes of UTF-8."),
        ({"order": "1\x7f"}, "Column `order` must not contain control characters."),
    ],
)
def test_names_that_cannot_be_are_refused_with_their_column(wrong, reason):
    text = f'{HEAD}[identifiers]\nemail = "mail"\n{PURCHASE}'
    row = {"id": "c1", "mail": "a@example.com", "order": "1", "when": "2026-01-01", "total": ""}
    assert len(records(text, row)) == 2
    assert reasons(text, row | wrong) == [reason]


def test_a_value_that_names_a_customer_has_the_length_of_an_identifier():
    text = 'source = "s"\n[customer.identifier]\nemail = "mail"\n[attributes]\na = "a"'
    assert len(records(text, {"mail": "m" * 1024, "a": "1"})) == 1
    assert reasons(text, {"mail": "m" * 1025, "a": "1"}) == ["Column `mail` must have at most 1024 bytes of UTF-8."]
