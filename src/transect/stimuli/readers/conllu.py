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
        surface: dict[int, tuple[int, str]] = {}  # first word of a token -> (last word, form)
        for line in filter(None, block.split("\n")):
            if line.startswith("#"):
                key, _, value = line[1:].partition("=")
                comments[key.strip()] = value.strip()
                continue
            columns = line.split("\t")
            if "-" in columns[0]:
                first, last = map(int, columns[0].split("-"))
                surface[first] = (last, columns[1])
            elif "." not in columns[0]:
                words.append(_word(columns))
        if words and place(words, surface, comments.get("text", "")):
            yield Sentence(comments["sent_id"], comments["text"], words)


def _word(columns: list[str]) -> Word:
    """A word from the ten columns of its line."""
    number, form, lemma, upos, _, features, head, relation = columns[:8]
    pairs = [] if features == "_" else [pair.split("=", 1) for pair in features.split("|")]
    return Word(
        int(number),
        form,
        lemma,
        upos,
        {name: value for name, value in pairs},
        int(head),
        relation,
    )


def place(words: list[Word], surface: dict[int, tuple[int, str]], text: str) -> bool:
    """Find every word in the text, from left to right; False where something other than white space
    lies between two words.
    """
    position, i = 0, 0
    while i < len(words):
        last, form = surface.get(words[i].id, (words[i].id, words[i].form))
        start = text.find(form, position)
        if start < 0 or text[position:start].strip():
            return False
        inside = words[i : i + last - words[i].id + 1]
        for word in inside:
            word.start, word.end = (start if len(inside) == 1 else None), start + len(form)
        position, i = start + len(form), i + len(inside)
    return True


def join_sources(archive: bytes, without: Iterable[str]) -> bytes:
    """The zip archive of a UD repository -> one CoNLL-U file of the sentences of its sources, by
    sent_id, without those of the named files.
    """
    try:
        files = unpacking.archive(archive)
    except unpacking.Unreadable as error:
        raise InputError(f"The archive of the treebank cannot be read ({error}).") from None
    kept: dict[str, str] = {}
    excluded: set[str] = set()
    for name in files.namelist():
        if not name.endswith(".conllu"):
            continue
        sentences = _sentences(files.read(name).decode("utf-8"))
        if Path(name).name in without:
            excluded |= sentences.keys()
        if "/not-to-release/sources/" in name and not name.endswith(".enhanced.conllu"):
            kept |= sentences
    return "".join(kept[key] + "\n\n" for key in sorted(kept.keys() - excluded)).encode("utf-8")


def _sentences(text: str) -> dict[str, str]:
    """sent_id -> the lines of a sentence."""
    blocks = [block.strip("\n") for block in text.split("\n\n") if block.strip()]
    return {sent_id(block): block for block in blocks}


def sent_id(block: str) -> str:
    """The sent_id of a sentence; empty where none is given."""
    for line in block.split("\n"):
        if line.startswith("# sent_id"):
            return line.partition("=")[2].strip()
    return ""
