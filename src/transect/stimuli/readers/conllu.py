"""CoNLL-U, the file format of Universal Dependencies: sentences whose words are found again in
their raw text.

Ten columns: ID FORM LEMMA UPOS XPOS FEATS HEAD DEPREL DEPS MISC. An ID like 3-4 is a multiword
token, 5.1 an empty node (skipped).
Source: https://universaldependencies.org/format.html
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from transect.errors import InputError
from transect.store.files import unpacking


@dataclass
class Word:
    """A syntactic word. `start` is its place in the text, None inside a multiword token; `end` is
    the end of its surface token.
    """

    id: int
    form: str
    lemma: str
    upos: str
    features: dict[str, str]
    head: int
    relation: str
    start: int | None = None
    end: int = 0


@dataclass
class Sentence:
    """The words of a sentence in order (the word with id i is words[i - 1]) and its raw text."""

    id: str
    text: str
    words: list[Word]
    children: dict[int, list[Word]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for word in self.words:
            self.children[word.head].append(word)


def read_conllu(text: str) -> Iterator[Sentence]:
    """The sentences of a CoNLL-U file whose words can all be found in their text; empty nodes are
    skipped.
    """
    for block in text.split("\n\n"):
        comments: dict[str, str] = {}
        words: list[Word] = []
        surface: dict[
            int, tuple[int, str]
        ] = {}  # first word of a multiword token -> (last word, form)
        for line in filter(None, block.split("\n")):
            if line.startswith("#"):
                key, _, value = line[1:].partition("=")
                comments[key.strip()] = value.strip()
                continue
            column = line.split("\t")
            if "-" in column[0]:
                first, last = map(int, column[0].split("-"))
                surface[first] = (last, column[1])
            elif "." not in column[0]:
                features = (
                    dict(f.split("=", 1) for f in column[5].split("|")) if column[5] != "_" else {}
                )
                words.append(
                    Word(
                        int(column[0]),
                        column[1],
                        column[2],
                        column[3],
                        features,
                        int(column[6]),
                        column[7],
                    )
                )
        if words and place(words, surface, comments.get("text", "")):
            yield Sentence(comments["sent_id"], comments["text"], words)


def place(words: list[Word], surface: dict[int, tuple[int, str]], text: str) -> bool:
    """Find every word in the text, from left to right; False where something other than white space
    lies between two words.
    """
    at, i = 0, 0
    while i < len(words):
        last, form = surface.get(words[i].id, (words[i].id, words[i].form))
        start = text.find(form, at)
        if start < 0 or text[at:start].strip():
            return False
        inside = words[i : i + last - words[i].id + 1]
        for word in inside:
            word.start, word.end = (start if len(inside) == 1 else None), start + len(form)
        at, i = start + len(form), i + len(inside)
    return True


def join_sources(archive: bytes, without: Iterable[str]) -> bytes:
    """The zip archive of a UD repository -> one CoNLL-U file of the sentences of its sources, by
    sent_id, without those of the named files.
    """
    try:
        files = unpacking.archive(archive)
    except unpacking.Unreadable as error:
        raise InputError(f"The archive of the treebank cannot be read ({error}).") from None
    names = [n for n in files.namelist() if n.endswith(".conllu")]
    blocks = {
        n: [b.strip("\n") for b in files.read(n).decode("utf-8").split("\n\n") if b.strip()]
        for n in names
    }
    excluded = {sent_id(b) for n in names if Path(n).name in without for b in blocks[n]}
    sources = [
        n for n in names if "/not-to-release/sources/" in n and not n.endswith(".enhanced.conllu")
    ]
    kept = {sent_id(b): b for n in sources for b in blocks[n]}
    return "".join(kept[key] + "\n\n" for key in sorted(kept.keys() - excluded)).encode("utf-8")


def sent_id(block: str) -> str:
    return next(
        (
            line.partition("=")[2].strip()
            for line in block.split("\n")
            if line.startswith("# sent_id")
        ),
        "",
    )
