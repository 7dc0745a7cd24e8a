"""The bytes of a table: of a file, of standard input, of a member of an archive; packed or not."""

import gzip
import io
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from portrait.model.errors import InputRefused

HEAD_SIZE = 4096
"""So much is looked at in order to tell what a file is."""
_GZIP = b"\x1f\x8b"


class CannotReadOn(Exception):
    """A source gives no further bytes, or bytes of which no row can be made.

    Its text says why and what would be right, behind a colon.
    """


class Source:
    """Bytes that are read once, from the front; of a file also as the file that it is."""

    def __init__(
        self,
        name: str,
        read: Callable[[int], bytes],
        *,
        progress: Callable[[], float | None] = lambda: None,
        is_changed: Callable[[], bool] = lambda: False,
        file: IO[bytes] | None = None,
        may_wait: bool = False,
    ) -> None:
        self.name = name
        """The name of the file, without folders."""
        self.file = file
        """The file, where it can be read in any order; a reader that takes it reads nothing from the source itself."""
        self.may_wait = may_wait
        """Whether reading may wait for somebody who writes, as that of a pipe."""
        self.is_changed = is_changed
        """Whether the file has changed since it was opened."""
        self.progress = progress
        """How much of the file has been read, from 0 to 1."""
        self._read = read
        self._ahead = b""

    def head(self) -> bytes:
        """Return the first bytes, which are read again afterwards: the whole where it is short."""
        while len(self._ahead) < HEAD_SIZE and (part := self._part(HEAD_SIZE)):
            self._ahead += part
        return self._ahead[:HEAD_SIZE]

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most so many; none at the end.

        Raises:
            CannotReadOn: the file is damaged, or has changed while it was read.
        """
        if self._ahead:
            part, self._ahead = self._ahead[:size], self._ahead[size:]
            return part
        return self._part(size)

    def unpacked(self) -> "Source":
        """Return the source of what is packed by gzip here, or this source where nothing is."""
        if not self.head().startswith(_GZIP):
            return self
        # GzipFile closes nothing that it is handed as a file object.
        stream = gzip.GzipFile(fileobj=io.BufferedReader(_Raw(self)))
        return Source(
            self.name, stream.read1, progress=self.progress, is_changed=self.is_changed, may_wait=self.may_wait
        )

    def spooled(self, stack: ExitStack) -> IO[bytes]:
        """Return the bytes as a file that can be read in any order: a temporary file, where there is no other.

        Raises:
            InputRefused: the bytes cannot be read to their end, or there is no room for them.
        """
        if self.file is not None:
            self.file.seek(0)
            return self.file
        # The stack closes it, and that deletes it.
        spool = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 # ruff sees no stack behind an argument
        try:
            shutil.copyfileobj(_Raw(self), spool, 2**20)
        except CannotReadOn as error:
            raise InputRefused(f"{self.name} cannot be read: {error}") from error
        except OSError as error:
            raise InputRefused(
                f"{self.name} must be copied in order to be read, and cannot: {error.strerror}."
                f" Make room in {tempfile.gettempdir()}, or set TMPDIR to another folder."
            ) from error
        spool.seek(0)
        self.file = spool
        self.may_wait = False
        return spool

    def _part(self, size: int) -> bytes:
        try:
            part = self._read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError) as error:
            raise CannotReadOn(self._why_damaged(error)) from error
        except OSError as error:
            why = error.strerror or "it cannot be read"
            raise CannotReadOn(f"{why}. Make it readable, and load it again.") from error
        if not part and self.is_changed():
            raise CannotReadOn(CHANGED)
        return part

    def _why_damaged(self, error: Exception) -> str:
        if self.is_changed():
            return CHANGED
        if isinstance(error, EOFError):
            return "what is packed is cut off. Fetch the file again, and load it again."
        return "what is packed is damaged. Fetch the file again, and load it again."


CHANGED = "it changed while it was read. Load it again when nothing writes to it."


class _Raw(io.RawIOBase):
    """A source as the standard library's readers take it."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def readable(self) -> bool:
        """See the base class."""
        return True

    def readinto(self, buffer: object) -> int:
        """See the base class."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type] # whatever RawIOBase is handed is a buffer
        part = self._source.read(len(view))
        view[: len(part)] = part
        return len(part)


def of_path(path: Path, stack: ExitStack) -> Source:
    """Open a file. A pipe with a name is a stream, as standard input is.

    Raises:
        InputRefused: it cannot be opened.
    """
    try:
        file = stack.enter_context(path.open("rb"))
    except OSError as error:
        raise InputRefused(f"{path} cannot be opened: {error.strerror}.") from error
    first = os.fstat(file.fileno())
    if not stat.S_ISREG(first.st_mode):
        return of_stream(path.name, file)

    def is_changed() -> bool:
        now = os.fstat(file.fileno())
        return (now.st_size, now.st_mtime_ns) != (first.st_size, first.st_mtime_ns)

    def progress() -> float:
        return min(file.tell() / first.st_size, 1.0) if first.st_size else 1.0

    return Source(path.name, file.read1, progress=progress, is_changed=is_changed, file=file)


def of_stream(name: str, stream: IO[bytes]) -> Source:
    """Return the source of a stream that can be read once, from the front: a pipe."""
    return Source(name, getattr(stream, "read1", stream.read), may_wait=True)


def of_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, parent: Source, stack: ExitStack) -> Source:
    """Open a member of an archive.

    Raises:
        InputRefused: it is encrypted, or packed in a way that is not known.
    """
    if info.flag_bits & 1:
        raise InputRefused(
            f"{name} in {parent.name} is encrypted. Unpack the archive with its password, and load what is in it."
        )
    try:
        member = stack.enter_context(archive.open(info))
    except (zipfile.BadZipFile, NotImplementedError, OSError) as error:
        raise InputRefused(
            f"{name} in {parent.name} cannot be unpacked. Unpack the archive yourself, and load what is in it."
        ) from error

    def progress() -> float:
        return member.tell() / info.file_size if info.file_size else 1.0

    return Source(name, member.read, progress=progress, is_changed=parent.is_changed)
