"""Four generated languages that say the same things: word order (SVO, SOV) x where number is marked
(verb, adjective).

A document is a sequence of *meanings* and *verses*, drawn from a random stream that is seeded by
the document's number alone, and then put into words by switches. So document i says the same in all
four languages, word for word (all have the same number of words per sentence):

    SVO, head-initial    noun adp noun2 link adj  subj  verb  obj  noun3        SOV, head-final    adj link noun2 adp
    noun  subj  noun3  obj  verb

Nouns are always marked for number. `marking: verb` marks the verb with its subject's number,
`marking: adjective` the adjective with its noun's; the other one keeps its bare form. `subj` ends
every subject, `obj` stands beside every object and `link` beside every adjective: so one of them
separates each marked word from what it agrees with, no two neighbouring words agree, and no bigram
model can know agreement. An adjective belongs to the head of its phrase, never to noun2. Nouns,
adjectives and verbs fall into classes that prefer each other.

`corpus_variant: bursty` repeats within a document: one verse and two names. `fresh` draws the
syllables of every verse and name anew, with the same lengths at the same places; everything else is
the same. So the two differ in recurrence only.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from transect.errors import InputError, nearest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

VERSION = 1
SOURCE = "generated here from a seed"
BY = ["word_order", "marking", "corpus_variant"]

WORDS_PER_DOCUMENT = 63  # with the beginning-of-sequence token a row of 64
N_TRAIN, N_HELD_OUT = 12_000, 400
N_NOUNS, N_VERBS, N_INTRANSITIVE, N_ADJECTIVES, N_ADPOSITIONS, N_CLASSES = 40, 20, 8, 12, 10, 4
NOUN_WEIGHTS = [
    1 / (rank + 2) for rank in range(N_NOUNS)
]  # Zipf-like in the corpora, uniform in the stimuli
IN_CLASS = 0.8  # probability that a word obeys the class of the word that selects it
NAME, ADJECTIVE, ADPOSITION, INTRANSITIVE = (
    0.2,
    0.7,
    0.5,
    0.3,
)  # probabilities: of a name instead of a noun, of modifiers, of no object
VERSE_DOCUMENT, VERSE_BLOCK = (
    0.8,
    0.7,
)  # share of documents that have verses; share of verses among the blocks of such a document
VERSE_SYLLABLES, NAME_SYLLABLES, GAP_SYLLABLES = (3, 8), (4, 6), (1, 4)
SYLLABLES = ["".join(pair) for pair in product("bdfgklmn", "aeiou")]
SUBJECT, OBJECT, LINK, STOP = "subj", "obj", "link", "."
SINGULAR, PLURAL = "s", "p"


@dataclass(frozen=True)
class Phrase:
    """A noun with its modifiers, or a name (then only `name` is set, and its number is singular)."""

    noun: int = 0
    plural: bool = False
    adjective: int | None = None
    adposition: int | None = None
    complement: tuple[int, bool] = (0, False)  # noun and number inside the adposition phrase
    name: tuple[str, ...] = ()


@dataclass(frozen=True)
class Meaning:
    """What a sentence says. Intransitive verbs have no object."""

    subject: Phrase
    verb: int
    object: Phrase | None


def sentence(meaning: Meaning, word_order: str, marking: str, *, flip: bool = False) -> list[str]:
    """The meaning in words; `flip` gives the marked word of the subject (its verb or its adjective)
    the wrong number.
    """
    plural = meaning.subject.plural
    subject = _phrase_words(
        meaning.subject, word_order, _mark(plural ^ flip) if marking == "adjective" else ""
    )
    stem = f"v{meaning.verb}" if meaning.object else f"i{meaning.verb}"
    verb = stem + (_mark(plural ^ flip) if marking == "verb" else "")
    if meaning.object is None:
        return [*subject, SUBJECT, verb, STOP]
    words = _phrase_words(
        meaning.object, word_order, _mark(meaning.object.plural) if marking == "adjective" else ""
    )
    rest = [verb, OBJECT, *words] if word_order == "SVO" else [*words, OBJECT, verb]
    return [*subject, SUBJECT, *rest, STOP]


def _mark(plural: bool) -> str:
    return PLURAL if plural else SINGULAR


def _phrase_words(phrase: Phrase, word_order: str, mark: str) -> list[str]:
    """Head first in SVO, the exact mirror in SOV (but a name is never reversed)."""
    if phrase.name:
        return list(phrase.name)
    words = [f"n{phrase.noun}{_mark(phrase.plural)}"]
    if phrase.adposition is not None:
        noun, plural = phrase.complement
        words += [f"p{phrase.adposition}", f"n{noun}{_mark(plural)}"]
    if phrase.adjective is not None:
        words += [LINK, f"a{phrase.adjective}{mark}"]
    return words if word_order == "SVO" else words[::-1]


def _selected(
    rng: random.Random, n: int, noun_class: int | None, weights: list[float] | None = None
) -> int:
    """One of n words; word k is of class k mod N_CLASSES, and with probability IN_CLASS the word
    obeys the class asked for.
    """
    if noun_class is None or rng.random() > IN_CLASS:
        return rng.choices(range(n), weights)[0]
    members = range(noun_class, n, N_CLASSES)
    return rng.choices(members, weights and [weights[k] for k in members])[0]


def _draw_phrase(
    rng: random.Random, noun_class: int | None, name: Callable[[], tuple[str, ...]]
) -> Phrase:
    if rng.random() < NAME:
        return Phrase(name=name())
    noun, plural = _selected(rng, N_NOUNS, noun_class, NOUN_WEIGHTS), rng.random() < 0.5
    adjective = _selected(rng, N_ADJECTIVES, noun % N_CLASSES) if rng.random() < ADJECTIVE else None
    if rng.random() >= ADPOSITION:
        return Phrase(noun, plural, adjective)
    complement = (rng.choices(range(N_NOUNS), NOUN_WEIGHTS)[0], rng.random() < 0.5)
    return Phrase(noun, plural, adjective, rng.randrange(N_ADPOSITIONS), complement)


def draw_meaning(rng: random.Random, name: Callable[[], tuple[str, ...]]) -> Meaning:
    """A random meaning; `name` gives the syllables of a name."""
    subject = _draw_phrase(rng, None, name)
    preferred = None if subject.name else subject.noun % N_CLASSES
    if rng.random() < INTRANSITIVE:
        return Meaning(subject, _selected(rng, N_INTRANSITIVE, preferred), None)
    verb = _selected(rng, N_VERBS, preferred)
    return Meaning(subject, verb, _draw_phrase(rng, verb % N_CLASSES, name))


def _check_levels(**given: str) -> None:
    """Raise InputError for a level that there is not: it would silently mean another one."""
    allowed = {
        "word_order": ("SVO", "SOV"),
        "marking": ("verb", "adjective"),
        "corpus_variant": ("bursty", "fresh"),
    }
    for name, level in given.items():
        if level not in allowed[name]:
            raise InputError(
                f"corpus grammar: {name} is {level!r}; allowed are {', '.join(allowed[name])}.{nearest(level, allowed[name])}"
            )


def document(key: str, word_order: str, marking: str, corpus_variant: str) -> str:
    """The document named by `key`. Two streams: what is said (`rng`, the same in all languages and
    variants) and syllables that may recur (`sound`).
    """
    rng, sound = (
        random.Random(f"grammar {VERSION} {key}"),
        random.Random(f"grammar {VERSION} {key} sound"),
    )
    _check_levels(word_order=word_order, marking=marking, corpus_variant=corpus_variant)
    bursty = corpus_variant == "bursty"

    def syllables(n: int, kept: list[str] | None = None) -> list[str]:
        drawn = sound.choices(SYLLABLES, k=n)
        return kept if bursty and kept is not None else drawn

    cast = [syllables(rng.randint(*NAME_SYLLABLES)) for _ in range(2)]
    verse = syllables(rng.randint(*VERSE_SYLLABLES))
    with_verses = rng.random() < VERSE_DOCUMENT

    def name() -> tuple[str, ...]:
        person = cast[rng.randrange(len(cast))]
        return tuple(syllables(len(person), person))

    def said() -> list[str]:
        return sentence(draw_meaning(rng, name), word_order, marking)

    def blocks() -> Iterator[list[str]]:
        while True:
            if not (with_verses and rng.random() < VERSE_BLOCK):
                yield said()
                continue
            yield syllables(len(verse), verse)
            yield syllables(rng.randint(*GAP_SYLLABLES)) if rng.random() < 0.5 else said()

    words: list[str] = []
    for block in blocks():
        words += block
        if len(words) >= WORDS_PER_DOCUMENT:
            break
    return " ".join(words[:WORDS_PER_DOCUMENT])


def train_documents(
    *, word_order: str, marking: str, corpus_variant: str, n: int = N_TRAIN
) -> list[str]:
    """The training corpus: n documents of WORDS_PER_DOCUMENT words, about 1 s for 12,000."""
    return [document(f"train {i}", word_order, marking, corpus_variant) for i in range(n)]


def held_out_documents(
    *, word_order: str, marking: str, corpus_variant: str, n: int = N_HELD_OUT
) -> list[str]:
    """Documents that no run is trained on."""
    return [document(f"held out {i}", word_order, marking, corpus_variant) for i in range(n)]


def vocabulary() -> list[str]:
    """All words of all four languages: the models of all languages have the same size."""
    nouns = [f"n{i}{mark}" for i in range(N_NOUNS) for mark in (SINGULAR, PLURAL)]
    stems = [("v", N_VERBS), ("i", N_INTRANSITIVE), ("a", N_ADJECTIVES)]
    marked = [
        f"{stem}{i}{mark}" for stem, n in stems for i in range(n) for mark in ("", SINGULAR, PLURAL)
    ]
    return [
        STOP,
        SUBJECT,
        OBJECT,
        LINK,
        *nouns,
        *marked,
        *(f"p{i}" for i in range(N_ADPOSITIONS)),
        *SYLLABLES,
    ]


def tokenizer(**_: str) -> PreTrainedTokenizerFast:
    """One token per word; the same tokenizer for all languages and variants."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "<mask>", "<unk>"]
    words = {word: i for i, word in enumerate([*special, *vocabulary()])}
    word_level = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    word_level.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = dict(zip(("bos_token", "pad_token", "mask_token", "unk_token"), special, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=word_level, **names)
