"""BLiMP, agreement: pairs of English sentences that differ in one word, of which only the first is
acceptable.

Eleven paradigms of 1,000 pairs: determiner and noun (6), subject and verb (3), and two that small
models do not learn as agreement, kept as negative controls: distractor_agreement_relative_clause
(the nearer noun misleads, below chance) and anaphor_gender_agreement (follows the frequency of
"him" and "her"). Chance is 0.5 in each. The other agreement paradigms of BLiMP are not among the
declared sources. Source: Warstadt et al. (2020), BLiMP: The Benchmark of Linguistic Minimal Pairs
for English, TACL 8; version of 2022-12-13.
"""

import json

import pandas as pd

from transect.errors import InputError
from transect.store.sources import fetch

VERSION = 1
BY: list[str] = []
APPLIES = {"language": ["eng"]}
COLUMNS = {  # column -> meaning [unit]
    "item": "id of the item",
    "paradigm": "BLiMP's name of the paradigm (UID)",
    "sentence_good": "the sentence that is right",
    "sentence_bad": "the sentence that is wrong",
}
PAIRS = 1000  # in every paradigm
SOURCE = [
    {
        "url": "https://raw.githubusercontent.com/alexwarstadt/blimp/3e56b06fcabca9b30822fc66435fca6b1aa40bb1/data/anaphor_gender_agreement.jsonl",
        "sha256": "fd7d6e47196fa1310a251d3aa88ae9a62bb64d3cec35fc02617229d5799767e1",
        "licence": "CC BY 4.0",
        "mirror": "blimp/dev/anaphor_gender_agreement.jsonl.xz",
    },
    {
        "url": "https://raw.githubusercontent.com/alexwarstadt/blimp/3e56b06fcabca9b30822fc66435fca6b1aa40bb1/data/determiner_noun_agreement_2.jsonl",
        "sha256": "8ae7eff7c7bd384ff5ef3113984834f4d78b34559203aa9d5cb14ea8394291a9",
        "licence": "CC BY 4.0",
        "mirror": "blimp/dev/determiner_noun_agreement_2.jsonl.xz",
    },
    {
        "url": "https://raw.githubusercontent.com/alexwarstadt/blimp/3e56b06fcabca9b30822fc66435fca6b1aa40bb1/data/determiner_noun_agreement_irregular_1.jsonl",
        "sha256": "4f350e88db9e29e53ae96f1f0b5991c7809fd4fd403190907330b721e1e6e264",
        "licence": "CC BY 4.0",
        "mirror": "blimp/dev/determiner_noun_agreement_irregular_1.jsonl.xz",
    },
    {
        "url": "https://raw.githubusercontent.com/alexwarstadt/blimp/3e56b06fcabca9b30822fc66435fca6b1aa40bb1/data/determiner_noun_agreement_irregular_2.jsonl",
        "sha256": "d688af0ccd0614d24a936e0929276784f37554f3ad3e247c3bade8dcaa9099df",
        "licence": "CC BY 4.0",
        "mirror": "blimp/dev/determiner_noun_agreement_irregular_2.jsonl.xz",
    },
    {
        "url": "https://raw.githubusercontent.com/alexwarstadt/blimp/3e56b06fcabca9b30822fc66435fca6b1aa40bb1/data/determiner_noun_agreement_with_adj_2.jsonl",
        "sha256": "8d2828d7dfbfc3f7191024514060fedb033ea2e232304f63448c33051a85d2b3",
        "licence": "CC BY 4.0",
        "mirror": "blimp/dev/determiner_noun_agreement_with_adj_2.jsonl.xz",
    },
    {
        "url": "https://raw.githubusercontent.com/alexwarstadt/blimp/3e56b06fcabca9b30822fc66435fca6b1aa40bb1/data/determiner_noun_agreement_with_adj_irregular_1.jsonl",
        "sha256": "1f4c6e42a48f4220afec629679641479feac3883cd7fa346d9e9e129cd7e8f55",
        "licence": "CC BY 4.0",
        "mirror": "blimp/dev/determiner_noun_agreement_with_adj_irregular_1.jsonl.xz",
    },
    {
        "url": "https://raw.githubusercontent.com/alexwarstadt/blimp/3e56b06fcabca9b30822fc66435fca6b1aa40bb1/data/determiner_noun_agreement_with_adjective_1.jsonl",
        "sha256": "2c3de4e7b7aea499fb7cf1b23b9c3b63662289880f991b9ffabe5ceb94cf7430",
        "licence": "CC BY 4.0",
        "mirror": "blimp/dev/determiner_noun_agreement_with_adjective_1.jsonl.xz",
    },
    {
        "url": "https://raw.githubusercontent.com/alexwarstadt/blimp/3e56b06fcabca9b30822fc66435fca6b1aa40bb1/data/distractor_agreement_relative_clause.jsonl",
        "sha256": "854728b6db8f23f12583f7332b654835351eaedb50783e6f2a3bf6c101b8c422",
        "licence": "CC BY 4.0",
        "mirror": "blimp/dev/distractor_agreement_relative_clause.jsonl.xz",
    },
    {
        "url": "https://raw.githubusercontent.com/alexwarstadt/blimp/3e56b06fcabca9b30822fc66435fca6b1aa40bb1/data/irregular_plural_subject_verb_agreement_2.jsonl",
        "sha256": "9b22db814e7b7251f4abafe8beb9616f2f46eaa58f7cdb701cbc737cc8f1a124",
        "licence": "CC BY 4.0",
        "mirror": "blimp/dev/irregular_plural_subject_verb_agreement_2.jsonl.xz",
    },
    {
        "url": "https://raw.githubusercontent.com/alexwarstadt/blimp/3e56b06fcabca9b30822fc66435fca6b1aa40bb1/data/regular_plural_subject_verb_agreement_1.jsonl",
        "sha256": "1a18d94062c8e792c0a200a3b00dff0e051a92bb084c05e9b5e5c73bee32a620",
        "licence": "CC BY 4.0",
        "mirror": "blimp/dev/regular_plural_subject_verb_agreement_1.jsonl.xz",
    },
    {
        "url": "https://raw.githubusercontent.com/alexwarstadt/blimp/3e56b06fcabca9b30822fc66435fca6b1aa40bb1/data/regular_plural_subject_verb_agreement_2.jsonl",
        "sha256": "e5b4668811e63b00ac4c9569cb9553281a39c21df43256905ad78e59ae24942c",
        "licence": "CC BY 4.0",
        "mirror": "blimp/dev/regular_plural_subject_verb_agreement_2.jsonl.xz",
    },
]


def items(*, seed: int, sample: int | None = None) -> pd.DataFrame:
    """One row per pair: item (paradigm and pair number), paradigm, sentence_good, sentence_bad.

    `sample` takes the first pairs of every paradigm, the same for every seed: their order in BLiMP
    is already random.
    """
    if sample is not None and not 0 < sample <= PAIRS:
        raise InputError(
            f"blimp_agreement: sample is {sample!r}; allowed are 1 to {PAIRS} pairs of each paradigm."
        )
    rows = []
    for source in SOURCE:
        lines = fetch(source).read_text(encoding="utf-8").splitlines()
        for pair in map(json.loads, lines[:sample]):
            rows.append(
                (
                    f"{pair['UID']}-{pair['pairID']}",
                    pair["UID"],
                    pair["sentence_good"],
                    pair["sentence_bad"],
                )
            )
    return pd.DataFrame(rows, columns=list(COLUMNS))
