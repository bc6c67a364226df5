"""Reads CSV files with named columns; a line that does not fit is an error."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.common.errors import UserError
from bench.common.validation import did_you_mean
from bench.datasets.base import text_lines


def read_rows(
    path: Path, columns: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields each row's values by column, with the number of the row's last line.

    The value of a missing `optional` column is "". If there are optional columns, the file may have
    no others. A quoted field may contain line breaks. Raises UserError for a file without these
    columns, a row with too many fields, or a quote that is never closed.
    """
    # As one stream, because a quoted field may span lines.
    text = "\n".join(text_lines(path)) + "\n"
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    start = 1
    try:
        for row in rows:
            start = rows.line_num + 1
            if header is None:
                header = row
                if not set(columns) <= set(header):
                    raise UserError(
                        f"{path}:1: expected the columns {','.join(columns)}, got {str(row)[:80]}"
                    )
                known = {*columns, *optional} if optional else set(header)
                if odd := next((c for c in header if c not in known), None):
                    near = did_you_mean(odd[:80], [*columns, *optional])
                    raise UserError(f"{path}:1: {odd[:80]!r} is no column; {near}")
                if len(set(header)) < len(header):
                    raise UserError(f"{path}:1: a column occurs twice; rename or remove one")
            elif len(row) > len(header):
                raise UserError(
                    f"{path}:{rows.line_num}: more than {len(header)} columns; quote the commas "
                    "inside of a field"
                )
            elif row:
                values = dict(zip(header, [*row, *[""] * (len(header) - len(row))], strict=True))
                yield rows.line_num, {n: values.get(n, "") for n in (*columns, *optional)}
    except csv.Error as error:
        reason = f"not readable as CSV ({error}); a quote may be open there"
        raise UserError(f"{path}:{start}: {reason}") from error
    if header is None:
        raise UserError(f"{path}:1: expected the columns {','.join(columns)}, got an empty file")
