"""Agreement in number, in attested sentences: English and Spanish pairs made by one rule from
dependency treebanks.

One word of a treebank sentence is exchanged for its form of the other number; the sentence is cut
after the next word, because up to the word itself the shorter form would win whenever it begins the
longer one ("había" / "habían"). Sets:

    verb  a finite third-person verb or auxiliary after its subject, one noun of the same number. The auxiliary is
          exchanged where there is one; a copula only before an adjective or verb. Not: coordinated,
          apposed, numbered or collective subjects.
    det   the one determiner of a noun, at most one adjective before it, of the same number and gender.
    noun  the noun of such a phrase.

The other form is the most frequent one in the same files with the same lemma, part of speech (AUX
as VERB) and features except Number; words that are marked as typos or stand inside a multiword
token neither change nor attest. Where none is attested there is no pair. Models of any kind prefer
the singular (a unigram model: 0.98 of the singular, 0.02 of the plural pairs), so both numbers are
made equally frequent in every set; only then is chance 0.5. Source: UD English-EWT and Spanish-GSD,
CC BY-SA 4.0. Of Spanish the training file is not used; of English it is joined from the
repository's sources, because English gives fewer pairs a sentence.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from transect.errors import InputError, nearest
from transect.stimuli.readers.conllu import Sentence, Word, join_sources, read_conllu
from transect.store.sources import fetch

VERSION = 1
BY = ["language"]
APPLIES = {"language": ["eng", "spa"]}
COLUMNS = {  # column -> meaning [unit]
    "item": "id of the item",
    "sentence_good": "the sentence that is right",
    "sentence_bad": "the sentence that is wrong",
    "set": "kind of agreement that the pair tests",
    "number": "number of the word that was exchanged",
    "attractor": "whether a noun of the other number stands between subject and verb",
    "distance": "from the subject to the word that was exchanged [words]",
    "sent_id": "id of the sentence in its treebank",
}
SOURCE = [
    {
        "language": "eng",
        "url": "https://raw.githubusercontent.com/UniversalDependencies/UD_English-EWT/15d613d844/en_ewt-ud-dev.conllu",
        "sha256": "531a54ff90d6ab12201c5a50c3e78e6ddac4de69abc4bce5d275d3cd29efe2b6",
        "licence": "CC BY-SA 4.0",
        "mirror": "ud_treebanks/dev/en_ewt-ud-dev.conllu.xz",
    },
    {
        "language": "eng",
        "url": "https://raw.githubusercontent.com/UniversalDependencies/UD_English-EWT/15d613d844/en_ewt-ud-test.conllu",
        "sha256": "e266e515a0a7547657ed3d90d9ba46487d6bd251f27ad4269d4e8a427c8555cd",
        "licence": "CC BY-SA 4.0",
        "mirror": "ud_treebanks/dev/en_ewt-ud-test.conllu.xz",
    },
    {
        "language": "eng",
        "derived": "every sentence of not-to-release/sources that is neither in the development nor in the test file",
        "url": "https://github.com/UniversalDependencies/UD_English-EWT/archive/15d613d844.zip",
        "sha256": "4f5bf82b493c2ae7563889e57a87c02e6e9ee8ccbba417a899c73ff09a4807a6",
        "licence": "CC BY-SA 4.0",
        "mirror": "ud_treebanks/dev/en_ewt-ud-train_from_sources.conllu.xz",
    },
    {
        "language": "spa",
        "url": "https://raw.githubusercontent.com/UniversalDependencies/UD_Spanish-GSD/57c0456446/es_gsd-ud-dev.conllu",
        "sha256": "d5018974cb6a4adb03435f76ac4914a388f4fc763b35b6c4a6a2dc27874b0dff",
        "licence": "CC BY-SA 4.0",
        "mirror": "ud_treebanks/dev/es_gsd-ud-dev.conllu.xz",
    },
    {
        "language": "spa",
        "url": "https://raw.githubusercontent.com/UniversalDependencies/UD_Spanish-GSD/57c0456446/es_gsd-ud-test.conllu",
        "sha256": "37612cb7cc13eab62e6f95b06504a31f252ecc56acb52a06d142bf872318b872",
        "licence": "CC BY-SA 4.0",
        "mirror": "ud_treebanks/dev/es_gsd-ud-test.conllu.xz",
    },
]
# nouns of quantity and collectives, whose verb may agree with their complement or with the sense
COLLECTIVE = {
    "eng": "majority rest number group lot couple family team staff government series kind sort type pair bunch "
    "percent %",
    "spa": "mayoría mitad resto parte serie grupo número conjunto par docena total tercio cantidad porcentaje cuarto "
    "centenar decena millar multitud infinidad pareja tipo clase",
}
# determiners that would have to contract with the word before them ("de el", "a el")
CONTRACTS: dict[str, dict[str, tuple[str, ...]]] = {"eng": {}, "spa": {"el": ("de", "a")}}
OTHER = {"Sing": "Plur", "Plur": "Sing"}
AUXILIARY = ("aux", "aux:pass", "cop")


@dataclass(frozen=True)
class Target:
    """A word to exchange: the sentence is kept up to the word after `last`."""

    set: str
    word: Word
    last: Word
    distance: int
    attractor: bool = False


def items(
    *,
    seed: int,
    language: str,
    sample_per_cell: int | None = None,
    balanced: bool = True,
    max_bytes: int | None = 240,
) -> pd.DataFrame:
    """One row per pair, COLUMNS. number: of the exchanged word; distance: in words; attractor: a
    noun of the other number between subject and verb.

    `max_bytes` leaves out longer sentences (5 % of Spanish, 2 % of English), which may not fit a
    context of 128 tokens. `balanced`: as many singular as plural pairs in each set.
    `sample_per_cell`: at most so many pairs of each set and number. The pairs that stay come first
    by a hash of seed and item: a smaller sample is part of every larger one.
    """
    if language not in COLLECTIVE:
        allowed = ", ".join(COLLECTIVE)
        raise InputError(
            f"ud_agreement: language is {language!r}; there are: {allowed}.{nearest(language, COLLECTIVE)}"
        )
    if sample_per_cell is not None and sample_per_cell < 1:
        raise InputError(
            f"ud_agreement: sample_per_cell is {sample_per_cell!r}; it must be at least 1."
        )
    pairs = pd.DataFrame(make_pairs(sentences(language), language), columns=list(COLUMNS))
    pairs = pairs.drop_duplicates(["set", "sentence_good"])
    if max_bytes is not None:
        longest = (
            pairs[["sentence_good", "sentence_bad"]]
            .map(lambda text: len(text.encode("utf-8")))
            .max(axis=1)
        )
        pairs = pairs[longest <= max_bytes]
    return _sample(pairs, seed, sample_per_cell, balanced)


def _sample(
    pairs: pd.DataFrame, seed: int, sample_per_cell: int | None, balanced: bool
) -> pd.DataFrame:
    order = pairs["item"].map(lambda item: hashlib.sha256(f"{seed}:{item}".encode()).hexdigest())
    rank = order.groupby([pairs["set"], pairs["number"]]).rank(method="first")
    cells = (
        pairs.groupby(["set", "number"])
        .size()
        .unstack(fill_value=0)
        .reindex(columns=list(OTHER), fill_value=0)
    )
    limit = pairs["set"].map(cells.min(axis=1) if balanced else cells.max(axis=1))
    return pairs[rank <= limit.clip(upper=sample_per_cell)].reset_index(drop=True)


def sentences(language: str) -> list[Sentence]:
    """All sentences of the declared treebank files of a language."""
    found: list[Sentence] = []
    for source in SOURCE:
        if source["language"] == language:
            convert = (
                partial(join_sources, without=("en_ewt-ud-dev.conllu", "en_ewt-ud-test.conllu"))
                if "derived" in source
                else None
            )
            found += read_conllu(fetch(source, from_url=convert).read_text(encoding="utf-8"))
    return found


def make_pairs(treebank: list[Sentence], language: str) -> Iterator[tuple[Any, ...]]:
    """The pairs of all sentences, in the order of COLUMNS."""
    attested: dict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    for sentence in treebank:
        for word in sentence.words:
            if changes(word):
                attested[paradigm(word, word.features["Number"])][word.form.lower()] += 1
    for sentence in treebank:
        for target in targets(sentence, language):
            word, start = target.word, target.word.start
            form = other_form(word, attested)
            if form is None or start is None or contracts(form, sentence.text[:start], language):
                continue
            end = min(
                (w.end for w in sentence.words if w.end > target.last.end), default=target.last.end
            )
            bad = sentence.text[:start] + form + sentence.text[start + len(word.form) : end]
            item = f"{sentence.id}:{word.id}:{target.set}"
            yield (
                item,
                sentence.text[:end],
                bad,
                target.set,
                number(word),
                target.attractor,
                target.distance,
                sentence.id,
            )


def targets(sentence: Sentence, language: str) -> Iterator[Target]:
    """The words of a sentence that the three sets exchange."""
    collective = frozenset(COLLECTIVE[language].split())
    for word in sentence.words:
        if not changes(word):
            continue
        if word.upos in ("VERB", "AUX"):
            subject = subject_of(word, sentence)
            if subject is not None and subject.lemma.lower() not in collective:
                between = sentence.words[subject.id : word.id - 1]
                attractor = any(
                    w.upos in ("NOUN", "PROPN")
                    and w.features.get("Number") not in (None, number(word))
                    for w in between
                )
                yield Target("verb", word, word, word.id - subject.id, attractor)
        elif word.upos == "DET" and (noun := noun_of(word, sentence)) is not None:
            yield Target("det", word, noun, noun.id - word.id)
            yield Target("noun", noun, noun, noun.id - word.id)


def subject_of(verb: Word, sentence: Sentence) -> Word | None:
    """The noun before a finite third-person verb that the verb agrees with, where the rule of the
    set `verb` holds.
    """
    features = verb.features
    if (
        features.get("VerbForm") != "Fin"
        or features.get("Person", "3") != "3"
        or features.get("Mood") not in ("Ind", "Sub", "Cnd")
    ):
        return None
    predicate = verb
    if verb.relation in AUXILIARY:
        predicate = sentence.words[verb.head - 1]
        if verb.relation == "cop" and predicate.upos not in ("ADJ", "VERB"):
            return None
    if verb.upos == "VERB" and any(c.relation in AUXILIARY for c in sentence.children[verb.id]):
        return None
    subjects = [c for c in sentence.children[predicate.id] if c.relation in ("nsubj", "nsubj:pass")]
    if len(subjects) != 1:
        return None
    subject = subjects[0]
    plain = not any(
        c.relation.startswith(("conj", "appos", "cc")) or c.upos in ("NUM", "SYM")
        for c in sentence.children[subject.id]
    )
    agrees = subject.features.get("Number") == number(verb)
    return subject if subject.upos == "NOUN" and subject.id < verb.id and agrees and plain else None


def noun_of(determiner: Word, sentence: Sentence) -> Word | None:
    """The noun of a determiner, where the rule of the sets `det` and `noun` holds."""
    noun = sentence.words[determiner.head - 1]
    gap = noun.id - determiner.id
    if (
        determiner.relation != "det"
        or noun.upos != "NOUN"
        or not changes(noun)
        or number(noun) != number(determiner)
    ):
        return None
    if gap not in (1, 2) or (gap == 2 and sentence.words[determiner.id].upos != "ADJ"):
        return None
    if "Gender" in determiner.features and determiner.features["Gender"] != noun.features.get(
        "Gender"
    ):
        return None
    return noun if sum(c.upos == "DET" for c in sentence.children[noun.id]) == 1 else None


def number(word: Word) -> str | None:
    """Sing, Plur or another value of the feature; None where there is none or the word is marked as
    a typo.
    """
    return None if "Typo" in word.features else word.features.get("Number")


def changes(word: Word) -> bool:
    """May this word be exchanged, and attest a form?"""
    return number(word) in OTHER and word.start is not None


def paradigm(word: Word, number: str) -> tuple[Any, ...]:
    """What a word shares with the forms that may stand for it, and their number."""
    features = tuple(sorted((k, v) for k, v in word.features.items() if k != "Number"))
    return word.lemma.lower(), "VERB" if word.upos == "AUX" else word.upos, features, number


def other_form(word: Word, attested: dict[tuple[Any, ...], Counter[str]]) -> str | None:
    """The most frequent attested form of the other number, in the case of the word (of equally
    frequent ones the first seen).
    """
    forms = attested.get(paradigm(word, OTHER[word.features["Number"]]))
    if not forms:
        return None
    form = forms.most_common(1)[0][0]
    if form == word.form.lower():
        return None
    first, rest = word.form[0], word.form[1:]
    return form.capitalize() if first.isupper() and (not rest or rest.islower()) else form


def contracts(form: str, before: str, language: str) -> bool:
    """Would the new form have to contract with the word before it?"""
    return re.split(r"\W+", before.rstrip().lower())[-1] in CONTRACTS[language].get(
        form.lower(), ()
    )
