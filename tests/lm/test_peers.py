"""The engine beside other programs on the same tiny models: their numbers are in references/, with
their versions.

Where a reference was computed on other weights or ids than these (transformers or tokenizers
changed what a seed gives), the test fails and says so: run `python -m bench.references`.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.architectures import directory_of
from tests.lm import peer_inputs as inputs
from transect.lm import load
from transect.lm.repeats import repeats
from transect.measures.behaviour import minimal_pair, surprisal
from transect.measures.mechanism import induction

SUMS = 1e-4  # nats: float32 sums of up to 80 tokens
LOGITS = 1e-4
ATTENTION = 1e-5


@cache
def reference(program):
    """The file of one program."""
    return json.loads((Path(__file__).parent / "references" / f"{program}.json").read_text())


def values(program, quantity, name, path, ids):
    """What the program computed, after the check that it saw the same weights and ids."""
    known = reference(program)["inputs"][quantity][name]
    assert inputs.digest(path, ids) == known, (
        "other weights or ids than the reference's: python -m bench.references"
    )
    return reference(program)[quantity][name]


def sentence_sums(path, sentences, metric, **options):
    """The measure's value for each sentence, which is the good one of one pair."""
    items = pd.DataFrame({"item": map(str, range(len(sentences))), "sentence_good": sentences})
    rows = minimal_pair.measure(
        load(path), items.assign(sentence_bad=sentences[::-1]), seed=0, **options
    )
    return rows[rows["metric"] == metric]["value"].to_numpy()


@pytest.mark.parametrize("program", ["minicons", "lm_eval"])
@pytest.mark.parametrize("kind", inputs.CAUSAL)
def test_sentence_sums_equal(tmp_path, program, kind):
    """30 sentences, BOS first: the log-probability sums of minicons and of lm-eval."""
    path = inputs.causal_model(tmp_path, kind)
    ids = inputs.ids_of({"path": path, "sentences": inputs.SENTENCES})
    expected = values(program, "sums", kind, path, ids)
    assert sentence_sums(path, inputs.SENTENCES, "logprob_good_nats") == pytest.approx(
        expected, abs=SUMS
    )


@pytest.mark.parametrize("variant", ["original", "within_word"])
def test_pseudo_log_likelihoods_equal_minicons(tmp_path, variant):
    """Both variants on a BERT with word pieces."""
    path = inputs.masked_model(tmp_path)
    ids = inputs.ids_of({"path": path, "sentences": inputs.PIECE_SENTENCES})
    expected = values("minicons", "pll", "bert", path, ids)[variant]
    found = sentence_sums(path, inputs.PIECE_SENTENCES, "pll_good_nats", pll=variant)
    assert found == pytest.approx(expected, abs=SUMS)


@pytest.mark.parametrize("kind", inputs.SEQ2SEQ)
def test_encoder_decoder_sums_equal_minicons(tmp_path, kind):
    """What the encoder read is the context; the decoder's sentences start after its start token."""
    path = directory_of(tmp_path, kind)
    ids = inputs.ids_of({"path": path, "sentences": inputs.WORD_SENTENCES})
    expected = values("minicons", "seq2seq", kind, path, ids)
    found = sentence_sums(path, inputs.WORD_SENTENCES, "logprob_good_nats", context=inputs.SOURCE)
    assert found == pytest.approx(expected, abs=SUMS)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A row per word: its surprisals by the engine and, summed over the word's tokens, by minicons."""
    path = inputs.endless_model(tmp_path_factory.mktemp("peers"))
    model = load(path)
    items = pd.DataFrame({"item": range(len(inputs.SENTENCES)), "text": inputs.SENTENCES})
    rows = surprisal.measure(model, items, seed=0)
    ids = inputs.ids_of({"path": path, "sentences": inputs.SENTENCES})
    expected = values("minicons", "surprisals", "endless", path, ids)
    table = rows.pivot(index=["item", "position"], columns="metric", values="value").reset_index()
    for name, tokens in expected.items():
        sums = [
            np.bincount(_words(text, model), weights=scores)
            for text, scores in zip(inputs.SENTENCES, tokens, strict=True)
        ]
        table[name] = np.concatenate(sums)
    return table


def _words(text, model):
    """The number of each token's word; whitespace belongs to the word after it."""
    spans = model.encodings([text])["offset_mapping"][0]
    return [len(text[:end].split()) - bool(text[start:end].strip()) for start, end in spans]


def test_uncorrected_surprisals_equal_minicons(words):
    """Sums over the tokens of each of 200 words."""
    assert len(words) > 150
    assert words["surprisal_bits_uncorrected"].to_numpy() == pytest.approx(
        words["uncorrected"].to_numpy(), abs=SUMS
    )


def test_corrected_surprisals_equal_minicons_bow_correction(words):
    """All but first words, whose border minicons leaves out, on a model that never ends a text
    (minicons counts no end).
    """
    inner = words[words["position"] > 0]
    assert (inner["corrected"] - inner["uncorrected"]).abs().median() > 0.1
    assert inner["surprisal_bits"].to_numpy() == pytest.approx(
        inner["corrected"].to_numpy(), abs=SUMS
    )


@pytest.mark.parametrize("kind", inputs.CAUSAL)
def test_induction_scores_equal_transformer_lens(tmp_path, kind):
    """Per layer and head, with and without a gap between the two occurrences."""
    path = inputs.word_model(tmp_path, kind)
    model = load(path)
    made = repeats(model, **inputs.INDUCTION)
    given = [{"ids": r.ids.tolist(), "length": r.length, "distance": r.distance} for r in made]
    expected = values("transformer_lens", "induction", kind, path, given)
    rows = induction.measure(model, pd.DataFrame({"item": []}), **inputs.INDUCTION)
    for condition, scores in zip(made, expected, strict=True):
        chosen = rows[(rows["item"] == condition.name) & (rows["metric"] == "prefix_matching")]
        assert chosen.sort_values(["layer", "head"])["value"].to_numpy() == pytest.approx(
            np.ravel(scores), abs=ATTENTION
        )


@pytest.mark.parametrize("component", ["residual", "head"])
@pytest.mark.parametrize("kind", inputs.CAUSAL)
def test_patching_equals_transformer_lens(tmp_path, kind, component):
    """Logit difference and recovery for resid_pre at each layer and position, and for z of each
    head at all positions.
    """
    activation_patching = pytest.importorskip("transect.measures.mechanism.activation_patching")
    path = inputs.word_model(tmp_path, kind)
    model = load(path)
    expected = values("transformer_lens", "patching", kind, path, inputs.pair_ids(model))
    columns = ["clean", "corrupted", "answer", "foil"]
    items = pd.DataFrame(inputs.PAIRS, columns=columns).assign(
        item=lambda table: table.index.map(str)
    )
    rows = activation_patching.measure(model, items, seed=0, component=component)
    for item, pair in enumerate(expected):
        chosen = rows[rows["item"] == str(item)].sort_values(
            ["layer", "position" if component == "residual" else "head"]
        )
        by_metric = {
            name: part["value"].to_numpy(dtype=float) for name, part in chosen.groupby("metric")
        }
        patched = np.ravel(pair[component])
        assert by_metric["logit_difference"] == pytest.approx(patched, abs=LOGITS)
        scale = pair["clean"] - pair["corrupted"]
        assert by_metric["recovery"] == pytest.approx(
            (patched - pair["corrupted"]) / scale, abs=LOGITS / abs(scale)
        )
