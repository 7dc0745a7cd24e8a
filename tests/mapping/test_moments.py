"""Moments and dates, in every form that files have, by the order and zone that a mapping says."""

import re
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portrait.mapping.faults import BadCell
from portrait.mapping.moments import dates, moments

NO_DATES = ("0000-00-00", "0001-01-01", "1900-01-00")


def moment(text, order=None, zone=None):
    return moments(order, zone, NO_DATES)(text)


def why(read, *arguments):
    with pytest.raises(BadCell) as caught:
        read(*arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "order", "zone", "value"),
    [
        ("2026-04-03T10:15:00Z", None, None, "2026-04-03T10:15:00Z"),
        ("2026-04-03t10:15:00z", None, None, "2026-04-03T10:15:00Z"),
        ("2026-04-03T10:15:00.000Z", None, None, "2026-04-03T10:15:00Z"),
        ("2026-04-03T10:15:00.123456789Z", None, None, "2026-04-03T10:15:00.123456Z"),
        ("2026-04-03T10:15:00,5Z", None, None, "2026-04-03T10:15:00.500000Z"),
        ("2026-04-03T10:15Z", None, None, "2026-04-03T10:15:00Z"),
        ("2026-04-03T10:15:00.000+0000", None, None, "2026-04-03T10:15:00Z"),
        ("2026-04-03T10:15:00-00:00", None, None, "2026-04-03T10:15:00Z"),
        ("2026-04-03T10:15:00+02", None, None, "2026-04-03T08:15:00Z"),
        ("2025-10-22 12:58:38 +0530", None, None, "2025-10-22T07:28:38Z"),
        ("2025-10-22 12:58:38+05:30", None, None, "2025-10-22T07:28:38Z"),
        ("2025-10-22T12:58:38-05:30", None, "Europe/Berlin", "2025-10-22T18:28:38Z"),
        ("2026-04-03 10:15:00 UTC", None, "Europe/Berlin", "2026-04-03T10:15:00Z"),
        ("2026-04-03 10:15:00 GMT", None, None, "2026-04-03T10:15:00Z"),
        ("2024-03-12 09:14", None, "UTC", "2024-03-12T09:14:00Z"),
        ("2024-03-12 09:14", None, "Europe/Berlin", "2024-03-12T08:14:00Z"),
        ("2024-07-12 9:14", None, "Europe/Berlin", "2024-07-12T07:14:00Z"),
        ("2016-04-18 13:51:14", None, "UTC", "2016-04-18T13:51:14Z"),
        ("2026-04-03", None, "Europe/Berlin", "2026-04-02T22:00:00Z"),
        ("2026-04-03", "dmy", "UTC", "2026-04-03T00:00:00Z"),
        ("03/04/2026", "dmy", "UTC", "2026-04-03T00:00:00Z"),
        ("03/04/2026", "mdy", "UTC", "2026-03-04T00:00:00Z"),
        ("3.4.2026", "dmy", "UTC", "2026-04-03T00:00:00Z"),
        ("12-04-2022 09:30", "dmy", "UTC", "2022-04-12T09:30:00Z"),
        ("3/15/2024 2:30 PM", "mdy", "UTC", "2024-03-15T14:30:00Z"),
        ("3/15/2024, 2:30:05 pm", "mdy", "UTC", "2024-03-15T14:30:05Z"),
        ("3/15/2024, 2:30:05\u202fPM", "mdy", "UTC", "2024-03-15T14:30:05Z"),
        ("3/15/2024 12:30 a.m.", "mdy", "UTC", "2024-03-15T00:30:00Z"),
        ("3/15/2024 12:30PM", "mdy", "UTC", "2024-03-15T12:30:00Z"),
        ("2026/04/03 10:15", "ymd", "UTC", "2026-04-03T10:15:00Z"),
        ("20260403", "ymd", "UTC", "2026-04-03T00:00:00Z"),
        ("26-04-03", "ymd", "UTC", "2026-04-03T00:00:00Z"),
        ("03/04/68", "dmy", "UTC", "2068-04-03T00:00:00Z"),
        ("03/04/69", "dmy", "UTC", "1969-04-03T00:00:00Z"),
        ("2025-10-26 02:30", None, "Europe/Berlin", "2025-10-26T00:30:00Z"),  # shown twice: the first
        ("2018-11-04", None, "America/Sao_Paulo", "2018-11-04T03:00:00Z"),  # its midnight was never shown
        ("1775210400", "seconds", None, "2026-04-03T10:00:00Z"),
        ("1775210400.1234567", "seconds", None, "2026-04-03T10:00:00.123456Z"),
        ("-1.5", "seconds", None, "1969-12-31T23:59:58.500000Z"),
        ("1775210400123", "milliseconds", None, "2026-04-03T10:00:00.123000Z"),
        ("1775210400123.4567", "milliseconds", None, "2026-04-03T10:00:00.123456Z"),
        ("0000-00-00 00:00:00", None, None, None),
        ("0001-01-01T00:00:00Z", None, None, None),
        ("01/01/0001", "mdy", None, None),
        ("1900-01-00", None, None, None),
    ],
)  # fmt: skip
def test_a_moment(text, order, zone, value):
    assert moment(text, order, zone) == value


@pytest.mark.parametrize(
    ("text", "order", "zone", "fault"),
    [
        ("03/04/2026", None, "UTC", "is the day or the month first"),
        ("2026/04/03", None, "UTC", "is the day or the month first"),
        ("20260403", None, "UTC", "is the day or the month first"),
        ("31/04/2026", "dmy", "UTC", "no calendar has, read as day, month, year"),
        ("13/13/2026", "dmy", "UTC", "no calendar has"),
        ("2026-02-30", None, "UTC", "no calendar has"),
        ("0000-04-03", None, "UTC", "no calendar has"),
        ("04/15/2026", "dmy", "UTC", "no calendar has"),
        ("2026-04-03 10:15", None, None, "without an offset: say its time zone"),
        ("2026-04-03", None, None, "a date alone, which is no moment: say its time zone"),
        ("2026-04-03T24:00:00Z", None, None, "24:00 is 00:00 of the next day"),
        ("2026-04-03T23:59:60Z", None, None, "outside 00:00:00 to 23:59:59"),
        ("3/15/2024 13:30 PM", "mdy", "UTC", "no clock of twelve hours"),
        ("3/15/2024 0:30 AM", "mdy", "UTC", "no clock of twelve hours"),
        ("2026-04-03T10:15:00+24:00", None, None, "an offset of 24 hours"),
        ("2025-03-30 02:30", None, "Europe/Berlin", "never showed"),
        ("0001-01-02 00:00+14:00", None, None, None),
        ("9999-12-31T23:59:59-01:00", None, None, "outside the years 1 to 9999"),
        ("10:15", None, "UTC", "holds no date or moment"),
        ("yesterday", "dmy", "UTC", "day, month, year or an ISO 8601 date"),
        ("infinity", None, "UTC", "holds no date or moment"),
        ("2026-04-03T10:15:00Z ", None, None, "holds no date or moment"),
        ("٢٠٢٦-٠٤-٠٣", None, "UTC", "holds no date or moment"),  # digits of another script
        ("2026-04-03", "seconds", None, "no number of seconds since 1970"),
        ("1.7e9", "seconds", None, "no number of seconds since 1970"),
        ("999999999999", "seconds", None, "is it another unit?"),
        ("nan", "milliseconds", None, "no number of milliseconds since 1970"),
    ],
)  # fmt: skip
def test_no_moment(text, order, zone, fault):
    if fault is None:
        assert moment(text, order, zone) == "0001-01-01T10:00:00Z"
        return
    assert fault in why(moment, text, order, zone)


@pytest.mark.parametrize(
    ("text", "order", "value"),
    [
        ("1980-04-03", None, "1980-04-03"),
        ("1980-04-03 00:00:00", None, "1980-04-03"),
        ("1980-04-03T00:00:00Z", None, "1980-04-03"),
        ("4/3/1980 12:00:00 AM", "mdy", "1980-04-03"),
        ("03.04.80", "dmy", "1980-04-03"),
        ("19800403", "ymd", "1980-04-03"),
        ("0", "seconds", "1970-01-01"),
        ("0000-00-00", None, None),
    ],
)
def test_a_date(text, order, value):
    assert dates(order, NO_DATES)(text) == value


@pytest.mark.parametrize(
    ("text", "order", "fault"),
    [
        ("1980-04-03 10:00", None, "a time beside the date"),
        ("3600", "seconds", "a time beside the date"),
        ("03/04/1980", None, "is the day or the month first"),
    ],
)
def test_no_date(text, order, fault):
    assert fault in why(dates(order, NO_DATES), text)


def test_no_reason_repeats_the_text():
    for order in (None, "dmy", "mdy", "ymd", "seconds", "milliseconds"):
        for text in ("secret", "31/31/1987", "2026-02-31", "1987-05-04 25:00", "3/15/1987 13:30 PM"):
            assert not any(part in why(moment, text, order, "UTC") for part in (text, "secret", "1987", "31"))


FORMS = {
    None: ("%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%d %H:%M:%S.%f UTC", "%Y-%m-%dt%H:%M:%S.%f+0000"),
    "dmy": ("%d/%m/%Y %H:%M:%S.%f Z", "%d.%m.%Y %I:%M:%S.%f %p +00:00", "%d-%m-%Y, %H:%M:%S.%f+00"),
    "mdy": ("%m/%d/%Y %H:%M:%S.%fZ", "%m-%d-%Y %I:%M:%S.%f%pZ"),
    "ymd": ("%Y/%m/%d %H:%M:%S.%fZ", "%Y.%m.%d %H:%M:%S.%f GMT", "%Y%m%d %H:%M:%S.%fZ"),
}
any_moment = st.datetimes(
    min_value=datetime.fromisoformat("1000-01-01"), max_value=datetime.fromisoformat("9999-12-30")
)
orders = st.sampled_from([(order, form) for order, forms in FORMS.items() for form in forms])


@given(any_moment, orders)
def test_a_moment_that_was_written_in_a_form_reads_back(value, written):
    order, form = written
    assert moment(value.strftime(form), order) == f"{value.isoformat()}Z"


@given(any_moment, st.integers(-23 * 60 - 59, 23 * 60 + 59))
def test_an_offset_is_read_as_python_reads_it(value, minutes):
    local = value.replace(tzinfo=UTC).astimezone(timezone(timedelta(minutes=minutes)))
    assert moment(local.isoformat(sep=" ")) == f"{value.isoformat()}Z"


@given(
    st.datetimes(min_value=datetime.fromisoformat("1950-01-01"), max_value=datetime.fromisoformat("2037-12-31")),
    st.sampled_from(["Europe/Berlin", "America/St_Johns", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kolkata"]),
)
def test_what_clocks_of_a_zone_showed_is_the_first_such_moment(value, zone):
    shown_once = value.replace(microsecond=0)
    local = shown_once.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    read = datetime.fromisoformat(moment(local.isoformat(sep=" "), None, zone)).replace(tzinfo=None)
    assert read <= shown_once
    assert read.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) == local


@given(
    st.dates(min_value=date(1000, 1, 1)), st.sampled_from([("dmy", "%d.%m.%Y"), ("mdy", "%m/%d/%Y"), ("ymd", "%Y%m%d")])
)
def test_a_date_that_was_written_in_an_order_reads_back(value, written):
    order, form = written
    assert dates(order, ())(value.strftime(form)) == value.isoformat()


@settings(deadline=None)
@given(
    st.from_regex(
        r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}[ Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,7})?(Z|[-+][0-9]{2}:?[0-9]{2})?\Z"
    ),
    st.sampled_from([None, "Europe/Berlin", "America/St_Johns"]),
)
def test_the_quick_way_reads_what_the_long_way_reads(text, zone):
    def read():
        try:
            return moment(text, None, zone)
        except BadCell as error:
            return str(error)

    quick = read()
    moments.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("portrait.mapping.moments._STANDARD", re.compile("never"))
        assert read() == quick
    moments.cache_clear()
