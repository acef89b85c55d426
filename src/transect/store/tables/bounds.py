"""How large a table may be, told before it is built: 574 kB of Parquet may hold 80 million rows,
and a line of CSV a million columns.
"""

import struct
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.feather as feather
import pyarrow.parquet as pq
from pyarrow.ipc import Message, MessageReader

from transect.errors import InputError
from transect.store.files.unpacking import LARGEST

CELLS = 50_000_000  # rows x columns
COLUMNS = 10_000
ARROW = b"ARROW1\0\0"
LONGEST_LINE = 50_000_000  # bytes of a text's line
OBJECTS = 20_000_000  # commas and brackets of JSON lines, each of which may open a value


def check(rows: int, columns: int, place: str) -> None:
    """Raise InputError, beginning with `place`, for a table that is too large."""
    if columns > COLUMNS:
        raise InputError(
            f"{place}: the table has {columns:,} columns; at most {COLUMNS:,} are read."
        )
    if rows * columns > CELLS:
        raise InputError(
            f"{place}: the table has {rows:,} rows of {columns:,} columns; at most {CELLS:,} cells are read. Leave out columns that are "
            "not needed, or average over rows."
        )


def check_lines(content: bytes, place: str) -> None:
    """Raise InputError for a line that is longer than LONGEST_LINE: the next line break is looked
    for from the last one that is near enough.
    """
    at, number = 0, 1
    while len(content) - at > LONGEST_LINE:
        end = content.rfind(b"\n", at, at + LONGEST_LINE + 1)
        if end < 0:
            raise InputError(
                f"{place}, line {number}: a line of more than {LONGEST_LINE:,} bytes is not read."
            )
        number += content.count(b"\n", at, end + 1)
        at = end + 1


def check_objects(text: str, place: str) -> None:
    """Raise InputError for JSON lines with more values than fit into memory, by the signs between
    values.
    """
    if (signs := text.count(",") + text.count("[") + text.count("{") + text.count("\n")) > OBJECTS:
        raise InputError(
            f"{place}: it holds some {signs:,} values; of JSON lines at most {OBJECTS:,} are read. Write the table as .parquet or .csv."
        )


def read_parquet(path: Path) -> pa.Table:
    """The table of a Parquet file. Raises InputError for one that would be too large in memory,
    before it is.
    """
    about = pq.ParquetFile(path).metadata
    check(about.num_rows, about.num_columns, str(path))
    chunks = [
        about.row_group(i).column(j)
        for i in range(about.num_row_groups)
        for j in range(about.num_columns)
    ]
    if (
        values := sum(chunk.num_values for chunk in chunks)
    ) > CELLS:  # lists hold several in a cell
        raise InputError(f"{path}: the table has {values:,} values; at most {CELLS:,} are read.")
    _check_bytes(sum(chunk.total_uncompressed_size for chunk in chunks), path)
    schema = pq.read_schema(path)
    texts = [
        field.name
        for field in schema
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    ]
    table = pq.read_table(path, read_dictionary=texts)  # a text that is repeated stands there once
    coded = [
        name
        for name in texts
        if schema.names.count(name) == 1 and pa.types.is_dictionary(table[name].type)
    ]
    _check_bytes(sum(map(_bytes, (table[name] for name in coded))), path)
    for name in coded:
        table = table.set_column(
            table.column_names.index(name),
            schema.field(name),
            table[name].cast(schema.field(name).type),
        )
    return table


def _bytes(coded: pa.ChunkedArray) -> int:
    """The bytes of a column of repeated texts once each is written out."""
    lengths = (pc.take(pc.binary_length(chunk.dictionary), chunk.indices) for chunk in coded.chunks)
    return sum(pc.sum(of_chunk).as_py() or 0 for of_chunk in lengths)


def read_feather(path: Path) -> pa.Table:
    """The table of a Feather file (Arrow's IPC). Raises InputError for one that would be too large
    in memory, before it is.
    """
    with pa.memory_map(str(path)) as file:
        if file.read(len(ARROW)) == ARROW:
            rows, size = 0, 0
            for message in MessageReader.open_stream(file):
                of_message = _extent(message)
                rows, size = rows + of_message[0], size + of_message[1]
            _check_bytes(size, path)
            check(rows, len(pa.ipc.open_file(file).schema), str(path))
    return feather.read_table(path)


def _extent(message: Message) -> tuple[int, int]:
    """Rows of a message, and bytes of its buffers unpacked: its head is a flatbuffer (Arrow's
    format/Message.fbs).

    The buffers of a compressed batch begin with their length, or -1 where one is not compressed.
    """
    if message.type not in ("record batch", "dictionary batch"):
        return 0, 0
    head = message.metadata.to_pybytes()
    batch = _at(head, _field(head, _at(head, 0), 2))
    dictionary = message.type == "dictionary batch"
    batch = _at(head, _field(head, batch, 1)) if dictionary else batch
    rows = _int64(head, _field(head, batch, 0)) if _field(head, batch, 0) else 0
    if not _field(head, batch, 3) or message.body is None:
        return 0 if dictionary else rows, len(message.body or b"")
    listed, body, size = _at(head, _field(head, batch, 2)), memoryview(message.body), 0
    for i in range(struct.unpack_from("<I", head, listed)[0]):
        start, length = struct.unpack_from("<qq", head, listed + 4 + 16 * i)
        if length >= 8:
            size += max(_int64(body, start), length - 8)
    return 0 if dictionary else rows, size


def _at(head: bytes, place: int) -> int:
    """Where an offset that stands at a place points to."""
    return int(place + struct.unpack_from("<I", head, place)[0])


def _field(head: bytes, table: int, number: int) -> int:
    """Where a field of a table stands; 0 for one that is left out."""
    fields = table - struct.unpack_from("<i", head, table)[0]
    there = 4 + 2 * number < struct.unpack_from("<H", head, fields)[0]
    offset = struct.unpack_from("<H", head, fields + 4 + 2 * number)[0] if there else 0
    return table + offset if offset else 0


def _int64(data: bytes | memoryview, place: int) -> int:
    return int(struct.unpack_from("<q", data, place)[0])


def _check_bytes(size: int, path: Path) -> None:
    if size > LARGEST:
        raise InputError(f"{path}: unpacked it has {size:,} bytes; at most {LARGEST:,} are read.")
