"""What the columns of a study's tables mean, where a name means the same in every table; an
analysis declares its own (TABLES).

A meaning is a text that ends with the unit in brackets, where there is one: "weight of the largest
file [bytes]". [outcome] is the unit of the outcome's metric, which the column `unit` names row by
row.
"""

import re

TABLES = ("measurements", "grid", "registry")  # what was measured, as files in a study's results
ITEMS = "items"  # folder there: the items by stimulus set

SHARED: dict[str, str] = {
    # what was measured, of which model
    "cell": "key of the cell: digest of everything its values depend on",
    "suite": "models released together under one design",
    "run": "training run: one seed, one size, one corpus",
    "configuration": "runs that differ in the seed only",
    "family": "models that share a design or an ancestor",
    "role": "population, held_out or baseline",
    "revision": "name of the checkpoint in its run",
    "last_revision": "the last checkpoint of the run that the study samples",
    "step": "optimiser steps at the checkpoint [steps]",
    "tokens_seen": "training tokens seen at the checkpoint [tokens]",
    "measure": "name of the measure",
    "stimuli": "name of the stimulus set; empty for a measure that makes its own sequences",
    "entry": "name of the study's entry, where a measure stands several times on the same stimuli with other options",
    "item": "id of the item in its stimulus set",
    "metric": "what of the measure the value is",
    "value": "the measured value [column unit]",
    "unit": "unit of the metric (in result tables: of the outcome's metric)",
    "region": "region of the item that the row speaks of",
    "word": "word that the row speaks of",
    "position": "place in the item, from 0",
    "layer": "layer of the network, from 0",
    "head": "attention head of the layer, from 0",
    # texts of items
    "sentence_good": "the sentence that is right",
    "sentence_bad": "the sentence that is wrong",
    "text": "the text",
    "clean": "text after which the answer follows",
    "corrupted": "text after which the foil follows",
    "answer": "word that follows the clean text",
    "foil": "word that follows the corrupted text",
    # the grid
    "state": "measured, not applicable, missing or failed",
    "reason": "why there is no number or no interval; empty where there is one",
    "n_refused": "items of the cell that the measure refused [items]",
    "items": "digest of the items as they were measured",
    "file": "file of the cell store that holds the values",
    "sha256": "digest of the values",
    # estimates
    "outcome": "name of the outcome in the study file",
    "group": "runs that the row speaks of, by the levels of `by`",
    "term": "the effect or level that the row speaks of",
    "estimate": "the estimate [outcome]",
    "se": "standard error of the estimate [as estimate]",
    "df": "degrees of freedom of its t distribution",
    "lower": "lower end of the 95 % interval [as estimate]",
    "upper": "upper end of the 95 % interval [as estimate]",
    "lower90": "lower end of the 90 % interval [as estimate]",
    "upper90": "upper end of the 90 % interval [as estimate]",
    "least": "lower bound of the outcome, if it has one [outcome]",
    "most": "upper bound of the outcome, if it has one [outcome]",
    "trials": "rows of 0 and 1 behind the value; infinite where they are none [rows]",
    "n_effective": "trials of 0 and 1 that would tell as much (src/transect/stats/inference/bounded.py) [trials]",
    "stretch": "c of the limit on the side of its sign: further out by c z^2 (src/transect/stats/inference/bounded.py)",
    "cut": "which of estimate, lower and upper were cut at what is possible",
    "p": "two-sided p of the hypothesis that the true value is 0, not corrected for the number of tests",
    "units": "sampling units behind the row, in words",
    "n_configurations": "configurations behind the row [configurations]",
    "n_runs": "runs behind the row [runs]",
    "n_items": "items behind the row [items]",
    "n_sizes": "different sizes behind the row [sizes]",
    "chance": "the value without the behaviour, as the study gives it [outcome]",
    "threshold": "value that counts as reached, as the study gives it [outcome]",
    "size": "name of the registry column that is the size",
    # of a run, from its facts
    "model_class": "decoder, encoder, encoder-decoder, state-space, recurrent, hybrid, n-gram or static",
    "checkpoints": "checkpoints that can be loaded [checkpoints]",
    "tokenizer": "key of the tokenizer; equal where it is shared",
    "tokenizer_algorithm": "how the tokenizer was made: bpe, unigram, wordpiece, bytes ...",
    "language_family": "family of the one language of the run",
    "morphology": "morphological type of the one language of the run",
}


def meaning_and_unit(text: str) -> tuple[str, str]:
    """Meaning and unit of a declared column: "size of the head [pixels]" -> ("size of the head",
    "pixels").
    """
    match = re.fullmatch(r"(.*?)(?:\s*\[([^\[\]]*)\])?", text, re.DOTALL)
    assert match is not None
    return match[1], match[2] or ""
