"""Tables are read by how their name ends, as people have them, and refused in one sentence."""

import bz2
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from transect.errors import InputError
from transect.store.tables.reading import LeftOut, TableFile, json_text, p_text, read

FRAME = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"], "c": [0.5, 1.5, 2.25]})


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("t.csv", content)
    return file.getvalue()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zip": zipped,
}


def table(folder: Path, text: str | bytes, name: str = "t.csv") -> TableFile:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(path)


@pytest.mark.parametrize("packed", list(PACKED))
@pytest.mark.parametrize(
    ("suffix", "sep"),
    [(".csv", ","), (".tsv", "\t"), (".txt", "\t"), (".csv", ";"), (".TXT", "|"), (".dat", " ")],
)
def test_text_is_read_whatever_separates_its_cells(
    suffix: str, sep: str, packed: str, tmp_path: Path
) -> None:
    """The same table from each, compressed or not."""
    content = PACKED[packed](FRAME.to_csv(sep=sep, index=False).encode())
    found = table(tmp_path, content, f"v1.2{suffix}{packed}")
    pd.testing.assert_frame_equal(found.frame, FRAME)
    assert not found.notes


@pytest.mark.parametrize("name", ["t.parquet", "T.PARQUET", "t.feather"])
def test_arrow_files_are_read(name: str, tmp_path: Path) -> None:
    """Parquet and Feather."""
    (FRAME.to_feather if "feather" in name else FRAME.to_parquet)(tmp_path / name)
    pd.testing.assert_frame_equal(read(tmp_path / name).frame, FRAME)


def test_json_lines_are_a_table(tmp_path: Path) -> None:
    """Numbers, text, true and false; a field that a line lacks is missing."""
    found = table(
        tmp_path,
        '{"y": 1, "g": "NA", "ok": true}\n{"y": 2.5, "g": "b", "ok": false}\n{"g": "c"}\n',
        "t.jsonl",
    )
    assert found.frame["y"].tolist()[:2] == [1.0, 2.5] and found.frame["g"].tolist() == [
        "NA",
        "b",
        "c",
    ]
    assert found.left_out(["y", "g"]) == [LeftOut("y", "null", 1)]


@pytest.mark.parametrize("name", ["t.csv.bak", "t.parquet.gz", "t", "t.rds"])
def test_other_endings_are_refused(name: str, tmp_path: Path) -> None:
    """A name that only holds .csv is no CSV file."""
    with pytest.raises(InputError, match="a table ends in"):
        table(tmp_path, "a,b\n1,2\n", name)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("t.xlsx", b"PK\x03\x04", "a workbook is not read; save its sheet as 'CSV UTF-8'"),
        ("t.csv", b"PK\x03\x04rest", "this is no text but an Excel workbook"),
        ("t.csv", b"\xd0\xcf\x11\xe0rest", "an old Excel workbook"),
        ("t.csv", gzip.compress(b"a,b\n1,2\n", mtime=0), r"let its name end in \.gz"),
        ("t.csv", b"PAR1....", r"name it \.parquet"),
        ("t.csv", b"<!doctype html><html>", "a page of the web"),
        ("t.csv.gz", b"a,b\n1,2\n", "this cannot be read"),
        ("t.csv.zip", b"a,b\n1,2\n", "this cannot be read"),
        ("t.parquet", b"a,b\n1,2\n", "cannot be read as parquet"),
        ("t.csv", b"", "the file is empty"),
        ("t.csv", b"a,b\n1,2\n3,\x00\n", "line 3: this is no text, it holds bytes of 0"),
        ("t.jsonl", b"[1]\n", "line 1: a line must be an object"),
    ],
)
def test_what_only_has_the_name_is_told(
    name: str, content: bytes, told: str, tmp_path: Path
) -> None:
    """What it is instead, and how to come by a table."""
    with pytest.raises(InputError, match=told) as error:
        table(tmp_path, content, name)
    assert "\n" not in str(error.value)


def test_a_near_name_is_offered(tmp_path: Path) -> None:
    """A file that is not there, beside one of nearly its name."""
    FRAME.to_csv(tmp_path / "scores.csv")
    with pytest.raises(InputError, match=r"Did you mean 'scores\.csv'"):
        read(tmp_path / "score.csv")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_unicode_is_read_in_any_form(encoding: str, end: str, tmp_path: Path) -> None:
    """With and without byte-order mark, and with the line ends of any system."""
    found = table(tmp_path, end.join(["y,mot", "1,été", "2,niño", ""]).encode(encoding))
    assert found.frame.to_dict("list") == {"y": [1, 2], "mot": ["été", "niño"]}


def test_other_bytes_are_a_guess_that_is_said(tmp_path: Path) -> None:
    """Latin-1 is read as Windows-1252, with the word to look at."""
    found = table(tmp_path, "y,mot\n1,a\n2,niño\n".encode("latin-1"))
    assert found.frame["mot"].tolist() == ["a", "niño"]
    assert "read as Windows-1252, e.g. '2,niño' in line 3" in found.notes[0]


def test_broken_utf8_is_no_other_encoding(tmp_path: Path) -> None:
    """A file with right UTF-8 letters and one wrong byte is refused with the line."""
    with pytest.raises(InputError, match="line 3: this is UTF-8 with a broken character"):
        table(tmp_path, "y,mot\n1,é\n2,".encode() + b"\xe9\n")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("y, x, g\n1, 2.5, a\n", "t.csv"),
        ('y, x, g\n1, 2.5, "a"\n', "t.csv"),
        ("# made by a script, on Monday, late\ny,x,g\n1,2.5,a\n", "t.csv"),
        ("# one\n# two\n\ny;x;g\n1;2,5;a\n", "t.csv"),
        ("sep=;\ny;x;g\n1;2,5;a\n", "t.csv"),
        ("#y\tx\tg\n1\t2.5\ta\n", "t.tsv"),
        ("y  x    g\n1  2.5  a\n", "t.txt"),
        ("y,x,g,\n1,2.5,a,\n", "t.csv"),
        ("y\tx\tg\n1\t2,5\ta\n", "t.csv"),
        ("\n\ny,x,g\n\n1,2.5,a\n\n", "t.csv"),
    ],
)
def test_what_people_add_to_a_table(text: str, name: str, tmp_path: Path) -> None:
    """Blanks after commas, lines with #, Excel's sep=, aligned columns, a comma at every end, empty
    lines.
    """
    assert table(tmp_path, text, name).frame.to_dict("list") == {"y": [1], "x": [2.5], "g": ["a"]}


def test_quotes_of_a_table_without_quoting(tmp_path: Path) -> None:
    """Tabs, and quotes that belong to the text: they stay, and it is said."""
    found = table(tmp_path, 'y\tg\n1\t"Hi," she said\n2\t"b"\n', "t.tsv")
    assert found.frame["g"].tolist() == ['"Hi," she said', '"b"']
    assert found.notes == ("quotes do not enclose cells here; they are read as they stand",)


def test_a_comma_in_the_header_of_a_semicolon_table(tmp_path: Path) -> None:
    """The separator is the one that every row has as often as the header."""
    found = table(tmp_path, "y;x, scaled;g\n1,5;2,5;a\n2,5;3,5;b\n")
    assert found.frame.to_dict("list") == {
        "y": [1.5, 2.5],
        "x, scaled": [2.5, 3.5],
        "g": ["a", "b"],
    }


def test_cells_in_quotes_hold_anything(tmp_path: Path) -> None:
    """Separators, line breaks, doubled quotes; blanks after a separator inside quotes stay."""
    found = table(tmp_path, 'y, g\n1, "a, ""b""\nc"\n2, "d,  e"\n')
    assert found.frame["g"].tolist() == ['a, "b"\nc', "d,  e"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "item,score,len\n0,0.41,5,3\n0,0.22,4,3\n1,0.3,4,1\n",
            "4 cells where the header has 3 cells, and so in every row",
        ),
        ("y,x,g\n1,2,a,\n3,4,b,\n", "the header has 3 cells, every row 4: each ends in a comma"),
        ("y,x,g\n1,2,a\n3,4\n5,6,b\n", "line 3: 2 cells where the header has 3"),
        (
            "y,x,g\n1,2,a\n3,4,b,c\n3,4,b,c\n",
            "line 3: 4 cells .* and 1 more of 3 rows do not fit it",
        ),
        ('y,g\n1,a\n2,"b\n3,c\n', r"line 4: this is no CSV .* does every quote close\?"),
        ('y,g\n1,a\n2,"b\n3,"c\n4,d\n', "this is no CSV"),
        ("y, g\n1,a, b\n", "line 2: 3 cells where the header has 2 cells"),
        ("y,g\n1;a\n2;b\n", "line 2: 1 cell where the header has 2 cells, and so in every row"),
        (
            "y;g\n1\n2\n",
            "holds a semicolon, the rows do not; is this table separated by a semicolon?",
        ),
        ("y g\n1\n2\n", "one column, 'y g', whose name holds a blank; is it separated by a blank?"),
    ],
)
def test_rows_that_do_not_fit_the_header_are_refused(text: str, told: str, tmp_path: Path) -> None:
    """With the numbers of cells in both and the line; no cell moves to another column."""
    with pytest.raises(InputError, match=told) as error:
        table(tmp_path, text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        '"y","x"\n"1",0.5,"a"\n"2",1.5,"b"\n',
        "y x\nr1 0.5 a\nr2 1.5 b\n",
        '"y" "x"\n"7" 0.5 "a"\n"9" 1.5 "b"\n',
    ],
)
def test_row_names_of_r_are_read(text: str, tmp_path: Path) -> None:
    """write.table writes a header one cell short; the names are unique."""
    found = table(tmp_path, text, "t.txt")
    assert found.frame["y"].tolist() == [0.5, 1.5] and found.frame["x"].tolist() == ["a", "b"]
    assert "row names" in found.notes[0]


def test_columns_of_one_name_are_refused_where_used(tmp_path: Path) -> None:
    """A name that stands twice tells no column."""
    found = table(tmp_path, "y,x,x\n1,2,3\n4,5,6\n")
    found.check(["y"])
    with pytest.raises(
        InputError, match="the column 'x' cannot be used: it stands in the header 2 times"
    ):
        found.check(["y", "x"])


def test_every_row_left_out_is_counted_once(tmp_path: Path) -> None:
    """By its first column and sign in the order asked for: the sum is the number of incomplete
    rows.
    """
    found = table(tmp_path, "y,x,g\n1,NA,a\nnan,NA,b\n.,2,\n4,,NA\n5,3,None\n6,4,null\n")
    assert [str(part) for part in found.left_out(["y", "x", "g"])] == [
        "1 row: y is nan",
        "1 row: y is .",
        "1 row: x is NA",
        "1 row: x is empty",
    ]
    assert found.frame[["y", "x", "g"]].isna().any(axis=1).sum() == 4
    assert found.left_out(["g"]) == [LeftOut("g", "empty", 1), LeftOut("g", "NA", 1)]


def test_decimal_commas_are_read_and_said(tmp_path: Path) -> None:
    """Excel's CSV in half of Europe: 1,5 under semicolons is 1.5; whole numbers beside them stay
    whole.
    """
    found = table(tmp_path, "y;x;n\n1,5;-0,25;3\n2;1,5e3;4\n")
    assert found.frame.to_dict("list") == {"y": [1.5, 2.0], "x": [-0.25, 1500.0], "n": [3, 4]}
    assert found.notes == ("decimal commas are read: 1,5 is one and a half",)


def test_commas_are_no_decimal_signs_beside_points(tmp_path: Path) -> None:
    """1,000 beside 0.5 is a thousand: text with a note, not 1."""
    found = table(tmp_path, "y;n\n0.5;1,000\n0.25;2,500\n")
    assert found.frame["n"].tolist() == ["1,000", "2,500"]
    assert found.notes_on(["n"]) == [
        "the column 'n': it holds numbers with separators, e.g. '1,000', which are read as text; write them without"
    ]


@pytest.mark.parametrize("value", ["1,000", "1,234.5", "1'000", "12 %", "0,5"])
def test_numbers_with_separators_have_one_note(value: str, tmp_path: Path) -> None:
    """In a comma-separated file they are text, as in R; one note, for who takes the column as a
    number.
    """
    found = table(tmp_path, f'y,x,g\n1,"{value}",a\n2,"{value}",b\n')
    assert found.notes_on(["x"])[0].startswith(
        f"the column 'x': it holds numbers with separators, e.g. {value!r}, which"
    )
    assert not found.notes_on(["y", "g"])


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (("70M", "1.4B"), "it holds numbers with units, e.g. '70M'"),
        (("12 ms", "13 ms"), "it holds numbers with units, e.g. '12 ms'"),
        (("2024-01-02", "2024-01-03"), "it holds dates or times"),
        (("70", "large"), "it holds numbers, but 'large' is none"),
        (("small", "large"), ""),
        (("1st", "2nd"), ""),
    ],
)
def test_text_that_may_be_meant_as_numbers(
    values: tuple[str, str], note: str, tmp_path: Path
) -> None:
    """One note each."""
    found = table(tmp_path, f"y,x\n1,{values[0]}\n2,{values[1]}\n").notes_on(["x"])
    assert len(found) == bool(note) and all(note in text for text in found)


def test_a_table_in_memory_counts_what_is_missing() -> None:
    """`TableFile.of` knows no signs."""
    assert TableFile.of(pd.DataFrame({"y": [1.0, np.nan]})).left_out(["y"]) == [
        LeftOut("y", "missing", 1)
    ]


def test_a_p_is_never_0() -> None:
    """Four decimals, a power of ten, and a bound where the distribution's tail has ended."""
    assert [p_text(p) for p in (0.01234, 1.23e-7, 0.0)] == ["0.0123", "1.2e-07", "<1e-300"]


def test_json_has_no_words_of_its_own() -> None:
    """What is not finite is null, however deep."""
    assert json.loads(json_text({"a": [float("nan"), (1.5, float("inf"))], "b": "NaN"})) == {
        "a": [None, [1.5, None]],
        "b": "NaN",
    }
