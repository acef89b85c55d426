"""Passages of novels that no model of the suite `novels` was trained on, for bits per byte.

Six novels per language. A passage begins where a paragraph begins (so it follows a document
boundary as in training) and ends with the last whole word within `passage_bytes` bytes of UTF-8;
400 bytes are about 110 tokens, within a context of 128. The passages are spread evenly over all
held-out characters: the i-th of n begins at the first paragraph at or after the share (i + 1/2) / n
of the text. Source: ELTeC (see transect/eltec.py), 606,094 English and 657,392 Spanish words.
"""

from bisect import bisect_left

import pandas as pd

from transect.errors import InputError, nearest
from transect.stimuli.readers import eltec

VERSION = 1
BY = ["language"]
APPLIES = {"language": ["eng", "spa"]}
COLUMNS = {  # column -> meaning [unit]
    "item": "id of the item",
    "text": "the text",
    "novel": "the novel that the text is from",
}
SOURCE = [
    {
        "language": "eng",
        "split": "held_out",
        "url": "https://github.com/COST-ELTeC/ELTeC-eng/archive/3db3b6738a836f0e1b276b6c9703e42f4297f978.zip",
        "sha256": "068a3f46187b65cebe6a1c16b520e049d51f69e807fc57eb753bc11b42980cad",
        "licence": "texts: public domain; markup: CC BY 4.0",
        "mirror": "eltec_novels/dev/eng_valid.jsonl.xz",
    },
    {
        "language": "spa",
        "split": "held_out",
        "url": "https://github.com/COST-ELTeC/ELTeC-spa/archive/83e2a22d5ef66f96e59f47f7ef810358c4236322.zip",
        "sha256": "4050e24ad6ae198e56dd8f916acaa0c3f7ddd6b6ba77ca1bd2fdc9e8d3b8e9f5",
        "licence": "texts: public domain; markup: CC BY 4.0",
        "mirror": "eltec_novels/dev/spa_valid.jsonl.xz",
    },
]


def items(
    *, seed: int, language: str, passages: int = 512, passage_bytes: int = 400
) -> pd.DataFrame:
    """One row per passage: item (novel and number of the paragraph), text, novel. The same for
    every seed: nothing is drawn.
    """
    found = {novel.id: novel.text.split("\n") for novel in novels(language)}
    starts = [(name, k) for name, paragraphs in found.items() for k in range(len(paragraphs))]
    offsets = [0]
    for name, k in starts:
        offsets.append(offsets[-1] + len(found[name][k]) + 1)
    if not 0 < passages <= len(starts):
        raise InputError(
            f"novels_heldout: passages is {passages!r}; allowed are 1 to {len(starts)}, the paragraphs held out."
        )
    rows, previous = [], -1
    for i in range(passages):
        first = bisect_left(offsets, (i + 0.5) / passages * offsets[-1], hi=len(starts) - 1)
        # a paragraph longer than the spacing would be taken twice: the second passage moves on to
        # the next paragraph
        previous = min(max(first, previous + 1), len(starts) - passages + i)
        name, k = starts[previous]
        rows.append((f"{name}:{k}", passage(found[name][k:], passage_bytes), name))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def novels(language: str) -> list[eltec.Novel]:
    """The held-out novels of a language, whole."""
    declared = {str(source["language"]): source for source in SOURCE}
    if language not in declared:
        raise InputError(
            f"novels_heldout: language is {language!r}; there are: {', '.join(declared)}.{nearest(language, declared)}"
        )
    return eltec.novels(declared[language])


def passage(paragraphs: list[str], limit: int) -> str:
    """The beginning of the paragraphs, one per line, cut after the last whole word within `limit`
    bytes (a longer first word is cut).
    """
    text, size = [], 0
    for paragraph in paragraphs:
        text.append(paragraph)
        size += len(paragraph.encode("utf-8")) + 1
        if size > limit:
            break
    whole = "\n".join(text)
    cut = whole.encode("utf-8")[:limit].decode("utf-8", errors="ignore")
    if len(cut) == len(whole) or whole[len(cut)].isspace():
        return cut.rstrip()
    words = cut.rstrip().rsplit(maxsplit=1)
    return cut[: -len(words[-1])].rstrip() if len(words) > 1 else cut
