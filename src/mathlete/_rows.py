"""Rows of a file or a dataset, each with the place to name when something is wrong with it.

A file with one broken row is refused as a whole: nothing is dropped silently.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mathlete.errors import ProblemError


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it was read; `place` is `file:line`, or the nearest thing the format has."""

    place: str
    values: Mapping[str, Any]

    def error(self, what: str) -> ProblemError:
        """The error that names this row."""
        return ProblemError(f"{self.place}: {what}")


def listed(columns: Iterable[str]) -> str:
    """Column names for a message."""
    return ", ".join(repr(c) for c in columns) or "none"


def _read_jsonl(data: bytes, name: str) -> Iterator[Row]:
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if line.strip():
            place = f"{name}:{number}"
            yield Row(place, _object(_json(line, place), place))


def _read_json(data: bytes, name: str) -> Iterator[Row]:
    items = _json(data.removeprefix(b"\xef\xbb\xbf"), name) if data.strip() else []
    if not isinstance(items, list):
        raise ProblemError(f"{name}: must be a JSON list of objects (one a line: name it .jsonl)")
    for number, item in enumerate(items, 1):
        place = f"{name}: item {number}"
        yield Row(place, _object(item, place))


def _json(data: bytes, place: str) -> Any:
    try:
        return json.loads(data.decode())
    except json.JSONDecodeError as error:
        where = f" at line {error.lineno}" if error.lineno > 1 else ""
        raise ProblemError(f"{place}: not valid JSON: {error.msg}{where}") from None
    except (ValueError, RecursionError) as error:  # bad UTF-8, a number too long, too deep
        raise ProblemError(f"{place}: not readable as JSON: {_line(error)}") from None


def _object(item: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(item, dict):
        raise ProblemError(f"{place}: must be a JSON object, not {type(item).__name__}")
    return item


def _read_csv(data: bytes, name: str) -> Iterator[Row]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ProblemError(f"{name}:{line}: not valid UTF-8: {error.reason}") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    while True:
        line = reader.line_num + 1  # a quoted field may hold line breaks: where this row starts
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise ProblemError(f"{name}:{line}: broken CSV row: {_line(error)}") from None
        if row is None:
            return
        if not row:
            continue
        if not header:
            header = row
            if twice := [c for c, n in Counter(header).items() if n > 1]:
                raise ProblemError(f"{name}:{line}: column {twice[0]!r} is there twice")
        elif len(row) != len(header):
            raise ProblemError(
                f"{name}:{line}: {len(row)} fields, but the header has {len(header)}; "
                "quote fields that hold a comma"
            )
        else:
            yield Row(f"{name}:{line}", dict(zip(header, row, strict=True)))


def _line(error: BaseException) -> str:
    """The message of a foreign error on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _need_data(library: str, purpose: str) -> ProblemError:
    return ProblemError(f'{purpose}, install {library}: pip install "mathlete[data]"')


def _read_parquet(data: bytes, name: str) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise _need_data("pyarrow", f"{name}: to read Parquet") from None
    try:
        rows = pyarrow.parquet.read_table(pyarrow.BufferReader(data)).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise ProblemError(f"{name}: not readable as Parquet: {_line(error)}") from None
    for number, row in enumerate(rows, 1):
        yield Row(f"{name}: row {number}", row)


_READERS = {
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}


def _read_file(path: Path, name: str) -> Iterator[Row]:
    zipped = path.suffix == ".gz"
    suffix = Path(path.stem).suffix if zipped else path.suffix
    reader = _READERS.get(suffix.lower())
    if reader is None:
        known = ", ".join(_READERS)
        raise ProblemError(f"{name}: a problem set ends in one of {known} (or that and .gz)")
    try:
        data = path.read_bytes()
        return reader(gzip.decompress(data) if zipped else data, name)
    except (OSError, EOFError, zlib.error) as error:
        raise ProblemError(f"{name}: cannot be read: {_line(error)}") from None


def _read_dataset(path: str, config: str | None, split: str | None) -> Iterator[Row]:
    """A dataset by its Hub id, or a local folder (of data files, or written by `save_to_disk`)."""
    try:
        import datasets
    except ImportError:
        raise _need_data("datasets", f"{path}: no such file; to load it as a dataset") from None
    try:
        if Path(path, "dataset_info.json").exists() or Path(path, "dataset_dict.json").exists():
            loaded = datasets.load_from_disk(path)
        else:
            loaded = datasets.load_dataset(path, config)
    except Exception as error:  # it raises the errors of a dozen libraries below it
        raise ProblemError(f"{path}: cannot be loaded by datasets: {_line(error)}") from None
    name = path
    if isinstance(loaded, dict):
        names = list(loaded)
        split = split or ("test" if "test" in names else names[0] if len(names) == 1 else None)
        if split not in names:
            example = f"{path}:{names[0]}" if names else path
            raise ProblemError(f"{path}: name a split, as in {example}; it has {listed(names)}")
        loaded, name = loaded[split], f"{path}:{split}"
    for number, row in enumerate(loaded, 1):
        yield Row(f"{name}: row {number}", row)


_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")


def read_rows(source: str | Path, name: str | None = None) -> Iterator[Row]:
    """The rows of a file, a folder or a dataset of the Hub, in order.

    A folder or Hub id may end in `:split` or `:config:split`. `name` stands for the source in
    places and messages. Raises `ProblemError` for what cannot be found or read, also while
    iterating.
    """
    text = str(source)
    name = name or text
    try:
        if not text.strip():
            raise ProblemError("the name of the problem set is empty: name a file or a shipped set")
        if Path(text).is_file():
            return _read_file(Path(text), name)
        path, *rest = text.split(":")
        if len(rest) <= 2:
            config, split = [None, None, *rest][-2:]
            missing_file = Path(path.split("/")[0]).is_dir() or Path(path).suffix in _READERS
            if Path(path).is_dir() or (_HUB_ID.fullmatch(path) and not missing_file):
                return _read_dataset(path, config, split)
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise ProblemError(f"{name[:200]}: cannot be read: {_line(error)}") from None
    raise ProblemError(f"{name[:200]}: no such file, folder or problem set")
