"""Tables that would not fit into memory are refused before they are built."""

import gzip
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from transect.cli.table.fit import Beside, fit_file
from transect.errors import InputError
from transect.stimuli.readers.own_file import read_stimuli
from transect.store.tables import bounds, reading

ZEROS = gzip.compress(bytes(2**24)) * 64  # 1 GiB in 1 MB
COLUMNS = ",".join(f"c{i}" for i in range(10**6))
NESTED = '{"a": ' + "[" * 150 + "]" * 150 + "}\n"


def peak() -> float:
    """The most memory [GB] of this process until now."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("t.csv", f"{COLUMNS}\n{COLUMNS}\n", r"1,000,000 columns; at most 10,000"),
        (
            "t.csv",
            "a,b\n" * 26_000_000,
            r"2[56],\d+,\d+ rows of 2 columns; at most 50,000,000 cells",
        ),
        ("t.tsv", "a\tb\n" + "1" * 51_000_000, r"line 2: a line of more than 50,000,000 bytes"),
        (
            "t.jsonl",
            "".join(f'{{"k{i}": 1}}\n' for i in range(10_001)),
            r"7,0\d\d rows of 7,0\d\d columns",
        ),
        ("t.jsonl", '{"a": 1}\n' + NESTED, r"line 2: its values are nested more than 100 deep"),
        ("t.jsonl", '{"a": ' + "[" * 100_000, r"line 1: its values are nested more than 100 deep"),
        (
            "t.jsonl",
            "{}\n" * 10_000_001,
            r"some 20,000,002 values; of JSON lines at most 20,000,000",
        ),
        ("t.jsonl", '{"a": ' + "1" * 5_000 + "}\n", r"line 1: this is no JSON"),
    ],
    ids=["columns", "rows", "line", "keys", "depth", "depth of brackets", "objects", "digits"],
)
def test_texts(tmp_path: Path, name: str, content: bytes | str, told: str) -> None:
    """As a table and as stimuli, in one sentence."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for read in (lambda: reading.read(path), lambda: read_stimuli(path, ["a"], "surprisal")):
        with pytest.raises(InputError, match=told) as error:
            read()
        assert len(str(error.value)) < 1_000


@pytest.mark.slow
def test_a_small_file_that_unpacks_to_much(tmp_path: Path) -> None:
    """A gibibyte of zeros in 1 MB."""
    (tmp_path / "t.csv.gz").write_bytes(ZEROS)
    with pytest.raises(
        InputError,
        match=r"t.csv.gz: this cannot be read \(unpacked it has more than 1,000,000,000 bytes",
    ):
        reading.read(tmp_path / "t.csv.gz")


def test_a_line_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are found wherever they begin: each of a text is compared with the limit, and the first
    that is longer is named.
    """
    monkeypatch.setattr(bounds, "LONGEST_LINE", 10)
    for lengths in ([10] * 5, [0, 3, 10, 1], [9, 9, 9, 10]):
        bounds.check_lines("\n".join("x" * n for n in lengths).encode(), "t")
    for lengths, line in (([3, 11, 2], 2), ([1, 1, 1, 1, 11], 5), ([11], 1), ([10, 10, 30, 1], 3)):
        with pytest.raises(InputError, match=f"line {line}: "):
            bounds.check_lines("\n".join("x" * n for n in lengths).encode(), "t")


def zeros(rows: int) -> pa.Table:
    return pa.table({"y": np.zeros(rows, "i1"), "x": np.zeros(rows, "i1")})


def write_feather(table: pa.Table, path: Path) -> None:
    feather.write_feather(table, str(path), compression="zstd", chunksize=len(table))


def write_parquet(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, store_schema=False)


Write = Callable[[pa.Table, Path], None]
FORMS: list[tuple[str, Write]] = [("parquet", write_parquet), ("feather", write_feather)]


@pytest.mark.parametrize(("form", "write"), FORMS, ids=["parquet", "feather"])
def test_rows_and_texts_of_files_with_types(
    tmp_path: Path, form: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """26 million rows, and one text of 10 kB 1,001 times (the limit is 10 MB here): refused by what
    the file says of itself, without unpacking it.
    """
    rows, texts = tmp_path / f"rows.{form}", tmp_path / f"texts.{form}"
    write(zeros(26_000_000), rows)
    repeated = pa.array(["x" * 10_000]).dictionary_encode().take(pa.array([0] * 1_001))
    write(pa.table({"y": repeated if form == "parquet" else repeated.cast(pa.string())}), texts)
    assert rows.stat().st_size + texts.stat().st_size < 1_000_000
    before = peak()
    with pytest.raises(InputError, match=r"26,000,000 rows of 2 columns; at most 50,000,000 cells"):
        reading.read(rows)
    monkeypatch.setattr(bounds, "LARGEST", 10_000_000)
    with pytest.raises(
        InputError, match=r"unpacked it has 10,01\d,\d\d\d bytes; at most 10,000,000"
    ):
        reading.read(texts)
    assert peak() - before < 0.1


def test_a_list_holds_several_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The values of a column of lists are counted, not its rows."""
    path = tmp_path / "t.parquet"
    monkeypatch.setattr(bounds, "CELLS", 1_000)
    pq.write_table(pa.table({"y": pa.FixedSizeListArray.from_arrays(np.zeros(1_200), 400)}), path)
    with pytest.raises(InputError, match=r"the table has 1,200 values"):
        reading.read(path)


@pytest.mark.parametrize(("form", "write"), FORMS, ids=["parquet", "feather"])
def test_what_is_within_the_limits_is_read_as_it_is(
    tmp_path: Path, form: str, write: Write
) -> None:
    """Repeated texts, long ones, missing ones, categories, several batches: as pyarrow alone reads
    them.
    """
    words = pa.array(["a", None, "", "NA", "a", "é"] * 500)
    made = pa.table(
        {
            "text": words,
            "large": words.cast(pa.large_string()),
            "level": words.dictionary_encode(),
            "number": pa.array([1.5, None, 2.0] * 1000),
            "none": pa.nulls(3000),
        }
    )
    path = tmp_path / f"t.{form}"
    pq.write_table(made, path) if form == "parquet" else write(made, path)
    found = bounds.read_parquet(path) if form == "parquet" else bounds.read_feather(path)
    plain = pq.read_table(path) if form == "parquet" else feather.read_table(path)
    assert found.equals(plain, check_metadata=True)


def test_batches_of_a_feather_file_are_summed(tmp_path: Path) -> None:
    """Rows and bytes of many batches, compressed or not, by any compression."""
    for compression in ("zstd", "lz4", "uncompressed"):
        path = tmp_path / f"{compression}.feather"
        feather.write_feather(
            zeros(1_000_000), str(path), compression=compression, chunksize=70_000
        )
        with pa.memory_map(str(path)) as file:
            file.read(8)
            extents = [bounds._extent(m) for m in bounds.MessageReader.open_stream(file)]
        assert sum(rows for rows, _ in extents) == 1_000_000
        assert 2_000_000 <= sum(size for _, size in extents) < 2_100_000


def test_a_tree_is_read_with_the_limits_too(tmp_path: Path) -> None:
    """--relatedness: a deep tree is read, what is no text is not."""
    frame = pd.DataFrame({"y": np.arange(24.0) ** 1.5 % 7, "g": list("abcdef") * 4})
    frame.to_csv(tmp_path / "t.csv", index=False)
    deep = "(" * 20_001 + "a:1,b:1)" + "".join(f"i{i}:1)" for i in range(20_000)) + ":1"
    deep = f"({deep},c:1,d:1,e:1,f:1);"
    (tmp_path / "tree.nwk").write_text(deep)
    _, found = fit_file(
        tmp_path / "t.csv", "y ~ 1 + (1 | g)", Beside(relatedness=tmp_path / "tree.nwk", of="g")
    )
    assert found["relatedness"]["taken_for"] == "a tree"
    (tmp_path / "tree.nwk").write_bytes(b"(a:1,b\0:1);")
    with pytest.raises(InputError, match=r"tree.nwk: .*holds bytes of 0"):
        fit_file(
            tmp_path / "t.csv", "y ~ 1 + (1 | g)", Beside(relatedness=tmp_path / "tree.nwk", of="g")
        )
