"""The format of a file that is no records, by its beginning: reported before each line is refused by itself."""

_SIGNATURES = {
    b"PK\x03\x04": "is a spreadsheet or an archive in an archive",
    b"PAR1": "is a Parquet file",
    b"ARROW1": "is an Arrow file",
    b"\xff\xff\xff\xff": "is an Arrow file",
    b"\xff\xfe": "is in UTF-16",
    b"\xfe\xff": "is in UTF-16",
}
_SEPARATORS = b",;\t|"
EXAMPLE = '{"customerId": "c1", "section": "identities", "record": {"type": "email", "value": "c1@example.com"}}'
_RIGHT = (
    f"Without a mapping portrait load takes records, each like {EXAMPLE}. For tables give --mapping;"
    " portrait load --look FILE proposes a mapping"
)


def foreign(head: bytes) -> str | None:
    """Return what a file is, in words, if it holds no records; None where it may be JSON lines or an array.

    Args:
        head: its first bytes. One line that begins like an object is enough: other lines are refused by themselves.
    """
    for signature, description in _SIGNATURES.items():
        if head.startswith(signature):
            return f"{description}. {_RIGHT}"
    lines = [line for raw in head.removeprefix(b"\xef\xbb\xbf").splitlines() if (line := raw.strip())]
    if not lines or lines[0].startswith(b"[") or any(line.startswith(b"{") for line in lines):
        return None
    if any(lines[0].count(separator) for separator in _SEPARATORS):
        return f"looks like CSV. {_RIGHT}"
    return None
