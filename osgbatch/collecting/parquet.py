"""`results.parquet`: the table of results with its types, through pyarrow, an optional extra."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from osgbatch.collecting.table import KINDS
from osgbatch.errors import OsgbatchError
from osgbatch.names import RESULT_COLUMNS

_LARGEST = 2**63


def check_parquet() -> None:
    """Raises OsgbatchError when pyarrow is not installed, before anything is done."""
    try:
        importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise OsgbatchError(
            "writing Parquet needs pyarrow, which is not installed",
            where="--parquet",
            fix="Type `pip install 'osgbatch[parquet]'`, or read results.csv.",
        ) from None


def write_parquet(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write columns of texts, numbers, truth values and None, whole or not at all.

    A column of whole numbers, of numbers or of truth values has that type; any other is text.
    """
    arrow = importlib.import_module("pyarrow")
    parquet = importlib.import_module("pyarrow.parquet")
    known = {name: KINDS.get(name, float) for name in RESULT_COLUMNS}
    arrays = {n: _array(arrow, values, known.get(n)) for n, values in columns.items()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        parquet.write_table(arrow.table(arrays), temporary)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _array(arrow: Any, values: Sequence[Any], known: type | None) -> Any:
    """known: what it holds, also where nothing is known, so that all batches have alike types."""
    kinds = {type(value) for value in values} - {type(None)} | ({known} if known else set())
    if kinds == {bool}:
        return arrow.array(values, arrow.bool_())
    if kinds == {int} and all(v is None or -_LARGEST <= v < _LARGEST for v in values):
        return arrow.array(values, arrow.int64())
    if kinds and kinds <= {int, float} and float in kinds:
        # Else a NaN would become a null, or a large number be refused.
        with suppress(OverflowError):  # of a whole number that no float is near to
            floats = [None if value is None else float(value) for value in values]
            return arrow.array(floats, arrow.float64(), from_pandas=False)
    return arrow.array([_text(value) for value in values], arrow.string())


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    # A file's name may hold bytes that are no text.
    return str(value).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
