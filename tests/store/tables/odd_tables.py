"""Tables as people have them, drawn from a seed: written in odd but right ways, with gaps under
many signs, or broken.

`draw(seed, folder)` writes one. Of a right one it is known which rows must be left out, and that
the rest is the plain table's.
"""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq

SIGNS = ["", "NA", "nan", "NaN", "N/A", "null", "None", ".", "-", "#DIV/0!", "NULL"]
LEVELS = [
    "None",
    "nan",
    "null",
    "N/A",
    "naïve",
    "a,b",
    "a;b",
    'say "hi"',
    "two\nlines",
    "x|y",
    "-",
    "1.5.2",
    "été",
    "yes ",
]
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".XZ": lzma.compress,
}


@dataclass(frozen=True)
class Odd:
    """`complete`: the plain rows that must be used (None: the file is broken, or may be); `told`:
    what was done to it.
    """

    path: Path
    n_rows: int
    complete: pd.DataFrame | None
    told: str


def plain(rng: np.random.Generator, levels: tuple[str, str] = ("a", "b")) -> pd.DataFrame:
    """6 runs x 8 words: y against x with effects of run and word; cond, text and n vary by word."""
    run, word = (g.ravel() for g in np.meshgrid(np.arange(6), np.arange(8), indexing="ij"))
    y = (
        3
        - 0.3 * word / 4
        + rng.normal(0, 0.2, 6)[run]
        + rng.normal(0, 0.1, 8)[word]
        + rng.normal(0, 0.1, 48)
    )
    return pd.DataFrame(
        {
            "run": [f"run {r}" for r in run],
            "word": [f"w{w}" for w in word],
            "cond": [levels[w % 2] for w in word],
            "x": np.round(10 ** (word / 4), 3),
            "y": np.round(y, 4),
            "n": word + 10,
            "text": [f"text {i}" for i in range(48)],
        }
    )


def draw(seed: int, folder: Path) -> Odd:
    """One table; the same for the same seed."""
    rng = np.random.default_rng(seed)
    first, second = rng.choice(LEVELS, 2, replace=False)
    table = plain(rng, (str(first), str(second)) if rng.random() < 0.5 else ("a", "b"))
    return [right_text, right_text, right_arrow, broken_text, broken_values, broken_bytes][
        seed % 6
    ](table, rng, folder)


def right_text(table: pd.DataFrame, rng: np.random.Generator, folder: Path) -> Odd:
    """CSV and its kinds: separators, quotes, line ends, encodings, comments, compressions; gaps in
    y, x and cond.
    """
    cells, gaps = table.astype(object), pd.Series(False, index=table.index)
    sep = str(rng.choice([",", ";", "\t", "|"]))
    comma = sep == ";" and bool(rng.random() < 0.7)
    for name in ("x", "y"):
        cells[name] = [str(v).replace(".", ",") if comma else str(v) for v in table[name]]
    for name in ("x", "y", "cond"):
        for row in rng.choice(48, int(rng.integers(0, 4)), replace=False):
            cells.loc[row, name] = "" if name == "cond" else str(rng.choice(SIGNS))
            gaps[row] = True
    quoted = bool(rng.random() < 0.5)
    lines = [
        sep.join(_cell(v, sep, quoted) for v in [*row])
        for row in [list(cells), *cells.to_numpy().tolist()]
    ]
    what = [f"sep {sep!r}", "decimal commas"] if comma else [f"sep {sep!r}"]
    lines = _dressed(lines, sep, rng, what)
    end = str(rng.choice(["\n", "\r\n"]))
    text = end.join(lines) + end * int(rng.integers(0, 3))
    encoding = str(rng.choice(["utf-8", "utf-8-sig", "utf-16"] + ["cp1252"] * (not text.isascii())))
    packed, suffix = (
        str(rng.choice(list(PACKED))),
        str(rng.choice([".csv", ".CSV", ".tsv", ".txt"])),
    )
    path = folder / f"t{suffix}{packed}"
    path.write_bytes(PACKED[packed](text.encode(encoding)))
    return Odd(path, 48, table[~gaps], ", ".join([*what, encoding, repr(end), path.name]))


def _cell(value: object, sep: str, quoted: bool) -> str:
    text = str(value)
    needs = any(sign in text for sign in (sep, '"', "\n")) or (text in ("NA",) and quoted)
    return (
        f'"{text.replace(chr(34), chr(34) * 2)}"'
        if needs or (quoted and text and not _number(text))
        else text
    )


def _number(text: str) -> bool:
    return text in SIGNS or text.replace(",", ".").replace(".", "", 1).replace("-", "", 1).isdigit()


def _dressed(lines: list[str], sep: str, rng: np.random.Generator, what: list[str]) -> list[str]:
    """What people put around a table."""
    choice = int(rng.integers(0, 6))
    if choice == 0:
        what.append("comment")
        return ["# from a script; not to be edited, or so", *lines]
    if choice == 1:
        what.append("row names")
        return [lines[0], *(f'"{i}"{sep}{line}' for i, line in enumerate(lines[1:], 1))]
    if choice == 2:
        what.append("a separator at every end")
        return [line + sep for line in lines]
    if choice == 3:
        what.append("empty lines")
        return ["", *lines[:5], "", *lines[5:]]
    if choice == 4 and sep in ",;":
        what.append("sep=")
        return [f"sep={sep}", *lines]
    return lines


def right_arrow(table: pd.DataFrame, rng: np.random.Generator, folder: Path) -> Odd:
    """Parquet, Feather and JSON lines: decimals, categories, lists, structs and dates beside,
    nulls.
    """
    gaps = pd.Series(False, index=table.index)
    gaps[rng.choice(48, int(rng.integers(0, 4)), replace=False)] = True
    y = [None if gap else value for gap, value in zip(gaps, table["y"], strict=True)]
    form = str(rng.choice(["parquet", "feather", "jsonl", "PARQUET"]))
    path = folder / f"t.{form}"
    if form == "jsonl":
        rows = table.assign(y=y, toks=[[1, 2]] * 48).to_dict("records")
        rows = [{k: v for k, v in row.items() if v == v} for row in rows]
        path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
        return Odd(path, 48, table[~gaps], "JSON lines with lists")
    decimal = pa.decimal128(12, 4) if rng.random() < 0.5 else pa.float64()
    columns: dict[str, pa.Array] = {name: pa.array(table[name].tolist()) for name in table}
    decimals = [None if v is None else Decimal(str(v)) for v in y]
    columns["y"] = pa.array(decimals if pa.types.is_decimal(decimal) else y, decimal)
    columns["run"] = columns["run"].dictionary_encode() if rng.random() < 0.5 else columns["run"]
    columns["cond"] = (
        columns["cond"].dictionary_encode()
        if rng.random() < 0.5
        else columns["cond"].cast(pa.large_string())
    )
    extra = {
        "toks": pa.array([[1, 2]] * 48),
        "where": pa.array([{"a": 1}] * 48),
        "took": pa.array([1] * 48, pa.duration("ms")),
        "day": pa.array([1] * 48, pa.date32()),
        "raw": pa.array([b"a"] * 48),
        "none": pa.nulls(48),
        "id": pa.array([2**53 + i for i in range(48)]),
        "when": pa.array([1] * 48, pa.timestamp("us")),
    }
    for name in rng.choice(list(extra), 3, replace=False):
        columns[str(name)] = extra[str(name)]
    (feather.write_feather if form == "feather" else pq.write_table)(pa.table(columns), path)
    return Odd(path, 48, table[~gaps], f"{form} {decimal} with {', '.join(list(columns)[7:])}")


def broken_text(table: pd.DataFrame, rng: np.random.Generator, folder: Path) -> Odd:
    """Rows that do not fit, quotes that do not close, headers without names or with one twice, no
    header, no rows.
    """
    lines = table.replace("\n", " ", regex=True).to_csv(index=False).splitlines()
    row = int(rng.integers(1, len(lines)))
    faults: list[tuple[str, Callable[[], list[str]]]] = [
        ("a cell too many", lambda: [*lines[:row], lines[row] + ",3", *lines[row + 1 :]]),
        ("a cell too few", lambda: [*lines[:row], lines[row].rsplit(",", 1)[0], *lines[row + 1 :]]),
        ("cells too many everywhere", lambda: [lines[0], *(line + ",7" for line in lines[1:])]),
        ("trailing commas in rows", lambda: [lines[0], *(line + "," for line in lines[1:])]),
        ("an open quote", lambda: [*lines[:row], '"' + lines[row], *lines[row + 1 :]]),
        (
            "two open quotes",
            lambda: [*lines[:row], '"' + lines[row], *lines[row + 1 :], '"' + lines[-1]],
        ),
        ("a name twice", lambda: [lines[0].replace("text", "y"), *lines[1:]]),
        ("a name missing", lambda: [lines[0].replace("text", ""), *lines[1:]]),
        ("the name of y missing", lambda: [lines[0].replace(",y,", ",,"), *lines[1:]]),
        ("no header", lambda: lines[1:]),
        ("no rows", lambda: lines[:1]),
        ("one row", lambda: lines[:2]),
        ("the header again", lambda: [*lines[:row], lines[0], *lines[row:]]),
        ("a comment inside", lambda: [*lines[:row], "# here", *lines[row:]]),
        (
            "two separators",
            lambda: [*lines[:row], *(line.replace(",", ";") for line in lines[row:])],
        ),
        ("only the header has semicolons", lambda: [lines[0].replace(",", ";"), *lines[1:]]),
        ("nothing", lambda: []),
    ]
    told, fault = faults[int(rng.integers(len(faults)))]
    path = (
        folder
        / f"t{rng.choice(['.csv', '.tsv', '.txt', '.jsonl', '.parquet', '.xlsx', '.dta', '.csv.gz'], p=[0.65, *[0.05] * 7])}"
    )
    path.write_text("\n".join(fault()), encoding="utf-8")
    return Odd(path, max(len(fault()) - 1, 0), None, f"{told}, {path.name}")


def broken_values(table: pd.DataFrame, rng: np.random.Generator, folder: Path) -> Odd:
    """Values that are no numbers, infinite, huge, equal, all missing, of several types; ids that
    are nearly numbers.
    """
    cells = table.replace("\n", " ", regex=True).astype(object)
    name = str(rng.choice(["y", "x", "run", "word", "cond", "n"]))
    row = int(rng.integers(48))
    faults: dict[str, object] = {
        "a word": "timeout",
        "inf": "inf",
        "1e400": "1e400",
        "-1e308": "-1e308",
        "0": "0",
        "-1": "-1",
        "a thousand": "1,000",
        "a date": "2024-01-02",
        "true": "TRUE",
        "a long number": "9" * 30,
        "007": "007",
        "blank": " ",
        "é": "é",
        "%": "5 %",
    }
    whole = {
        "all missing": "NA",
        "all nan": "nan",
        "all equal": "7",
        "all empty": "",
        "all true": "true",
        "all None": "None",
    }
    if rng.random() < 0.3:
        told = str(rng.choice(list(whole)))
        cells[name] = whole[told]
    else:
        told = str(rng.choice(list(faults)))
        cells.loc[row if rng.random() < 0.6 else slice(row, None), name] = faults[told]
    path = folder / "t.csv"
    cells.to_csv(path, index=False)
    return Odd(path, 48, None, f"{told} in {name}")


def broken_bytes(table: pd.DataFrame, rng: np.random.Generator, folder: Path) -> Odd:
    """A good file of any form with bytes changed, taken away or put in, or cut off."""
    form = str(rng.choice(["csv", "tsv", "parquet", "feather", "jsonl", "csv.gz"]))
    path = folder / f"t.{form}"
    if form == "parquet":
        table.to_parquet(path)
    elif form == "feather":
        table.to_feather(path)
    elif form == "jsonl":
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_csv(path, index=False, sep="\t" if form == "tsv" else ",")
    content = bytearray(path.read_bytes())
    for _ in range(int(rng.integers(1, 6))):
        at, what = int(rng.integers(len(content))), int(rng.integers(4))
        if what == 0:
            content[at] = int(rng.integers(256))
        elif what == 1:
            del content[at : at + int(rng.integers(1, 30))]
        elif what == 2:
            content[at:at] = bytes(rng.choice([0, 10, 13, 34, 44, 59, 200, 255], 3).tolist())
        elif rng.random() < 0.2:
            del content[at:]
        content = content or bytearray(b"a")
    path.write_bytes(bytes(content))
    return Odd(path, -1, None, f"bytes of {path.name}")
