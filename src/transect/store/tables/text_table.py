"""The cells of a table in a text, as they are written: which sign separates them, where the header
is, and what does not fit.

Separators are comma, semicolon, tab, bar, and, in .txt and .dat files, runs of blanks. Cells may
stand in double quotes, may then hold separators, line breaks and doubled quotes. Before the header
there may be empty lines, lines that begin with #, and Excel's `sep=;`. A header that is one cell
short, over rows whose first cells are unique names, is that of R's write.table.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa
import pyarrow.csv as pa_csv

from transect.errors import InputError
from transect.store.tables import bounds

SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar", " ": "a blank"}
SEPARATOR_OF = {
    ".csv": ",",
    ".tsv": "\t",
    ".tab": "\t",
    ".txt": "\t",
    ".dat": "\t",
}  # preferred, never taken for granted
LOOKED_AT = (
    200  # rows that must have the header's number of cells for a separator to be the table's
)
ROW_NAMES = "(row names)"
_BLANKS = re.compile(r'("(?:[^"]|"")*")|[ \t]+')
_NUMBER = re.compile(r"[+-]?\d*\.?\d+([eE][+-]?\d+)?")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+\Z")

csv.field_size_limit(2**31 - 1)  # a document may be longer than the module's 131,072 characters


@dataclass(frozen=True)
class TextTable:
    """`columns` [column]: cells as written; null where NA stands without quotes. `names` may repeat
    each other.
    """

    names: list[str]
    columns: list[pa.ChunkedArray]
    separator: str
    notes: tuple[str, ...]


def read_cells(
    text: str, place: str, usual: str, *, blanks: bool = False, row_names: bool = True
) -> TextTable:
    """The cells of a table; `usual`: the separator to prefer; `blanks`: whether runs of blanks may
    separate; `row_names`: those of R.

    Raises InputError, beginning with `place`, for rows whose number of cells is not the header's,
    and for quotes that do not close.
    """
    text, notes, said = _begun(text)
    if not text.strip():
        raise InputError(f"{place}: the file is empty.")
    separator = said or _separator(text, usual, blanks, place)
    text = _joined(text, separator)
    header, body = _split(text, separator)
    header, body, more = _hashed(header, body, separator)
    names = [name.strip() for name in header]
    bounds.check(max(body.count("\n"), body.count("\r")), len(names), place)
    rows = _sample(body, separator)
    if (
        row_names
        and rows
        and all(len(row) == len(names) + 1 for row in rows)
        and _are_row_names(body, separator, len(names))
    ):
        names = [ROW_NAMES, *names]
        notes += [
            "the rows have one cell more than the header; their first cells are unique and are taken for row names"
        ]
    bare = separator == "\t" and _has_bare_quotes(body, len(names))
    notes += [*more, *["quotes do not enclose cells here; they are read as they stand"] * bare]
    columns = _parsed(body, separator, len(names), place, bare)
    return TextTable(*_named(names, columns), separator, tuple(notes))


def _begun(text: str) -> tuple[str, list[str], str]:
    """The text from its header on, what was skipped before it, and the separator that `sep=` names."""
    said, skipped = "", 0
    while match := re.match(
        r"(\s*\n)|(?:\ufeff?sep=(.)\r?\n)|(#[^\n\r]*(?:\r\n|\n|\r))(?=.)", text, re.S
    ):
        if match[3]:
            rest = text[match.end() :]
            if not rest.lstrip("\r\n").startswith("#") and _is_header(match[3], rest):
                break
            skipped += 1
        said = match[2] or said
        text = text[match.end() :]
    notes = [f"lines before the header that begin with # are left out ({skipped})"] * bool(skipped)
    return text, notes, said


def _is_header(line: str, rest: str) -> bool:
    """Whether a line that begins with # is the header: it has the cells of the next line, which
    holds a number.
    """
    for separator in (",", ";", "\t", "|"):
        after = next(csv.reader(_lines(rest.lstrip("\r\n")), delimiter=separator), [])
        if len(after) > 1 and len(line.split(separator)) == len(after):
            return any(_NUMBER.fullmatch(cell.strip()) for cell in after)
    return False


def _hashed(header: list[str], body: str, separator: str) -> tuple[list[str], str, list[str]]:
    """The header without the # that it begins with, where that makes it a name."""
    first = header[0].lstrip("#").strip()
    if header[0].startswith("#") and first and len(header) > 1:
        return (
            [first, *header[1:]],
            body,
            [f"the header begins with #; its first column is read as {first!r}"],
        )
    return header, body, []


def _separator(text: str, usual: str, blanks: bool, place: str) -> str:
    """The sign that gives every one of the first rows as many cells as the header (or one more),
    the usual one before others.
    """
    head = text[: max(text.find("\n"), 0)] or text.split("\r", 1)[0]
    candidates = {}
    for separator in [usual, *(s for s in SEPARATORS if s not in (usual, " "))]:
        rows = _sample(text, separator)
        if rows and len(rows[0]) > 1:
            candidates[separator] = Counter(len(row) - len(rows[0]) for row in rows[1:])
    for more in ({0}, {1}):
        fitting = [s for s, extra in candidates.items() if set(extra) <= more]
        if fitting:
            return fitting[0]
    if usual in candidates or not candidates:
        alone = usual not in candidates and blanks and len(head.split()) > 1
        return " " if alone else usual
    most = max(candidates, key=lambda s: candidates[s][0])
    if candidates[most][0]:
        return most  # some rows fit it: the others are named as its faults
    name = head.strip()[:60]
    raise InputError(
        f"{place}: the header {name!r} holds {SEPARATORS[most]}, the rows do not; is this table separated by {SEPARATORS[most]}? "
        "Then every row needs it; else take it out of the header."
    )


def _sample(text: str, separator: str) -> list[list[str]]:
    """The first rows that are not empty; of a text that is cut off, without the last."""
    part = text[:2_000_000]
    found = csv.reader(_lines(part), delimiter=separator, skipinitialspace=separator != "\t")
    rows = [row for row in islice(found, LOOKED_AT + 1) if row]
    return rows[:-1] if len(part) < len(text) and len(rows) <= LOOKED_AT and len(rows) > 2 else rows


def _joined(text: str, separator: str) -> str:
    """The text with one sign between cells: runs of blanks become one, blanks after each comma of
    the header go everywhere.
    """
    if separator == " ":
        lines = (_BLANKS.sub(lambda m: m[1] or " ", line).strip(" ") for line in text.splitlines())
        return "\n".join(lines) + "\n"
    head = re.split(r"[\r\n]", text, maxsplit=1)[0]
    after = re.findall(re.escape(separator) + r"( *)", head)
    if separator != "\t" and after and all(after):
        return re.sub(rf'("(?:[^"]|"")*")|({re.escape(separator)}) +', lambda m: m[1] or m[2], text)
    return text


def _split(text: str, separator: str) -> tuple[list[str], str]:
    """The cells of the header and the text below it."""
    read = 0

    def lines() -> Iterator[str]:
        nonlocal read
        for match in _LINE.finditer(text):
            read = match.end()
            yield match[0]

    header = next(csv.reader(lines(), delimiter=separator))
    return header, text[read:]


def _lines(text: str) -> Iterator[str]:
    """The lines of a text with their breaks, as the csv module needs them; no second copy of the
    text is made.
    """
    return (match[0] for match in _LINE.finditer(text))


def _are_row_names(body: str, separator: str, n: int) -> bool:
    """Whether the first cells of rows with one cell too many are unique names: words, cells in
    quotes, or 1, 2, 3, ...
    """
    rows = [row for row in csv.reader(_lines(body), delimiter=separator) if row]
    firsts = [row[0] for row in rows]
    if (
        len(firsts) < 2
        or len(set(firsts)) < len(firsts)
        or not all(firsts)
        or all(row[-1] == "" for row in rows)
    ):
        return False
    words = not any(_NUMBER.fullmatch(first) for first in firsts)
    quoted = body.lstrip().startswith('"')
    return words or quoted or firsts == [str(i) for i in range(1, len(firsts) + 1)]


def _has_bare_quotes(body: str, n: int) -> bool:
    """Whether a text with tabs has quotes that are no signs of CSV: some do not fit, and without
    them every line has n cells.
    """
    if '"' not in body:
        return False
    try:
        for _ in csv.reader(_lines(body), delimiter="\t", strict=True):
            pass
    except csv.Error:
        return all(line.count("\t") == n - 1 for line in re.split(r"\r\n|\n|\r", body) if line)
    return False


def _parsed(body: str, separator: str, n: int, place: str, bare: bool) -> list[pa.ChunkedArray]:
    """The cells by column; every row has n of them. bare: whether quotes are signs like others."""
    if '"' in body and not bare:
        _refuse_faults(body, separator, n, place)  # pyarrow reads on where a quote does not close
    names = [str(j) for j in range(n)]
    content = body.encode()
    if not content.strip(b"\r\n") and (n > 1 or not content):
        return [pa.chunked_array([], pa.string()) for _ in names]
    try:
        table = pa_csv.read_csv(
            io.BytesIO(content),
            # one thread: those of the reader may still run when a refused table ends the process
            read_options=pa_csv.ReadOptions(
                column_names=names, block_size=min(len(content) + 1, 2**28), use_threads=False
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=separator,
                quote_char=False if bare else '"',
                newlines_in_values=not bare,
                ignore_empty_lines=n > 1,
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                null_values=["NA"],
            ),
        )
    except pa.ArrowInvalid as error:
        _refuse_faults(body, separator, n, place)
        raise InputError(f"{place}: this cannot be read as a table ({error}).") from None
    return table.columns


def _refuse_faults(body: str, separator: str, n: int, place: str) -> None:
    """Raise InputError for the first row that has not n cells, or for quotes that do not close;
    line 1 is the header.
    """
    reader = csv.reader(_lines(body), delimiter=separator, strict=True)
    wrong: Counter[int] = Counter()
    first, n_rows, trailing = (0, 0), 0, True
    try:
        for row in reader:
            if row:
                n_rows += 1
                trailing = trailing and row[-1] == "" and len(row) == n + 1
                if len(row) != n:
                    first = first if wrong else (reader.line_num + 1, len(row))
                    wrong[len(row)] += 1
    except csv.Error as error:
        line = reader.line_num + 1
        raise InputError(
            f"{place}, line {line}: this is no CSV ({error}); does every quote close?"
        ) from None
    if not wrong:
        return
    sign, cells = SEPARATORS[separator], _cells(n)
    if trailing:
        raise InputError(
            f"{place}: the header has {cells}, every row {n + 1}: each ends in {sign}; take it away, or let the header end so too."
        )
    line, has = first
    raise InputError(
        f"{place}, line {line}: {_cells(has)} where the header has {cells}{_how_many(wrong, n_rows)}; a text that holds {sign} needs quotes."
    )


def _cells(n: int) -> str:
    return f"{n} cell{'s' * (n > 1)}"


def _how_many(wrong: Counter[int], n_rows: int) -> str:
    if wrong.total() == n_rows > 1:
        return (
            f", and so in every row ({n_rows})"
            if len(wrong) == 1
            else f", and no row fits it ({n_rows})"
        )
    return (
        f", and {wrong.total() - 1} more of {n_rows} rows do not fit it"
        if wrong.total() > 1
        else ""
    )


def _named(
    names: Sequence[str], columns: list[pa.ChunkedArray]
) -> tuple[list[str], list[pa.ChunkedArray]]:
    """Names for columns without one: the first holds row names; an empty one goes; others are named
    by their place, from 1.
    """
    found = []
    for j, (name, column) in enumerate(zip(names, columns, strict=True)):
        if not name and j and not any(column.to_pylist()):
            continue  # the header and every row end in a separator
        found.append((name or (f"(column {j + 1})" if j else ROW_NAMES), column))
    return [name for name, _ in found], [column for _, column in found]
