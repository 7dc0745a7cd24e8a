"""What systems and people write around an address or a number: it is peeled off where the whole text is neither.

What is peeled off says nothing of whose it is: a name before an address in angle brackets, `mailto:`, `whatsapp:`, the
quotes and the comma of a list. A remark with digits may be another number's, and one without brackets may be anything.
"""

import re
from collections.abc import Iterator

from portrait.identity.forms import without_fraction

MAX_AROUND = 512
"""The longest text, in characters, of which something is peeled off."""
MOST_PEELED = 6
"""How often something is peeled off, one thing after the other."""

WHITE = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""What `str.isspace` takes for white space."""
INVISIBLE = "\u200b\u2060\ufeff\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Zero-width spaces and marks of direction, which come along when a text is copied. Joiners belong to their letters."""
_UNSEEN = str.maketrans("", "", INVISIBLE)
_HALF_WIDTH = {0xFF01 + offset: 0x21 + offset for offset in range(94)}
"""The full-width letters, digits and signs that are ASCII otherwise."""

_QUOTES = {'"': '"', "'": "'", "`": "`", "\u2018": "\u2019", "\u201c": "\u201d", "\u201e": "\u201c", "\u00ab": "\u00bb"}
_NAMED = re.compile("([^<>]*)<([^<>]+)>")
"""A name before an address in angle brackets; the name may be left out."""
_ENDS = WHITE + ".;,"
_AROUND_AT = re.compile(f"[{WHITE}]*@[{WHITE}]*")

_PLAIN = re.compile(r"\+?[\d ()-]*\d", re.ASCII)
_FIELD = re.compile(r'="([^"]*)"')
"""A text that a spreadsheet is kept from reading as a number."""
_LABEL = re.compile(
    r"(?:(?:whatsapp|tel|callto|sms|wa|signal|viber)\s*:"
    r"|(?:tel|telefon|telefono|teléfono|telefone|téléphone|telephone|phone|ph|fon|mobile|mobil|móvil|movil|mob|cell|cel"
    r"|celular|handy|gsm|portable)\b\s*[.:]*)\s*(?=[^\w\s]*\d)",
    re.IGNORECASE,
)
"""A word for a phone, before the number."""
_REMARK = re.compile(r"\s*(?:\([^\W\d_]+(?:[ .-][^\W\d_]+)*\)|\[[^\W\d_]+(?:[ .-][^\W\d_]+)*\])\Z")
"""A word or some without digits in brackets, behind the number."""


def half_width(text: str) -> str:
    """Return a text with its full-width letters, digits and signs as those of ASCII."""
    return text.translate(_HALF_WIDTH)


def addresses_in(text: str) -> Iterator[str]:
    """Yield what may be the address in a text that is none as a whole, what is peeled off least first."""
    if len(text) > MAX_AROUND:
        return
    for _ in range(MOST_PEELED):
        peeled = _peeled_address(text)
        if peeled == text or not peeled:
            return
        yield peeled
        text = peeled


def _peeled_address(text: str) -> str:
    plain = _AROUND_AT.sub("@", half_width(text.translate(_UNSEEN))).strip(WHITE)
    if plain != text:
        return plain
    if text[:7].casefold() == "mailto:":
        return text[7:].partition("?")[0]
    named = _NAMED.fullmatch(text.rstrip(_ENDS))
    if named is not None:
        # A name that holds an address of its own is somebody else's, or a list.
        name, address = named[1].strip(WHITE + "\"'"), named[2].strip(WHITE)
        return address if "@" not in name or name == address else text
    return _unquoted(text) or text.rstrip(_ENDS)


def _unquoted(text: str) -> str | None:
    """Return a text without the quotes around it; None: it has none."""
    if len(text) < 3 or _QUOTES.get(text[0]) != text[-1]:
        return None
    inner = text[1:-1].strip(WHITE)
    return None if text[0] in inner or text[-1] in inner else inner


def phone_in(text: str) -> str:
    """Return a text that names a phone without what systems and people write around the number."""
    if _PLAIN.fullmatch(text):
        return text
    for _ in range(MOST_PEELED):
        peeled = _peeled_phone(text)
        if peeled == text:
            break
        text = peeled
    return text


def _peeled_phone(text: str) -> str:
    field = _FIELD.fullmatch(text)
    if field is not None:
        return field[1].strip(WHITE)
    if (unquoted := _unquoted(text)) is not None:
        return unquoted
    label = _LABEL.match(text)
    if label is not None:
        return text[label.end() :]
    whole = without_fraction(text.removeprefix("'"))
    if whole != text:
        return whole
    remark = _REMARK.search(text)
    if remark is not None:
        return text[: remark.start()]
    return text.rstrip(_ENDS).replace("_", " ")
