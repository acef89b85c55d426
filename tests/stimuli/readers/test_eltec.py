"""transect.stimuli.readers.eltec: TEI to plain text, and the list of novels."""

import csv
import hashlib
import io
import json
import os
import zipfile
from collections import Counter

import pytest

from transect.errors import InputError
from transect.stimuli import novels_heldout
from transect.stimuli.corpora import novels
from transect.stimuli.readers import eltec

# The shapes that ELTeC level 1 has: front matter, headings, inline markup, page breaks, notes,
# verse, quotations.
TEI = """<?xml version="1.0" encoding="UTF-8"?>
<TEI xmlns="http://www.tei-c.org/ns/1.0" xml:id="ENG0"><teiHeader><p>header</p></teiHeader>
<text><front><div><p>title page</p></div></front>
<body><pb n="1"/><div type="chapter"><head>CHAPTER  I.</head><!-- a comment -->
  <p>There was nothing so <hi>very</hi>
     remarkable<note><p>not this</p></note> in <pb n="2"/> that; neither of you
     nesh <ref target="#n">[1]</ref> folk.</p>
  <quote>Alice's Right Foot, <emph>Esq.</emph></quote>
  <quote><l>How doth the little</l><l> crocodile </l><label>LEWIS.</label></quote>
  <p>She said: <quote><l>Love is</l> <l>blind</l></quote> and <quote>left</quote>.</p>
  <p> </p><figure><p>caption</p></figure><trailer>THE END</trailer></div></body>
<back><div><p>advertisement</p></div></back></text></TEI>"""
LINES = [
    "CHAPTER I.",
    "There was nothing so very remarkable in that; neither of you nesh folk.",
    "Alice's Right Foot, Esq.",
    "How doth the little",
    "crocodile",
    "She said: Love is blind and left.",
    "Love is",
    "blind",
]


def archive(**files: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as written:
        for name, content in files.items():
            written.writestr(f"ELTeC-eng-0/level1/{name}.xml", content)
            written.writestr(f"ELTeC-eng-0/level0/{name}.xml", "<other/>")
    return packed.getvalue()


def listing(tmp_path, sha256: str):
    path = tmp_path / "listed.csv"
    path.write_text(
        f"language,split,novel,words,sha256\neng,train,ENG0_A,1,{sha256}\nspa,train,SPA0_B,1,0\n"
    )
    return path


def test_plain_text_keeps_headings_paragraphs_and_verse_only():
    """One line per heading, paragraph, verse line or bare quotation of the body; white space is
    squeezed.
    """
    assert eltec.plain_text(TEI.encode()).split("\n") == LINES


def test_derive_takes_the_listed_novels(tmp_path):
    """The archive's level1 files of the language and split become JSON lines with id and text."""
    sha256 = hashlib.sha256("\n".join(LINES).encode()).hexdigest()
    content = eltec.derive(
        archive(ENG0_A=TEI, ENG0_Z=TEI),
        language="eng",
        split="train",
        listed=listing(tmp_path, sha256),
    )
    assert [json.loads(line) for line in content.splitlines()] == [
        {"id": "ENG0_A", "text": "\n".join(LINES)}
    ]


def test_derive_refuses_another_text(tmp_path):
    """A novel whose text is not the declared one is named."""
    with pytest.raises(InputError, match="The text of ENG0_A .* not the declared"):
        eltec.derive(
            archive(ENG0_A=TEI), language="eng", split="train", listed=listing(tmp_path, "0" * 64)
        )


def test_derive_names_a_missing_novel(tmp_path):
    """So is one that the archive lacks."""
    with pytest.raises(InputError, match=r"has no level1/ENG0_A\.xml"):
        eltec.derive(
            archive(ENG0_Z=TEI), language="eng", split="train", listed=listing(tmp_path, "0" * 64)
        )


def test_derive_refuses_what_is_not_an_archive():
    """A download that broke off is no traceback."""
    with pytest.raises(InputError, match="not a zip file"):
        eltec.derive(b"PK", language="eng", split="train")


def test_canonical_form_is_that_of_derive():
    """A mirror's JSON lines, whatever else they hold, give the same bytes as the archive."""
    line = (
        json.dumps({"id": "ENG0_A", "author": "A", "text": "Ça\u2028va"}, ensure_ascii=False) + "\n"
    )
    assert eltec.canonical(line.encode()) == '{"id": "ENG0_A", "text": "Ça\u2028va"}\n'.encode()


def test_no_novel_is_both_trained_on_and_held_out():
    """The list names each novel once: 52 + 6 English, 56 + 6 Spanish."""
    with eltec.LISTED.open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    assert len({row["novel"] for row in rows}) == len(rows)
    counts = Counter((row["language"], row["split"]) for row in rows)
    assert counts == {
        ("eng", "train"): 52,
        ("eng", "held_out"): 6,
        ("spa", "train"): 56,
        ("spa", "held_out"): 6,
    }


@pytest.mark.skipif(
    "TRANSECT_MIRROR" not in os.environ, reason="needs the novels: set TRANSECT_MIRROR"
)
@pytest.mark.parametrize(
    "source",
    [*novels.SOURCE, *novels_heldout.SOURCE],
    ids=lambda s: f"{s['language']}-{s['split']}",
)
def test_listed_checksums_are_those_of_the_texts(source):
    """eltec.csv holds order, word count and sha256 of every novel of the declared sources."""
    with eltec.LISTED.open(encoding="utf-8", newline="") as table:
        rows = [
            r
            for r in csv.DictReader(table)
            if (r["language"], r["split"]) == (source["language"], source["split"])
        ]
    found = eltec.novels(source)
    assert [
        (n.id, len(n.text.split()), hashlib.sha256(n.text.encode()).hexdigest()) for n in found
    ] == [(r["novel"], int(r["words"]), r["sha256"]) for r in rows]
