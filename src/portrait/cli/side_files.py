"""Side files: what a load refused or took with a warning, beside its input."""

import json
import os
from pathlib import Path
from typing import NamedTuple, Self, TextIO

from portrait.ingest.blocks import Block
from portrait.model.errors import InvalidSetting
from portrait.writes.recording import RecordWarned, Refusal


class SideFile:
    """A file of some lines, made when the first line comes; that of an earlier load of the input is removed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None

    @classmethod
    def beside(cls, file: str, named: str | None, kind: str) -> Self:
        """Return a side file of an input: the named file, which must be new, or the default one beside the input.

        Raises:
            InvalidSetting: the named file is there already, or no file can be made in its directory.
        """
        path = Path(named or f"{'stdin' if file == '-' else file}.{kind}.jsonl")
        if named and path.exists():
            raise InvalidSetting(f"{path} exists already. Name a new file for {kind} lines.")
        if not os.access(path.parent, os.W_OK):
            raise InvalidSetting(f"No file can be created in {path.parent}. Name another file with --{kind}.")
        return cls(path)

    def open(self) -> None:
        """Remove the file of an earlier load."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()

    def write(self, notice: Refusal | RecordWarned, block: Block) -> None:
        """Add where a record stands in the input, the code and the detail of its notice, and what it came of."""
        if self._file is None:
            private = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)  # it holds people's records
            self._file = os.fdopen(private, "w", encoding="utf-8")
        entry = {
            "line": block.number(notice.at),
            "code": notice.code,
            "detail": notice.detail,
            "text": block.text(notice.at).decode(errors="replace"),
        }
        self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")


class SideFiles(NamedTuple):
    """The two side files of an input."""

    refusals: SideFile
    warnings: SideFile

    @classmethod
    def beside(cls, file: str, refused: str | None, warned: str | None) -> Self:
        """Return the side files of an input: the named files, which must be new, or the default ones beside it.

        Raises:
            InvalidSetting: a named file is there already, or both are the same, or a directory takes no file.
        """
        sides = cls(SideFile.beside(file, refused, "refused"), SideFile.beside(file, warned, "warned"))
        if sides.refusals.path == sides.warnings.path:
            raise InvalidSetting("--refused and --warned name the same file. Name two files.")
        return sides

    def __enter__(self) -> Self:
        for side in self:
            side.open()
        return self

    def __exit__(self, *_: object) -> None:
        for side in self:
            side.close()

    def refused(self, notice: Refusal, block: Block) -> None:
        """See `loading.Beside`."""
        self.refusals.write(notice, block)

    def warned(self, notice: RecordWarned, block: Block) -> None:
        """See `loading.Beside`."""
        self.warnings.write(notice, block)
