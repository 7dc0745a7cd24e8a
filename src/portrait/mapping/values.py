"""Values: how texts become the JSON of a field. Each reader returns None where a text says nothing."""

import csv
import re
from collections.abc import Callable, Iterable

import msgspec

from portrait.mapping.faults import BadCell
from portrait.mapping.language import FieldRule, Texts
from portrait.mapping.moments import Moments, dates, moments
from portrait.model import strict_json
from portrait.model.errors import MalformedJson

_KEPT = 4096
"""So many texts are kept with what they mean."""
_LONGEST = 19
"""So many digits has the longest integer of 64 bit."""
_CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
"""What says in an id of Salesforce's which of five characters are capitals."""
_encode = msgspec.json.Encoder().encode

Read = Callable[[str], bytes | None]
"""Returns the JSON of a text without white space around it, or None where it says nothing; raises `BadCell`."""


class Words(dict[str, bytes | None]):
    """What texts mean, by what a mapping says of them whatever their case; how a text is written is kept."""

    def __init__(self, meanings: Iterable[tuple[str, bytes | None]], unknown: Read) -> None:
        super().__init__()
        self._meanings = {text.strip().casefold(): value for text, value in meanings}
        self._unknown = unknown

    def __missing__(self, text: str) -> bytes | None:
        folded = text.casefold()
        if folded not in self._meanings:
            return self._unknown(text)
        value = self._meanings[folded]
        if len(self) < _KEPT:
            self[text] = value
        return value


def reader(kind: str, rule: FieldRule, texts: Texts, *, quoted: bool) -> Read:
    """Return what reads the texts of a field that the mapping gives no `words`.

    Args:
        kind: how they are read.
        rule: the field.
        texts: what holds where the field says nothing else.
        quoted: whether numbers and truth values are written as texts.
    """
    read = _reader(kind, rule, texts)
    if quoted and kind in {"number", "integer", "boolean"}:
        return lambda text: b'"%b"' % (read(text) or b"")
    return read


def words(rule: FieldRule, none: Read) -> Read:
    """Return what reads the texts of a field by its `words`; any other text says nothing, or is none of them."""
    meanings = [(text, None if value == "" else _encode(value)) for text, value in rule.words.items()]
    return Words(meanings, none).__getitem__


def _reader(kind: str, rule: FieldRule, texts: Texts) -> Read:
    order, decimal, thousands = (
        rule.date or texts.date,
        rule.decimal or texts.decimal,
        rule.thousands or texts.thousands,
    )
    readers: dict[str, Callable[[], Read]] = {
        "number": lambda: _numbers(decimal, thousands, is_whole=False),
        "integer": lambda: _numbers(decimal, thousands, is_whole=True),
        "boolean": lambda: _truths(rule.yes or texts.yes, rule.no or texts.no),
        "time": lambda: _quoted(moments(order, rule.zone or texts.zone, texts.no_dates)),
        "date": lambda: _quoted(dates(order, texts.no_dates)),
        "list": lambda: _lists(rule.separator),
        "json": lambda: _json,
        "salesforce_id": lambda: _salesforce_id,
    }
    return readers[kind]() if kind in readers else _text


def _truths(yes: Iterable[str], no: Iterable[str]) -> Read:
    return Words([*((text, b"true") for text in yes), *((text, b"false") for text in no)], _neither).__getitem__


def _text(text: str) -> bytes:
    try:
        encoded = _encode(text)
    except UnicodeEncodeError:
        raise BadCell("holds what is no text of Unicode") from None
    if "\0" in text:
        raise BadCell("holds a NUL character, which no store can keep")
    return encoded


def _neither(_: str) -> None:
    raise BadCell("holds a text that is neither among `yes` nor among `no`")


def _quoted(read: Moments) -> Read:
    def quoted(text: str) -> bytes | None:
        moment = read(text)
        return None if moment is None else b'"%b"' % moment.encode()

    return quoted


def _numbers(decimal: str, thousands: str | None, *, is_whole: bool) -> Read:
    """Return what reads numbers: their digits are kept as they stand."""
    point = re.escape(decimal)
    grouped = rf"\d{{1,3}}(?:{re.escape(thousands)}\d{{2,3}})*{re.escape(thousands)}\d{{3}}|" if thousands else ""
    behind = rf"(?:{point}(0*))?()" if is_whole else rf"(?:{point}(\d*))?([eE][-+]?\d+)?"
    form = re.compile(rf"([-+]?)(?=[\d]|{point}\d)({grouped}\d*){behind}", re.ASCII)
    marks = f"a decimal `{decimal}`" + (f" and `{thousands}` between thousands" if thousands else "")
    wanted = f"a whole number in digits, with {marks}" if is_whole else f"a number in digits, with {marks}"

    def number(text: str) -> bytes:
        match = form.fullmatch(text)
        if match is None:
            raise BadCell(f"must hold {wanted}: other signs are left out by `strip`")
        sign, digits, fraction, exponent = match.groups()
        if thousands:
            digits = digits.replace(thousands, "")
        digits = digits.lstrip("0") or "0"
        fraction = "" if is_whole else fraction
        minus = "-" if sign == "-" and (is_whole is False or digits != "0") else ""
        if not fraction and not exponent:
            if len(digits) >= _LONGEST and (len(digits) > _LONGEST or not -(2**63) <= int(minus + digits) < 2**63):
                raise BadCell("holds an integer beyond 64 bit: read it as a text")
            return f"{minus}{digits}".encode()
        written = f"{minus}{digits}{'.' if fraction else ''}{fraction or ''}{exponent or ''}"
        if float(written) in {float("inf"), float("-inf")}:
            raise BadCell("holds a number that is out of range")
        return written.encode()

    return number


def _lists(separator: str) -> Read:
    def listed(text: str) -> bytes | None:
        if text.startswith("["):
            array = _json(text)
            return None if array == b"[]" else array
        is_csv = '"' in text and len(separator) == 1
        elements = _of_csv(text, separator) if is_csv else text.split(separator)
        stripped = [element.strip() for element in elements]
        filled = [_text(element) for element in stripped if element]
        return b"[%b]" % b",".join(filled) if filled else None

    return listed


def _of_csv(text: str, separator: str) -> list[str]:
    """Return the elements of a list that is a line of CSV itself, in which each may stand in quotes."""
    try:
        return next(csv.reader([text], delimiter=separator, skipinitialspace=True, strict=True), [])
    except (csv.Error, TypeError, ValueError):
        raise BadCell("holds a list whose quotes do not match") from None


def _json(text: str) -> bytes:
    try:
        raw = text.encode()
        strict_json.check(raw)
        strict_json.decode(raw)
        return msgspec.json.format(raw, indent=-1)
    except UnicodeEncodeError:
        raise BadCell("holds what is no text of Unicode") from None
    except MalformedJson as error:
        raise BadCell(f"holds no JSON that can be kept: {error.detail[:1].lower()}{error.detail[1:-1]}") from None


def _salesforce_id(text: str) -> bytes:
    """Return the longer form of an id of Salesforce's, of 18 characters, in which case says nothing.

    Three characters behind the 15 of the shorter form say which of these are capitals, five in each.
    """
    if len(text) not in {15, 18} or not (text.isascii() and text.isalnum()):
        raise BadCell("holds no id of Salesforce's: it has 15 or 18 letters and digits")
    stem, check = text[:15], text[15:].upper()
    if check:
        if not set(check) <= set(_CAPITALS):
            raise BadCell("holds an id of Salesforce's whose last three characters are wrong")
        capitals = "".join(f"{_CAPITALS.index(character):05b}"[::-1] for character in check)
        stem = "".join(
            character.upper() if is_capital == "1" else character.lower()
            for character, is_capital in zip(stem, capitals, strict=True)
        )
    parts = (stem[start : start + 5] for start in (0, 5, 10))
    right = "".join(_CAPITALS[sum(1 << at for at, sign in enumerate(part) if sign.isupper())] for part in parts)
    if check and check != right:
        raise BadCell("holds an id of Salesforce's whose last three characters are wrong")
    return _encode(stem + right)
