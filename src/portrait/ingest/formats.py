"""The format of a file that is not JSON lines, by its beginning: reported before each line is refused by itself."""

_SIGNATURES = {
    b"\x1f\x8b": "is compressed by gzip: decompress it first, for example with zcat",
    b"PK\x03\x04": "is a ZIP archive or a spreadsheet: save its table as text first",
    b"PAR1": "is a Parquet file",
    b"\xff\xfe": "is in UTF-16: save it in UTF-8",
    b"\xfe\xff": "is in UTF-16: save it in UTF-8",
}
_SEPARATORS = b",;\t|"
EXAMPLE = '{"customerId": "c1", "section": "identities", "record": {"type": "email", "value": "c1@example.com"}}'


def foreign(head: bytes) -> str | None:
    """Return what a file is, in words, if it is of another format than JSON lines; None where it may be JSON lines.

    Args:
        head: its first bytes. One line that begins like an object is enough: other lines are refused by themselves.
    """
    for signature, description in _SIGNATURES.items():
        if head.startswith(signature):
            return description
    lines = [line for raw in head.removeprefix(b"\xef\xbb\xbf").splitlines() if (line := raw.strip())]
    if not lines or any(line.startswith(b"{") for line in lines):
        return None
    if lines[0].startswith(b"["):
        return "is a JSON array: write each of its objects in a line of its own"
    if any(lines[0].count(separator) for separator in _SEPARATORS):
        return "looks like CSV: write each row as an object"
    return None
