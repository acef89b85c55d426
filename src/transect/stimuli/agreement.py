"""Number agreement in the languages of the miniature suite (see stimuli/corpora/grammar.py): right
and wrong form of the one marked word of the subject.

A frame is a choice of words. Each frame of a condition gives two items that differ in numbers
alone: the subject singular, and plural.

    simple      subject with adjective, intransitive verb: no other noun
    attractor   the subject has an adposition phrase and the verb an object, and the nouns in both are of the other
    number

                        SVO                                            SOV
    verb marked         n1s p0 n2P link a subj v0s obj n3P .           a link n2P p0 n1s subj n3P obj v0s .
    adjective marked    n1s p0 n2P link as subj v0 obj n3P .           as link n2P p0 n1s subj n3P obj v0 .

The neighbours of the marked word are the same in both items of a frame, so a bigram model that
prefers one form is right on one of them: exactly 0.5. The meanings are the same in all four
languages. All words are drawn evenly, rare ones as often as frequent ones.
"""

import random

import pandas as pd

from transect.stimuli.corpora import grammar
from transect.stimuli.corpora.grammar import Meaning, Phrase

VERSION = 1
SOURCE = "generated here from a seed"
BY = ["word_order", "marking"]
APPLIES = {"corpus": ["grammar"]}
COLUMNS = {  # column -> meaning [unit]
    "item": "id of the item",
    "sentence_good": "the sentence that is right",
    "sentence_bad": "the sentence that is wrong",
    "condition": "simple (no other noun) or attractor (nouns of the other number between)",
    "number": "number of the subject: singular or plural",
    "frame": "choice of words that the two items of a frame share",
}


def items(*, seed: int, word_order: str, marking: str, frames: int = 100) -> pd.DataFrame:
    """`frames` frames of each condition, two items each. condition: simple | attractor; number of
    the subject: singular
    | plural.
    """
    rng = random.Random(f"agreement {VERSION} {seed}")
    rows = []
    for condition in ("simple", "attractor"):
        for frame in range(frames):
            drawn = (
                rng.sample(range(grammar.N_NOUNS), 3),
                rng.randrange(grammar.N_ADJECTIVES),
                rng.randrange(grammar.N_ADPOSITIONS),
            )
            verb = rng.randrange(
                grammar.N_INTRANSITIVE if condition == "simple" else grammar.N_VERBS
            )
            for number in ("singular", "plural"):
                said = _meaning(*drawn, verb, number == "plural", condition == "attractor")
                good, bad = (
                    " ".join(grammar.sentence(said, word_order, marking, flip=flip))
                    for flip in (False, True)
                )
                rows.append((f"{condition} {frame} {number}", good, bad, condition, number, frame))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _meaning(
    nouns: list[int], adjective: int, adposition: int, verb: int, plural: bool, attractor: bool
) -> Meaning:
    if not attractor:
        return Meaning(Phrase(nouns[0], plural, adjective), verb, None)
    subject = Phrase(nouns[0], plural, adjective, adposition, (nouns[1], not plural))
    return Meaning(subject, verb, Phrase(nouns[2], not plural))
