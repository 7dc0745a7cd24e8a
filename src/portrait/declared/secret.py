"""Secrets of declared sources: named in the file, and read from the environment or a file of their own."""

import os
from dataclasses import dataclass
from pathlib import Path

MAX_SECRET_BYTES = 64 * 1024
"""The most bytes of a secret's file."""


class SecretMissing(Exception):  # each caller makes it what it is there: a start refused, or a source that failed
    """A secret cannot be read; the text says where it was looked for, and never what was there."""


@dataclass(frozen=True)
class Secret:
    """Where a secret is. It is read each time that it is needed, so that a new one in its file counts."""

    variable: str | None
    file: str | None
    prefix: str = ""
    """What stands before it, such as `Bearer `."""

    def read(self) -> str:
        """Return the secret, with its prefix.

        Raises:
            SecretMissing: it is not there, or is no line of printable ASCII.
        """
        if self.variable is not None:
            where = f"the environment variable {self.variable}"
            value = os.environ.get(self.variable)
            if value is None:
                raise SecretMissing(f"{where} is not set")
        else:
            where = f"the file {self.file}"
            value = self._from_file(where)
        value = value.rstrip("\r\n")
        if not value:
            raise SecretMissing(f"{where} is empty")
        if not (value.isascii() and value.isprintable()):
            raise SecretMissing(f"{where} holds something other than one line of printable ASCII")
        return self.prefix + value

    def _from_file(self, where: str) -> str:
        try:
            with Path(self.file or "").open("rb") as file:
                content = file.read(MAX_SECRET_BYTES + 1)
        except OSError as error:
            raise SecretMissing(f"{where} cannot be read: {os.strerror(error.errno or 0)}") from None
        except ValueError:
            raise SecretMissing(f"{where} cannot be read") from None
        if len(content) > MAX_SECRET_BYTES:
            raise SecretMissing(f"{where} has more than {MAX_SECRET_BYTES} bytes")
        return content.decode("latin-1")
