"""Files of items: texts stay what they are, and what is wrong is told with its line."""

import gzip
import json
from pathlib import Path

import pytest

from transect.errors import InputError
from transect.stimuli.readers.own_file import parse_names, read_stimuli


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(text.encode("utf-8"))
    return path


def test_texts_that_look_like_something_else(tmp_path: Path) -> None:
    """ "NA", "null", "007", an empty cell and a date are texts: nothing is converted, nothing
    becomes missing.
    """
    texts = ["NA", "null", "007", "", "2020-01-01", "nan"]
    table = written(tmp_path, "a.csv", "text\n" + "\n".join(t or '""' for t in texts) + "\n")
    lines = written(tmp_path, "a.jsonl", "\n".join(json.dumps({"text": t}) for t in texts))
    for path in (table, lines):
        items = read_stimuli(path, ["text"], "surprisal")
        assert items["text"].tolist() == texts and items["item"].tolist() == list("012345")


def test_quotes_commas_and_line_breaks(tmp_path: Path) -> None:
    """A text in quotes may hold all of them, and a byte-order mark at the start is no part of the
    first column's name.
    """
    path = written(tmp_path, "a.csv", '\ufeffitem,text\r\none,"a, ""b""\nc"\r\n')
    assert read_stimuli(path, ["text"], "x").to_dict("records") == [
        {"item": "one", "text": 'a, "b"\nc'}
    ]


def test_a_compressed_file(tmp_path: Path) -> None:
    """items.jsonl.gz is read as items.jsonl is."""
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "a"}\n'))
    assert read_stimuli(path, ["text"], "x")["text"].tolist() == ["a"]


def test_a_document_may_be_long(tmp_path: Path) -> None:
    """A quarter of a million characters in one cell of CSV."""
    path = written(tmp_path, "a.csv", "text\n" + "word " * 50_000)
    assert len(read_stimuli(path, ["text"], "x")["text"][0]) == 250_000


def test_blimp_names_its_items(tmp_path: Path) -> None:
    """UID-pairID, as in the files of Warstadt et al. (2020)."""
    path = written(
        tmp_path,
        "a.jsonl",
        '{"sentence_good": "a", "sentence_bad": "b", "UID": "order", "pairID": "7"}',
    )
    assert read_stimuli(path, ["sentence_good"], "x")["item"].tolist() == ["order-7"]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.yaml", "text\na\n", "ends in .jsonl, .ndjson, .csv, .tsv, .tab, .txt"),
        ("a.xlsx", "text\na\n", "save its sheet as 'CSV UTF-8'"),
        ("a.csv", "", "there are no items"),
        ("a.csv", "text\n", "there are no items"),
        (
            "a.csv",
            "item,txt\n1,a\n",
            "no column 'text', which surprisal reads; there are item, txt.* Did you mean 'txt'",
        ),
        (
            "a.csv",
            "item,text\n1,a,b\n",
            "line 2: 3 cells where the header has 2 cells; a text that holds a comma needs quotes",
        ),
        ("a.csv", "text,text\na,b\n", "the column 'text' stands there twice"),
        ("a.csv", "item,text\n1,a\n1,b\n", "the item '1' stands there more than once"),
        ("a.jsonl", '{"text": "a"}\n{"text": "b"\n', "line 2: this is no JSON"),
        ("a.jsonl", '["a"]\n', "line 1: a line must be an object"),
        ("a.jsonl", '{"text": 3}\n', "text of item 0 .* is 3; it must be a text"),
        ("a.jsonl.gz", "not gzip", "this cannot be read"),
        ("a.csv", "good;bad\na\nb\n", "is this table separated by a semicolon"),
        (
            "a.csv",
            "text\nThe cat, sat\nA dog, ran\n",
            "2 cells where the header has 1 cell, and so in every row",
        ),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, name: str, text: str, told: str) -> None:
    """One sentence with file, line and what is allowed."""
    with pytest.raises(InputError, match=told) as error:
        read_stimuli(written(tmp_path, name, text), ["text"], "surprisal")
    assert str(error.value).startswith(f"--stimuli {tmp_path / name}") and "\n" not in str(
        error.value
    )


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    """Latin-1 is not guessed: a wrong letter would be scored. How to mend it is said."""
    path = tmp_path / "a.csv"
    path.write_bytes("text\nniño\n".encode("latin-1"))
    with pytest.raises(
        InputError,
        match=r"line 2: this cannot be read as UTF-8 text; save it as UTF-8.* iconv -f WINDOWS-1252",
    ):
        read_stimuli(path, ["text"], "x")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "item;text;note\n007;Well, no;x\n8;NA;\n"),
        ("a.TSV", "item\ttext\tnote\n007\tWell, no\tx\n8\tNA\t\n"),
        ("a.txt", "item\ttext\tnote\r\n007\tWell, no\tx\r\n8\tNA\t\r\n"),
        ("a.csv", 'item, text, note\n007, "Well, no", x\n8, NA, \n'),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_as_people_have_them(tmp_path: Path, name: str, text: str, encoding: str) -> None:
    """Semicolons (Excel in half of Europe), tabs, blanks after commas, UTF-16; ids and NA stay as
    they are written.
    """
    (tmp_path / name).write_bytes(text.encode(encoding))
    items = read_stimuli(tmp_path / name, ["text"], "surprisal")
    assert items.to_dict("list") == {
        "item": ["007", "8"],
        "text": ["Well, no", "NA"],
        "note": ["x", ""],
    }


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    """sentence_good=good: the measure reads its own name, the file keeps its."""
    path = written(tmp_path, "a.csv", "good,bad,id\na,b,x1\nc,d,x2\n")
    named = parse_names(["sentence_good=good", "sentence_bad = bad", "item=id"])
    items = read_stimuli(path, ["sentence_good", "sentence_bad"], "minimal_pair", named)
    assert items["sentence_good"].tolist() == ["a", "c"] and items["item"].tolist() == ["x1", "x2"]
    assert items["good"].tolist() == ["a", "c"]  # for --keep


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("sentence_good", "write NAME=COLUMN"),
        (
            "sentence_god=good",
            "minimal_pair reads sentence_good, and item. Did you mean 'sentence_good'",
        ),
        (
            "sentence_good=goods",
            "no column 'goods' in .*; there are good, item. Did you mean 'good'",
        ),
        ("item=good", "the file has a column 'item' as well"),
    ],
)
def test_other_names_that_do_not_fit(tmp_path: Path, given: str, told: str) -> None:
    """What is there, and the nearest."""
    path = written(tmp_path, "a.csv", "good,item\na,1\n")
    with pytest.raises(InputError, match=told):
        read_stimuli(path, ["sentence_good"], "minimal_pair", parse_names([given]))


def test_a_field_that_a_line_lacks_is_empty(tmp_path: Path) -> None:
    """The measure refuses that item and keeps the others."""
    path = written(tmp_path, "a.jsonl", '{"text": "a"}\n{"other": "b"}\n{"text": null}\n')
    assert read_stimuli(path, ["text"], "x")["text"].tolist() == ["a", "", ""]


def test_an_empty_line_of_one_column_is_an_empty_text(tmp_path: Path) -> None:
    """As an empty cell is; beside other columns an empty line is no row."""
    path = written(tmp_path, "a.csv", "text\na\n\nb\n")
    assert read_stimuli(path, ["text"], "x")["text"].tolist() == ["a", "", "b"]
    path = written(tmp_path, "b.csv", "item,text\n1,a\n\n2,b\n")
    assert read_stimuli(path, ["text"], "x")["text"].tolist() == ["a", "b"]
