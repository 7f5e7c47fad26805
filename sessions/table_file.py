"""A table as CSV (RFC 4180) or Apache Parquet, row by row, in little memory."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from sessions.state_table import FLOAT32, FLOAT64, INT64, TEXT, Column, Value

TABLE_FORMATS = (".csv", ".parquet")
ROWS_AT_ONCE = 2048
"""Rows of a Parquet file's row group: 2 MB to 10 MB in memory."""


def write_table(columns: tuple[Column, ...], rows: Iterable[list[Value]], path: Path) -> int:
    """Write `.csv` or `.parquet`; return the number of rows. A file that fails is taken away.

    CSV: one line of names, then a line a row; an empty field is what is not there; float32 and
    float64 with as many digits as give the same number back. Parquet: null is what is not there;
    unit and meaning of each column are its field's metadata.

    Raises ValueError for another ending, ImportError (which names the extra) for `.parquet`
    without pyarrow, OSError when the file cannot be written.
    """
    ending = path.suffix.lower()
    if ending == ".csv":
        write = _write_csv
    elif ending == ".parquet":
        write = _write_parquet
    else:
        listed = " or ".join(TABLE_FORMATS)
        raise ValueError(f"write_table: expected a name that ends in {listed}, got {path.name}")
    try:
        return write(columns, rows, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _write_csv(columns: tuple[Column, ...], rows: Iterable[list[Value]], path: Path) -> int:
    singles = [k for k, column in enumerate(columns) if column.kind == FLOAT32]
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\r\n")
        out.writerow([column.name for column in columns])
        for row in rows:
            cells: list[object] = list(row)
            for k in singles:
                # A float32 written as a double would show digits that it does not have.
                cells[k] = None if row[k] is None else np.float32(row[k])  # type: ignore[arg-type]
            out.writerow(cells)
            count += 1
    return count


def _write_parquet(columns: tuple[Column, ...], rows: Iterable[list[Value]], path: Path) -> int:
    pa, pq = _pyarrow()
    kinds = {INT64: pa.int64(), FLOAT32: pa.float32(), FLOAT64: pa.float64(), TEXT: pa.string()}
    schema = pa.schema(
        [
            pa.field(c.name, kinds[c.kind], metadata={"unit": c.unit, "meaning": c.meaning})
            for c in columns
        ]
    )
    count, rest = 0, iter(rows)
    with pq.ParquetWriter(path, schema, compression="zstd") as out:
        while some := list(islice(rest, ROWS_AT_ONCE)):
            arrays = [
                pa.array(values, field.type)
                for values, field in zip(zip(*some, strict=True), schema, strict=True)
            ]
            out.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(some)
    return count


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            "writing .parquet needs pyarrow: pip install 'visavis[tables]', or write .csv"
        ) from error
    return pyarrow, pyarrow.parquet
