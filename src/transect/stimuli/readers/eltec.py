"""ELTeC, the European Literary Text Collection (1840-1920): from its TEI files to plain text, one
paragraph per line.

Text of a novel: every heading, paragraph and verse line of text/body, in the order in which they
begin; notes, figures and references dropped; runs of white space made one space. A quotation that
holds no paragraph or line is a line of its own where it stands outside a paragraph. A verse inside
a paragraph stands in the paragraph and again line by line, as in the texts that the checksums
describe. The novels were taken in a seeded random order (seed 1840) until 6 million words; the last
whole novels, about 8 % of the words, are held out. eltec.csv beside this file lists them in that
order with the sha256 of each text. Source: Schoech, Patras, Erjavec and Santos (2021), ELTeC; texts
in the public domain, markup CC BY 4.0.
"""

import csv
import json
from functools import partial
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from transect.errors import InputError
from transect.store.files import unpacking
from transect.store.sources import Source, digest, fetch

LISTED = Path(__file__).with_suffix(".csv")
BLOCKS = {"head", "p", "l"}
DROPPED = {"note", "figure", "ref"}


class Novel(NamedTuple):
    id: str
    text: str


def novels(source: Source) -> list[Novel]:
    """The novels of a declared source: one JSON object per line with id and text; `language` and
    `split` name its rows of eltec.csv.
    """
    content = fetch(
        source,
        from_mirror=canonical,
        from_url=partial(derive, language=source["language"], split=source["split"]),
    )
    return [Novel(**json.loads(line)) for line in content.read_text(encoding="utf-8").splitlines()]


def canonical(lines: bytes) -> bytes:
    """JSON lines with id, text and further fields -> id and text only, the form that the declared
    sha256 describes.
    """
    entries = (json.loads(line) for line in lines.decode("utf-8").split("\n") if line)
    return _jsonl([Novel(entry["id"], entry["text"]) for entry in entries])


def derive(archive: bytes, *, language: str, split: str, listed: Path = LISTED) -> bytes:
    """The zip archive of an ELTeC repository -> JSON lines of the listed novels.

    Raises InputError for a novel that the archive lacks or whose text is not the declared one.
    """
    with listed.open(encoding="utf-8", newline="") as table:
        wanted = {
            r["novel"]: r["sha256"]
            for r in csv.DictReader(table)
            if (r["language"], r["split"]) == (language, split)
        }
    try:
        files = unpacking.archive(archive)
    except unpacking.Unreadable as error:
        raise InputError(
            f"The archive of ELTeC-{language} is not a zip file, or too large: {error}."
        ) from None
    members = {
        Path(name).stem: name
        for name in files.namelist()
        if "/level1/" in name and name.endswith(".xml")
    }
    texts = []
    for name, sha256 in wanted.items():
        if name not in members:
            raise InputError(
                f"The archive of ELTeC-{language} has no level1/{name}.xml, which the {split} texts need."
            )
        text = plain_text(files.read(members[name]))
        if (actual := digest(text.encode("utf-8"))) != sha256:
            raise InputError(
                f"The text of {name} in the archive of ELTeC-{language} has sha256 {actual[:12]}..., not the declared "
                f"{sha256[:12]}...; a mirror with the declared texts can be used instead."
            )
        texts.append(Novel(name, text))
    return _jsonl(texts)


def plain_text(tei: bytes) -> str:
    """A TEI document -> its text, one paragraph per line, without a final line break."""
    lines: list[str] = []
    for text in ElementTree.fromstring(tei):
        if _tag(text) == "text":
            for body in text:
                if _tag(body) == "body":
                    _collect(body, lines, in_paragraph=False)
    return "\n".join(lines)


def _collect(element: ElementTree.Element, lines: list[str], in_paragraph: bool) -> None:
    for child in element:
        tag = _tag(child)
        if tag in DROPPED:
            continue
        bare_quote = (
            tag == "quote" and not in_paragraph and not any(_tag(e) in BLOCKS for e in child.iter())
        )
        if (tag in BLOCKS or bare_quote) and (line := " ".join(_text(child).split())):
            lines.append(line)
        _collect(child, lines, in_paragraph or tag in BLOCKS)


def _text(element: ElementTree.Element) -> str:
    """All characters inside an element, without those of notes, figures and references."""
    parts = [element.text or ""]
    for child in element:
        if _tag(child) not in DROPPED:
            parts.append(_text(child))
        parts.append(child.tail or "")
    return "".join(parts)


def _tag(element: ElementTree.Element) -> str:
    """The element's name without its namespace; comments and processing instructions have none."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _jsonl(entries: list[Novel]) -> bytes:
    return "".join(
        json.dumps(novel._asdict(), ensure_ascii=False) + "\n" for novel in entries
    ).encode("utf-8")
