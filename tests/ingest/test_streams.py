"""Lines come out of a stream as they are in it, however it is cut."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portrait.model import streams

MAX = 12
BOM = b"\xef\xbb\xbf"
pieces = st.lists(st.sampled_from([b"a", b"bc" * 4, b" ", b"\r", b"\n", b"\n\n", BOM, b"x" * 30]), max_size=30)


class Cut(io.BytesIO):
    """A stream that gives less than is asked for, as a pipe does."""

    def __init__(self, raw, sizes):
        super().__init__(raw)
        self._sizes = iter(sizes)

    def read1(self, size=-1):
        return super().read(min(size, next(self._sizes, size)))


def bare_lines(raw):
    cut = ((at, line[: MAX + 1].strip().removeprefix(BOM).lstrip()) for at, line in enumerate(raw.split(b"\n")))
    return [(at, line) for at, line in cut if line]


@given(pieces.map(b"".join), st.lists(st.integers(1, MAX), max_size=20), st.integers(1, MAX))
def test_lines_are_whole_and_counted_wherever_a_stream_is_cut(raw, sizes, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "MAX_LINE", MAX)
        assert list(streams.lines(Cut(raw, sizes))) == bare_lines(raw)
        parts = list(streams.whole_lines(io.BytesIO(raw).read, size))
    assert [line for first, content in parts for line in streams.bare_lines(content, first)] == bare_lines(raw)
    assert all(len(content) <= MAX + 1 + size for _, content in parts)
