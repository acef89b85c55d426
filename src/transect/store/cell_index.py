"""The index of a store: the records of all its files in one table, kept so that planning need not
open each of them.

A kept row is believed only while its file is the one that it was read from: modified and changed at
the same times, as large, and the same inode. So a content that is exchanged is read, also where its
modified time was put back. And no kept row is believed unless the whole table has the digest that
it was written with: rows that somebody edited hide no cell and invent none, they are read again.
(Whoever may write the files of cells themselves is believed; `transect verify` reads those alone,
and the values with their digests.)
"""

import hashlib
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from transect.errors import InputError
from transect.store.files.whole_files import PART, write_whole

NAME = "index.parquet"
OF_FILE = ["file", "modified", "stamp"]  # columns besides those of a record
DIGEST = b"transect index"
# the records of a file (its path within the store), one row each
Read = Callable[[str], pd.DataFrame]


def read(
    root: Path, columns: Iterable[str], records: Read, kept: bool = True
) -> tuple[pd.DataFrame, list[str]]:
    """The records of all files, in the order in which they were written, and a sentence for each
    file that is damaged: it is passed over.

    columns: of a record. kept: whether what was kept may be used, and is kept anew.
    """
    wanted = [*columns, *OF_FILE]
    files = _files(root)
    known = _kept(root / NAME, wanted) if kept else pd.DataFrame(columns=wanted)
    stamps = {file: stamp for file, (_, stamp) in files.items()}
    known = known[known["stamp"] == known["file"].map(stamps)]
    read_before, new, faults = set(known["file"]), [], []
    for file, (modified, stamp) in sorted(files.items()):
        if file not in read_before:
            try:
                new.append(records(file).assign(file=file, modified=modified, stamp=stamp)[wanted])
            except InputError as error:
                faults.append(str(error))
    if new:
        known = pd.concat([known, *new] if len(known) else new, ignore_index=True)
        if kept:
            with suppress(OSError):  # a store that may only be read is planned from as well
                _keep(root / NAME, known)
    return known, faults


def _files(root: Path) -> dict[str, tuple[int, str]]:
    """File of cells -> when it was modified, and its stamp."""
    files = {}
    # a revision may be several folders deep (refs/pr/1)
    for file in (root / "cells").rglob("*.parquet"):
        if file.name.startswith(PART):  # another job's, or what a killed one left
            continue
        with suppress(OSError):  # gone meanwhile, or a link that leads nowhere
            facts = file.stat()
            if stat.S_ISREG(facts.st_mode):
                times = f"{facts.st_mtime_ns} {facts.st_ctime_ns}"
                stamp = f"{times} {facts.st_size} {facts.st_ino}"
                files[str(file.relative_to(root))] = (facts.st_mtime_ns, stamp)
    return files


def _kept(path: Path, columns: list[str]) -> pd.DataFrame:
    """What was kept, where it is as it was written and of this version; no row otherwise."""
    with suppress(OSError, ValueError, TypeError, KeyError, pa.ArrowException):
        table = pq.read_table(path)
        records = table.to_pandas()
        written = (table.schema.metadata or {}).get(DIGEST)
        if list(records) == columns and written == _digest(records):
            return records
    return pd.DataFrame(columns=columns)


def _keep(path: Path, table: pd.DataFrame) -> None:
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    arrow = arrow.replace_schema_metadata(
        {**(arrow.schema.metadata or {}), DIGEST: _digest(arrow.to_pandas())}
    )
    write_whole(
        path, lambda part: pq.write_table(arrow, part, compression="zstd", write_page_checksum=True)
    )


def _digest(table: pd.DataFrame) -> bytes:
    """sha256 over the rows, as hexadecimal digits."""
    rows = pd.util.hash_pandas_object(table, index=False).to_numpy()
    return hashlib.sha256(repr(list(table)).encode() + rows.tobytes()).hexdigest().encode()
