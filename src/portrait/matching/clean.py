"""Values as they are compared: lower case, without marks, spaces or signs, in ASCII; and the keys that pairs share.

ASCII, because DuckDB's `levenshtein` counts bytes and Spark's counts characters: of ASCII both count the same.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b

from portrait.identity.normalise import normalise

Cleaned = dict[str, str | None]
"""A record as it is compared: standard name to value."""

# Letters of the Latin script that Unicode does not take apart into a letter and a mark.
_LATIN = str.maketrans({"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"})  # noqa: RUF001  # it is meant
_SOUNDEX = {
    letter: digit for digit, group in enumerate(("bfpv", "cgjkqsxz", "dt", "l", "mn", "r"), 1) for letter in group
}
_ISO_DATE = re.compile(r"\s*(\d{4})-(\d\d)-(\d\d)")
PHONE_DIGITS = 9
"""So many digits of a phone number, from its end, are compared: country codes and trunk prefixes are written or not."""


@lru_cache(maxsize=100_000)
def squeeze(value: str) -> str | None:
    """Return a value's letters and digits in ASCII and lower case; None where it has none.

    Marks go, and so do spaces and signs, which are mistyped most. A letter of another script becomes two Latin letters
    that stand for it: the same always, so that equal stays equal and a typing error small, but not how it sounds.
    """
    # Case goes in between: letters of mathematics, say, are told from others by Unicode's composition alone.
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", value).casefold()).translate(_LATIN)
    return "".join(c if c.isascii() else _stand_in(c) for c in text if c.isalnum()) or None


def _stand_in(letter: str) -> str:
    high, low = divmod(ord(letter) % 676, 26)
    return chr(97 + high) + chr(97 + low)


def soundex(name: str) -> str:
    """Return the American Soundex code of a squeezed name (<https://www.archives.gov/research/census/soundex>)."""
    code = name[0]
    last = _SOUNDEX.get(name[0])
    for letter in name[1:]:
        digit = _SOUNDEX.get(letter)
        if digit is not None and digit != last:
            code += str(digit)
        if letter not in "hw":
            last = digit
    return (code + "000")[:4]


def clean(raw: Mapping[str, object]) -> Cleaned:
    """Return a record, named by standard names, as it is compared; what says nothing is None."""
    text = {name: str(value) for name, value in raw.items() if value is not None and value == value}  # noqa: PLR0124  # NaN
    cleaned: Cleaned = {name: squeeze(value) for name, value in text.items() if name != "name"}
    _split_name(text.get("name"), cleaned)
    if "street" in cleaned and cleaned.get("street_number") is None:
        _split_number(text.get("street"), cleaned)
    if "postcode" in cleaned:
        postcode = cleaned["postcode"]
        cleaned["postcode_bag"] = postcode and "".join(sorted(postcode))
    if "birth_date" in cleaned and (iso := _ISO_DATE.match(text.get("birth_date", ""))):
        cleaned["birth_date"] = "".join(iso.groups())
    if "email" in cleaned:
        cleaned["email"] = _ascii(normalise("email", text.get("email", "")))
        cleaned["email_user"] = squeeze((cleaned["email"] or "").partition("@")[0])
    if "phone" in cleaned:
        cleaned["phone"] = "".join(c for c in cleaned["phone"] or "" if c.isdecimal())[-PHONE_DIGITS:] or None
    return cleaned


def _split_name(name: str | None, cleaned: Cleaned) -> None:
    """Take the first word of a whole name as given name and the last as surname, where these are missing."""
    words = name.split() if name else []
    for column, word in (("given_name", words[:1]), ("surname", words[1:][-1:])):
        if cleaned.get(column) is None and word:
            cleaned[column] = squeeze(word[0])


def _split_number(street: str | None, cleaned: Cleaned) -> None:
    """Take the first word with a digit as the number of the house, where the record has no number of its own."""
    words = street.split() if street else []
    number = next((word for word in words if any(c.isdecimal() for c in word)), None)
    cleaned["street_number"] = number and squeeze(number)
    if number and len(words) > 1:
        words.remove(number)
        cleaned["street"] = squeeze(" ".join(words))


def _ascii(value: str) -> str | None:
    return "".join(c if c.isascii() else _stand_in(c) for c in value if c.isprintable()) or None


def keys(record: Cleaned) -> Iterator[int]:
    """Give the keys of a cleaned record: a pair is compared when it shares one.

    Each holds two or more attributes, or one that is nearly unique, and bears what people do: given name and surname
    exchanged, the lines of an address exchanged, digits of a postcode transposed.
    """
    for text in {"|".join(parts) for parts in _parts(record) if all(parts)}:
        yield int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


def _parts(record: Cleaned) -> Iterator[tuple[str, ...]]:
    def of(column: str, size: int | None = None) -> str:
        return (record.get(column) or "")[:size]

    names = {name for name in (of("given_name"), of("surname")) if name}
    codes = {soundex(name) for name in names}
    streets = {street for street in (of("street"), of("street_2")) if street}
    number, postcode, city, born = of("street_number"), of("postcode_bag"), of("city", 4), of("birth_date")
    if len(names) > 1:
        yield "names", *sorted(codes)
    for code in codes:
        yield "code postcode", code, postcode
        yield "code number", code, number
        yield "code born", code, born
        yield "code company", code, of("company")
        for street in streets:
            yield "code street", code, street
    for name in names:
        yield "name city", name, city
    for street in streets:
        yield "street", street
    yield "number postcode", number, postcode
    yield "number city", number, city
    yield "postcode city", postcode, city
    yield "born postcode", born, postcode
    yield "email", of("email")
    yield "user", of("email_user")
    yield "phone", of("phone")
