"""
Files on their way to ClickHouse: which columns they have, and their bytes, counted as they leave.

Only a header or a footer is read here. Rows pass through untouched; gzip is opened on the way.
"""

import csv
import gzip
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

from worker.errors import Refusal

Progress = Callable[[Path, int, int], None]
"""Told a file, how many of its bytes have left, and how many it has."""

PARQUET: Final = "Parquet"
CSV: Final = "CSVWithNames"
MAGIC: Final = b"PAR1"
TAIL: Final = struct.Struct("<I4s")
"""What a Parquet file ends with: the length of its footer, and the magic bytes."""

UNREADABLE: Final = (EOFError, zlib.error, gzip.BadGzipFile)
PIECE: Final = 1 << 18  # bytes read at once


@dataclass(frozen=True, slots=True)
class Source:
    """
    One file to load.

    :param format: the ClickHouse input format that reads it
    """

    path: Path
    format: Literal["Parquet", "CSVWithNames"]
    zipped: bool

    def refused(self, sentence: str) -> Refusal:
        """Return the refusal of this file."""
        return Refusal(f"{self.path.name}: {sentence}")

    def header(self) -> tuple[str, ...]:
        """
        Read the names in the first line of a CSV.

        :raises Refusal: when there is none, or it is not text
        """
        with self.opened(_untold) as file:
            lines = csv.reader(io.TextIOWrapper(file, "utf-8-sig", newline=""))
            try:
                return tuple(next(lines, ()))
            except (UnicodeDecodeError, csv.Error):
                raise self.refused("is not a CSV in UTF-8.") from None

    def footer(self) -> bytes:
        """
        Read the part of a Parquet file that describes it, as a Parquet file of its own without any rows.

        :raises Refusal: when it is not a whole Parquet file
        """
        with self.path.open("rb") as file:
            size = file.seek(0, io.SEEK_END)
            if size < len(MAGIC) + TAIL.size:
                raise self.refused("is not a whole Parquet file.")
            file.seek(size - TAIL.size)
            length, magic = TAIL.unpack(file.read())
            if magic != MAGIC or length > size - TAIL.size - len(MAGIC):
                raise self.refused("is not a whole Parquet file.")
            file.seek(size - TAIL.size - length)
            return MAGIC + file.read()

    @contextmanager
    def opened(self, progress: Progress) -> Iterator[BinaryIO]:
        """Open the file for sending, unzipped, and report every piece that leaves the disk."""
        try:
            with io.BufferedReader(_Counted(self.path, progress), PIECE) as file:
                yield io.BufferedReader(_Unzipped(file, self), PIECE) if self.zipped else file
        except OSError as error:
            raise self.refused(f"cannot be read: {error.strerror}.") from error


def source(path: Path) -> Source:
    """
    Tell the format of a file by its name.

    :raises Refusal: when it is neither Parquet nor CSV
    """
    name = path.name.lower()
    if name.endswith(".parquet"):
        return Source(path, PARQUET, zipped=False)
    if name.endswith((".csv", ".csv.gz")):
        return Source(path, CSV, zipped=name.endswith(".gz"))
    raise Refusal(f"{path.name}: the name must end with .parquet, .csv or .csv.gz.")


class _Counted(io.FileIO):
    """A file that reports how far it has been read."""

    def __init__(self, path: Path, progress: Progress) -> None:
        super().__init__(path)
        self._path = path
        self._progress = progress
        self._size = path.stat().st_size

    def readinto(self, buffer: Any) -> int | None:
        """Read into a buffer and report."""
        count = super().readinto(buffer)
        self._progress(self._path, self.tell(), self._size)
        return count


class _Unzipped(gzip.GzipFile):
    """A zipped file, read unzipped; what is wrong with it is a refusal, not a fault of the network."""

    def __init__(self, file: BinaryIO, source: Source) -> None:
        super().__init__(fileobj=file, mode="rb")
        self._source = source

    def read(self, size: int | None = -1) -> bytes:
        """Read, or refuse the file."""
        try:
            return super().read(size)
        except UNREADABLE:
            raise self._source.refused("is not a whole gzip file.") from None


def _untold(path: Path, sent: int, size: int) -> None:
    """Report nothing."""
