"""A mapping proposed for a table that nobody has described: a text for a person to read, correct and save.

It says what the names of columns suggest, and doubts where names or rows leave a question open. Nothing is loaded by it
that nobody has seen.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from portrait.tables.table import Layout, Row

SHOWN_WORDS = 6
"""The most different words of a column that are shown."""
LONGEST_WORD = 40
"""The longest text of a column that is shown, in characters."""

IDENTIFIERS = {
    "email": "email", "e mail": "email", "mail": "email", "email address": "email", "e mail address": "email",
    "phone": "phone", "phone number": "phone", "telephone": "phone", "mobile": "phone", "mobile phone": "phone",
    "mobile phone number": "phone", "mobile number": "phone", "cell": "phone", "cell phone": "phone", "sms": "phone",
    "device id": "device_id", "cookie id": "cookie_id", "anonymous id": "anonymous_id",
}  # fmt: skip
"""By what a column is called the type of the identifier that it holds."""

CUSTOMER_IDS = (
    "customer id", "customerid", "customer", "user id", "userid", "contact id", "client id", "member id", "person id",
    "profile id", "record id", "account id", "customer number", "id",
)  # fmt: skip
"""What a column of customer ids is called, the surest first."""

ATTRIBUTES = {
    "name": "name", "full name": "name", "first name": "given_name", "firstname": "given_name",
    "given name": "given_name", "last name": "family_name", "lastname": "family_name", "surname": "family_name",
    "family name": "family_name", "middle name": "additional_name", "birthday": "birth_date",
    "birth date": "birth_date", "birthdate": "birth_date", "date of birth": "birth_date", "dob": "birth_date",
    "gender": "gender", "sex": "gender", "language": "language", "job title": "job_title",
    "company": "organization", "company name": "organization", "organization": "organization",
    "organisation": "organization", "street": "address_street", "street address": "address_street",
    "address": "address_street", "address 1": "address_street", "address1": "address_street",
    "city": "address_locality", "town": "address_locality", "zip": "address_postal_code",
    "zip code": "address_postal_code", "postal code": "address_postal_code", "postcode": "address_postal_code",
    "state": "address_region", "region": "address_region", "province": "address_region",
    "country": "address_country", "country code": "address_country",
}  # fmt: skip
"""By what a column is called the attribute that it holds."""

MOMENTS = ("updated at", "updated", "last updated", "modified", "last modified", "last changed", "modified at")
"""What a column is called that says when a row was true, the surest first."""

_CONSENT = re.compile(r"consent|opt ?(?:ed )?(?:in|out)|subscri|marketing|blacklist|suppress|do not|news")
_AMOUNT = re.compile(r"total|amount|spen[dt]|price|revenue|value|count|orders|points|balance|score|quantity")
_DATE = re.compile(r"(\d{1,2})[./-](\d{1,2})[./-](\d{4}|\d{2})(?!\d)(.*)")
_NAIVE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?")
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_NUMBER = re.compile(r"-?\d{1,3}(?:[.,]?\d{3})*(?:[.,]\d+)?|-?\d+(?:[.,]\d+)?")
_COMMA = re.compile(r",\d{1,2}$")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


class Proposal(NamedTuple):
    """A mapping that may be right, and what is to be decided before it is."""

    text: str
    """In TOML; doubts are comments in it."""
    doubts: list[str]


class _Column(NamedTuple):
    """A column, what it is called without signs and case, and what it holds in the first rows."""

    name: str
    words: str
    cells: list[tuple[int, str]]
    """The texts that say something, each with its row's number."""

    @property
    def is_amount(self) -> bool:
        """Whether it seems to hold amounts, by its name and its texts."""
        texts = [text for _, text in self.cells]
        return bool(texts) and _AMOUNT.search(self.words) is not None and all(map(_NUMBER.fullmatch, texts))


def propose(
    source: str, layout: Layout, columns: Sequence[str], rows: Iterable[Row], doubts: Sequence[str] = ()
) -> Proposal:
    """Return a mapping for a table.

    Args:
        source: the name of the source.
        layout: how the table lies in its file.
        columns: its columns.
        rows: its first rows, with all columns.
        doubts: what is doubtful about the layout.
    """
    seen = [_Column(name, _words(name), []) for name in columns]
    for row in rows:
        for column, cell in zip(seen, row.cells, strict=False):  # a row that is at fault has fewer
            if isinstance(cell, str) and cell.strip():
                column.cells.append((row.number, cell.strip()))
    return _ProposalWriter(seen, doubts).proposal(source, layout)


class _ProposalWriter:
    """Writes a proposal."""

    def __init__(self, columns: Sequence[_Column], doubts: Sequence[str]) -> None:
        self._columns = columns
        self._of_layout = doubts
        self._doubts: list[str] = []
        self._used: set[str] = set()
        self._lines: list[str] = []

    def proposal(self, source: str, layout: Layout) -> Proposal:
        """Return the mapping."""
        identifiers = {
            column.name: IDENTIFIERS[column.words] for column in self._columns if column.words in IDENTIFIERS
        }
        customer = self._first(CUSTOMER_IDS)
        self._put(f"source = {quoted(source)}")
        self._moment()
        self._layout(layout)
        self._values()
        self._customer(customer, identifiers)
        self._table("identifiers", {name: type_ for name, type_ in identifiers.items() if name not in self._used})
        self._table(
            "attributes",
            {column.name: ATTRIBUTES[column.words] for column in self._columns if column.words in ATTRIBUTES},
        )
        for column in self._columns:
            if column.name not in self._used and _CONSENT.search(column.words):
                self._consent(column)
        self._others()
        return Proposal("\n".join(self._lines) + "\n", self._doubts)

    def _put(self, *lines: str) -> None:
        self._lines += lines

    def _doubt(self, text: str) -> None:
        self._doubts.append(text)
        self._put(f"# ? {text}")

    def _first(self, names: Sequence[str]) -> _Column | None:
        by_words = {column.words: column for column in reversed(self._columns)}
        return next((by_words[name] for name in names if name in by_words), None)

    def _moment(self) -> None:
        at = self._first(MOMENTS)
        if at is not None:
            self._used.add(at.name)
            self._put(f"at = {quoted(at.name)}")
            self._doubt(f"{at.name}: does this column say when all that stands in its row was true?")
        self._put("# The moment of the export, where a row has none; or give --exported.", '# exported = "…Z"')

    def _layout(self, layout: Layout) -> None:
        self._put("", "[file]")
        for name in layout.__struct_fields__:
            value = getattr(layout, name)
            if value not in {None, ""} and value != () and (name == "format" or value != getattr(Layout(), name)):
                self._put(f"{name} = {_toml(value)}")
        for doubt in self._of_layout:
            self._doubt(doubt)

    def _values(self) -> None:
        """Say how dates and moments are to be read, as far as the rows show."""
        self._put("", "[values]")
        orders = {order for column in self._columns for order in self._orders(column)}
        if len(orders) == 1:
            self._put(f'date = "{orders.pop()}"')
        elif orders:
            self._put('# date = "dmy"  # or "mdy"')
        amounts = [text for column in self._columns if column.is_amount for _, text in column.cells]
        if any(_COMMA.search(text) for text in amounts):
            self._put('decimal = ","', 'thousands = "."')
        naive = [column.name for column in self._columns if any(_NAIVE.fullmatch(text) for _, text in column.cells)]
        dated = [column.name for column in self._columns if any(_DATE.fullmatch(text) for _, text in column.cells)]
        if naive or dated:
            self._doubt(f"{', '.join(naive or dated)}: in which zone are moments without one?")
            self._put('# zone = "UTC"  # or such as "Europe/Berlin"')

    def _orders(self, column: _Column) -> set[str]:
        """Return in which orders of day and month a column's dates can be read; none where it holds no such dates."""
        orders: set[str] = set()
        for number, text in column.cells:
            match = _DATE.fullmatch(text)
            if match is None:
                continue
            first, second = int(match[1]), int(match[2])
            fitting = {order for order, day, month in (("dmy", first, second), ("mdy", second, first))
                       if 1 <= month <= 12 and 1 <= day <= 31}  # fmt: skip
            if not orders:
                orders = fitting
            elif not orders & fitting:
                self._doubt(f"{column.name}: some dates have the day first, some the month (row {number}).")
                return {"dmy", "mdy"}
            else:
                orders &= fitting
        if len(orders) > 1:
            number, text = next((number, text) for number, text in column.cells if _DATE.fullmatch(text))
            self._doubt(f"{column.name}: is {text} (row {number}) day or month first?")
        return orders

    def _customer(self, customer: _Column | None, identifiers: Mapping[str, str]) -> None:
        self._put("", "[customer]")
        if customer is not None:
            self._used.add(customer.name)
            self._put(f"id = {quoted(customer.name)}")
            if customer.words == "id":
                self._doubt(f"{customer.name}: is it the id of a customer, or of something else, such as an order?")
            if len({text for _, text in customer.cells}) < len(customer.cells):
                self._doubt(f"{customer.name}: it stands in several rows. Is a row one customer?")
        elif identifiers:
            name, type_ = next(iter(identifiers.items()))
            self._put(f"identifier = {{ {_key(type_)} = {quoted(name)} }}")
            self._used.add(name)
        else:
            self._doubt("Which column says whom a row is about?")
            self._put('# id = "…"')

    def _table(self, name: str, keys: Mapping[str, str]) -> None:
        """Write what columns hold by key; a key that two columns have is a question."""
        if not keys:
            return
        self._put("", f"[{name}]")
        given: dict[str, str] = {}
        for column, key in keys.items():
            self._used.add(column)
            if key in given:
                self._doubt(f"{column}: {given[key]} is taken for {key} already.")
            else:
                given[key] = column
                self._put(f"{_key(key)} = {self._field(column)}")

    def _field(self, name: str) -> str:
        """Return a field of a column, read as its rows look."""
        column = next(column for column in self._columns if column.name == name)
        texts = [text for _, text in column.cells]
        if texts and all(_DATE.fullmatch(text) or _ISO_DATE.fullmatch(text) for text in texts):
            return f'{{ column = {quoted(name)}, type = "date" }}'
        if any(text.startswith("'") for text in texts):
            return f'{{ column = {quoted(name)}, strip = "\'" }}'
        return f'{{ column = {quoted(name)}, type = "number" }}' if column.is_amount else quoted(name)

    def _consent(self, column: _Column) -> None:
        self._used.add(column.name)
        words = list(dict.fromkeys(text for _, text in column.cells if len(text) <= LONGEST_WORD))[:SHOWN_WORDS]
        shown = ", ".join(words) if words else "nothing in the first rows"
        self._put("")
        self._doubt(f"{column.name} ({shown}): which word grants, which withdraws, and which says neither?")
        self._put(
            "# [[records]]", '# section = "consent"', "# [records.fields]", '# kind = { value = "consent" }',
            '# purpose = { value = "marketing" }', '# channel = { value = "email" }',
            f"# status = {{ column = {quoted(column.name)}, words = {{ "
            + ", ".join(f'{quoted(word)} = ""' for word in words) + " } }",
        )  # fmt: skip

    def _others(self) -> None:
        left = [column for column in self._columns if column.name not in self._used and column.name]
        if not left:
            return
        self._put("", "# Columns that are left out; as attributes they would be, behind [attributes]:")
        for column in left:
            self._put(f"# {_key(column.words.replace(' ', '_'))} = {self._field(column.name)}")


def _words(name: str) -> str:
    """Return a column's name as words: without case and signs, and parted where a capital follows a small letter."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return " ".join(re.findall(r"[^\W_]+", parted.casefold()))


def quoted(text: str) -> str:
    """Return a text as TOML writes it."""
    escaped = "".join(_escaped(character) for character in text)
    return f'"{escaped}"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def _key(text: str) -> str:
    return text if _BARE.fullmatch(text) else quoted(text)


def _toml(value: object) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
