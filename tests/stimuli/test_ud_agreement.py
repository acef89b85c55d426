"""Agreement pairs from treebanks: each clause of the rule on a planted sentence, and the counts of
the real sets.
"""

import os

import pytest

from transect.errors import InputError
from transect.stimuli import ud_agreement
from transect.stimuli.readers.conllu import Sentence, Word, place

needs_data = pytest.mark.skipif(
    "TRANSECT_MIRROR" not in os.environ, reason="needs the treebanks: set TRANSECT_MIRROR"
)
FINITE = "VerbForm=Fin|Person=3|Mood=Ind"
# form, lemma, part of speech, features, head, relation
LA = ("la", "el", "DET", "Number=Sing|Gender=Fem", 2, "det")
LAS = ("las", "el", "DET", "Number=Plur|Gender=Fem", 2, "det")
NINA = ("niña", "niña", "NOUN", "Number=Sing|Gender=Fem", 3, "nsubj")
NINAS = ("niñas", "niña", "NOUN", "Number=Plur|Gender=Fem", 3, "nsubj")
CANTA = ("canta", "cantar", "VERB", f"Number=Sing|{FINITE}", 0, "root")
CANTAN = ("cantan", "cantar", "VERB", f"Number=Plur|{FINITE}", 0, "root")
HOY = ("hoy", "hoy", "ADV", "_", 3, "advmod")


def sentence(*words: tuple[str, str, str, str, int, str], name: str = "s") -> Sentence:
    """A sentence of blank-separated words."""
    found = [
        Word(
            i,
            form,
            lemma,
            upos,
            dict(f.split("=") for f in features.split("|")) if features != "_" else {},
            head,
            rel,
        )
        for i, (form, lemma, upos, features, head, rel) in enumerate(words, start=1)
    ]
    text = " ".join(word.form for word in found)
    assert place(found, {}, text)
    return Sentence(name, text, found)


PLURAL = sentence(LAS, NINAS, CANTAN, HOY, name="plural")


def pairs_of(*sentences: Sentence) -> dict[str, tuple[str, str]]:
    """Set -> (good, bad) of the pairs of the first sentence; all sentences attest forms."""
    made = ud_agreement.make_pairs(list(sentences), "spa")
    return {pair[3]: (pair[1], pair[2]) for pair in made if pair[7] == sentences[0].id}


def test_each_set_exchanges_one_word_and_ends_after_the_next():
    """Verb, determiner and noun of one sentence, with the forms that the other sentence attests."""
    assert pairs_of(sentence(LA, NINA, CANTA, HOY), PLURAL) == {
        "det": ("la niña canta", "las niña canta"),
        "noun": ("la niña canta", "la niñas canta"),
        "verb": ("la niña canta hoy", "la niña cantan hoy"),
    }


def test_pair_carries_number_attractor_and_distance():
    """A plural noun between a singular subject and its verb, four words on, is an attractor."""
    de = ("de", "de", "ADP", "_", 5, "case")
    inner_las = (*LAS[:4], 5, "det")
    calles = ("calles", "calle", "NOUN", "Number=Plur|Gender=Fem", 2, "nmod")
    nina, canta = (*NINA[:4], 6, "nsubj"), CANTA
    made = list(
        ud_agreement.make_pairs(
            [sentence(LA, nina, de, inner_las, calles, canta, HOY), PLURAL], "spa"
        )
    )
    (verb,) = [pair for pair in made if pair[0] == "s:6:verb"]
    assert verb[4:7] == ("Sing", True, 4)


def test_without_an_attested_form_there_is_no_pair():
    """Nothing is invented: the singular alone gives no pair."""
    assert pairs_of(sentence(LA, NINA, CANTA, HOY)) == {}


def test_the_most_frequent_attested_form_is_taken():
    """Of two attested plurals the one that occurs more often."""
    rare = sentence(LAS, NINAS, ("canten", *CANTAN[1:]), HOY, name="rare")
    assert (
        pairs_of(sentence(LA, NINA, CANTA, HOY), rare, PLURAL, PLURAL)["verb"][1]
        == "la niña cantan hoy"
    )


def test_typos_neither_change_nor_attest():
    """A word marked Typo=Yes is left alone, and its form is no evidence."""
    typo = sentence(
        LAS,
        NINAS,
        ("cantna", "cantar", "VERB", f"Number=Plur|Typo=Yes|{FINITE}", 0, "root"),
        HOY,
        name="typo",
    )
    assert "verb" not in pairs_of(sentence(LA, NINA, CANTA, HOY), typo)
    assert "verb" not in pairs_of(typo, sentence(LA, NINA, CANTA, HOY, name="other"))


@pytest.mark.parametrize(
    ("position", "word"),
    [
        (
            1,
            ("niña", "niña", "PROPN", "Number=Sing|Gender=Fem", 3, "nsubj"),
        ),  # the subject is no common noun
        (1, ("niña", "mayoría", "NOUN", "Number=Sing|Gender=Fem", 3, "nsubj")),  # a quantity
        (1, ("niña", "niña", "NOUN", "Number=Sing|Gender=Fem", 3, "obj")),  # no subject
        (
            2,
            ("canta", "cantar", "VERB", "Number=Sing|VerbForm=Fin|Person=1|Mood=Ind", 0, "root"),
        ),  # first person
        (2, ("canta", "cantar", "VERB", "Number=Sing|VerbForm=Part", 0, "root")),  # not finite
        (3, ("sola", "sola", "NOUN", "_", 2, "conj")),  # a coordinated subject
        (3, ("dos", "dos", "NUM", "_", 2, "nummod")),  # a numbered subject
        (3, ("ha", "haber", "AUX", "_", 3, "aux")),  # the auxiliary, not this verb, agrees
    ],
)
def test_verbs_outside_the_rule_give_no_pair(position, word):
    """One clause of the rule broken at a time."""
    words = [LA, NINA, CANTA, HOY]
    words[position] = word
    assert "verb" not in pairs_of(sentence(*words), PLURAL)


def test_el_after_de_is_dropped_because_it_would_contract():
    """The pair "de los niños", "de el niños" would differ in more than number, also at the start of
    a sentence.
    """
    de = ("de", "de", "ADP", "_", 3, "case")
    los = ("los", "el", "DET", "Number=Plur|Gender=Masc", 3, "det")
    ninos = ("niños", "niño", "NOUN", "Number=Plur|Gender=Masc", 0, "root")
    el = ("el", "el", "DET", "Number=Sing|Gender=Masc", 2, "det")
    nino = ("niño", "niño", "NOUN", "Number=Sing|Gender=Masc", 0, "root")
    assert set(pairs_of(sentence(de, los, ninos, HOY), sentence(el, nino, name="other"))) == {
        "noun"
    }


def test_capital_letters_are_kept():
    """A sentence-initial determiner stays capitalised."""
    assert (
        pairs_of(sentence(("La", *LA[1:]), NINA, CANTA, HOY), PLURAL)["det"][1] == "Las niña canta"
    )


def test_unknown_language_is_refused():
    """The error lists the languages."""
    with pytest.raises(InputError, match="there are: eng, spa"):
        ud_agreement.items(seed=0, language="fra")


@needs_data
@pytest.mark.parametrize(
    ("language", "made", "kept"),
    # Spanish: equal, pair by pair, to those of an independent script; English: one verb pair more
    # than there (2,009), in a sentence whose first word is a quotation mark.
    [
        ("spa", {"verb": 427, "det": 4265, "noun": 2446}, {"verb": 421, "det": 4210, "noun": 2411}),
        (
            "eng",
            {"verb": 2010, "det": 1216, "noun": 1055},
            {"verb": 1972, "det": 1167, "noun": 1009},
        ),
    ],
)
def test_counts_of_the_real_sets(language, made, kept):
    """Pairs of each set, before and after repeats are dropped."""
    pairs = list(ud_agreement.make_pairs(ud_agreement.sentences(language), language))
    assert {name: sum(pair[3] == name for pair in pairs) for name in made} == made
    items = ud_agreement.items(seed=0, language=language, balanced=False, max_bytes=None)
    assert items["set"].value_counts().to_dict() == kept


@needs_data
def test_spanish_verbs_with_attractors_and_distance():
    """54 of 427 verbs have an attractor, 274 stand more than one word after their subject, 292 are
    singular.
    """
    pairs = [
        p for p in ud_agreement.make_pairs(ud_agreement.sentences("spa"), "spa") if p[3] == "verb"
    ]
    assert (
        sum(p[5] for p in pairs),
        sum(p[6] > 1 for p in pairs),
        sum(p[4] == "Sing" for p in pairs),
    ) == (
        54,
        274,
        292,
    )


@needs_data
@pytest.mark.parametrize("language", ["eng", "spa"])
def test_sets_are_balanced_by_number(language):
    """As many singular as plural pairs in every set, each pair named once, and none longer than 240
    bytes.
    """
    items = ud_agreement.items(seed=0, language=language)
    cells = items.groupby(["set", "number"]).size().unstack()
    assert (cells["Sing"] == cells["Plur"]).all() and cells.shape == (3, 2)
    assert items["item"].is_unique and (items["sentence_good"] != items["sentence_bad"]).all()
    assert items["sentence_good"].str.encode("utf-8").str.len().max() <= 240


@needs_data
def test_a_smaller_sample_is_part_of_a_larger_one():
    """The sample is the same each time, changes with the seed, and grows without dropping anything."""
    small, large, other = (
        ud_agreement.items(seed=s, language="spa", sample_per_cell=n)
        for s, n in ((0, 50), (0, 200), (1, 50))
    )
    assert (
        small.equals(ud_agreement.items(seed=0, language="spa", sample_per_cell=50))
        and len(small) == 300
    )
    assert set(small["item"]) < set(large["item"])
    assert set(small["item"]) != set(other["item"])
