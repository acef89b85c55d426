"""Tests of activation patching."""

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.architectures import CAUSAL, MORE_CAUSAL, directory_of, model_of
from tests.lm.broken import overflowing
from tests.measures.stand_in import StandIn
from tests.shelf import byte_tokenizer, tiny_model
from transect.errors import InputError, NotApplicable
from transect.lm import load
from transect.measures.mechanism import activation_patching
from transect.store import cell_store

PAIRS = [
    ("the dog near the cabinet", "the dogs near the cabinet", "runs", "run"),
    ("a big cat behind the key", "a red cat behind the keys", "sleeps", "sleep"),
    ("this key of the big cat", "this cat of the big key", "runs", "sees"),
]
# by this measure on torch 2.13, CPU: the last layer's recoveries of the first pair, heads 0 to 3
LAST = [0.08733, 0.22049, -0.01261, 0.50814]


def items(*rows):
    """Items 0, 1, ... of (clean, corrupted, answer, foil)."""
    table = pd.DataFrame(rows or PAIRS, columns=["clean", "corrupted", "answer", "foil"])
    return table.assign(item=table.index.map(str))


def measured(model, *rows, **options):
    return activation_patching.measure(model, items(*rows), seed=0, **options)


def grid(rows, item, metric, column):
    """The values [layer, position or head] of an item."""
    chosen = rows[(rows["item"] == item) & (rows["metric"] == metric)]
    return chosen.pivot(index="layer", columns=column, values="value").to_numpy(dtype=float)


def by_hooks(path, place, pair):
    """Logit differences: clean, corrupted, patched [layer, position or head], by one plain hooked
    forward each.
    """
    network = AutoModelForCausalLM.from_pretrained(path).eval()
    tokenizer = AutoTokenizer.from_pretrained(path)
    clean, corrupted = (
        torch.tensor([[tokenizer.bos_token_id, *tokenizer(t)["input_ids"]]]) for t in pair[:2]
    )
    answer, foil = (tokenizer(word)["input_ids"][-1] for word in pair[2:])
    layers = network.gpt_neox.layers
    modules = [layer if place == "residual" else layer.attention.dense for layer in layers]

    def difference(ids):
        with torch.no_grad():
            logits = network(ids).logits[0, -1]
        return float(logits[answer] - logits[foil])

    kept = {}
    hooks = [
        m.register_forward_pre_hook(lambda m, args: kept.__setitem__(m, args[0].clone()))
        for m in modules
    ]
    before = difference(clean)
    for hook in hooks:
        hook.remove()
    n = clean.shape[1] if place == "residual" else 4
    patched = np.zeros((len(modules), n))
    for layer, k in np.ndindex(*patched.shape):
        at = (0, k) if place == "residual" else (0, slice(None), slice(8 * k, 8 * k + 8))

        def change(module, args, at=at):
            x = args[0].clone()
            x[at] = kept[module][at]
            return (x, *args[1:])

        hook = modules[layer].register_forward_pre_hook(change)
        patched[layer, k] = difference(corrupted)
        hook.remove()
    return before, difference(corrupted), patched


@pytest.mark.parametrize(("component", "column"), [("residual", "position"), ("head", "head")])
def test_values_equal_one_hooked_forward_each(component, column, tmp_path):
    """Logit differences to 1e-5; recovery = (patched - corrupted) / (clean - corrupted)."""
    path = directory_of(tmp_path, "gpt_neox")
    rows = measured(load(path), component=component)
    assert rows["error"].isna().all()
    for number, pair in enumerate(PAIRS):
        clean, corrupted, patched = by_hooks(path, component, pair)
        item = str(number)
        np.testing.assert_allclose(
            grid(rows, item, "logit_difference", column), patched, atol=1e-5, rtol=0
        )
        recovery = (patched - corrupted) / (clean - corrupted)
        np.testing.assert_allclose(
            grid(rows, item, "recovery", column), recovery, atol=2e-5 / abs(clean - corrupted)
        )
        whole = rows[(rows["item"] == item) & rows["layer"].isna()].set_index("metric")["value"]
        assert whole["logit_difference_clean"] == pytest.approx(clean, abs=1e-5)
        assert whole["logit_difference_corrupted"] == pytest.approx(corrupted, abs=1e-5)


def test_golden_values(tmp_path):
    """VERSION 1 on a fixed GPT-NeoX: a change of these numbers needs a new VERSION."""
    rows = measured(load(tiny_model(tmp_path, "gpt_neox")), component="head")
    assert activation_patching.VERSION == 2
    assert grid(rows, "0", "recovery", "head")[1].tolist() == pytest.approx(LAST, abs=1e-4)


def test_where_the_runs_agree_nothing_is_recovered():
    """Exactly 0 before the first differing token, and at every equal token of layer 0; 1 where the
    only one differs.
    """
    rows = measured(model_of("llama"), *PAIRS[:2])
    first, second = (grid(rows, item, "recovery", "position") for item in "01")
    assert first.shape == (2, 6)  # a BOS and five words
    assert np.flatnonzero(first[0]).tolist() == [2] and first[0, 2] == pytest.approx(1, abs=1e-5)
    assert (first[:, :2] == 0).all() and (first[1, 2:] != 0).all()
    assert np.flatnonzero(second[0]).tolist() == [2, 6]


def test_positions_count_the_opening_token():
    """Without a BOS there is one position fewer."""
    rows = measured(model_of("gpt2"), PAIRS[0], bos=False)
    assert np.flatnonzero(grid(rows, "0", "recovery", "position")[0]).tolist() == [1]


def test_rows_say_where_they_apply():
    """A position or a head, never both; the store takes the rows as they are."""
    for component, column, other in (
        ("residual", "position", "head"),
        ("head", "head", "position"),
    ):
        rows = cell_store.as_values(
            "", measured(model_of("gpt_neox"), PAIRS[0], component=component)
        )
        patched = rows[rows["metric"].isin(["recovery", "logit_difference"])]
        assert patched[["layer", column]].notna().all(axis=None) and patched[other].isna().all()
        assert len(patched) == 2 * 2 * (6 if component == "residual" else 4)


def test_a_model_whose_layers_differ_has_heads_where_it_has_them():
    """RecurrentGemma: one attention layer of three, under its own number."""
    rows = measured(model_of("recurrent_gemma"), PAIRS[0], component="head")
    assert sorted(rows["layer"].dropna().unique()) == [2]


def test_the_budget_changes_no_value():
    """One byte: pairs one by one, nothing kept of the linear maps."""
    model, small = model_of("gpt_neox"), model_of("gpt_neox")
    small.budget = 1
    a, b = measured(model), measured(small)
    assert a.drop(columns="value").equals(b.drop(columns="value"))
    np.testing.assert_allclose(a["value"], b["value"], atol=2e-5)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (("the dog", "the big dog", "runs", "run"), "clean has 2 tokens, corrupted 3"),
        (("the dog", "the dog", "runs", "run"), "clean and corrupted are the same tokens"),
        (("", "the dog", "runs", "run"), "clean: there is no text"),
        (("the dog", None, "runs", "run"), "corrupted: there is no text"),
        (("the dog", "the cat", "", "run"), "answer: there is no word"),
        (
            ("the dog", "the cat", "runs", "runs sleeps"),
            "foil: 'runs sleeps' is 2 tokens after the text; it must be one",
        ),
        (("the dog", "the cat", "runs", "jumps"), "foil: 'jumps' is not in the vocabulary"),
        (("the dog", "the cat", "runs", "runs"), "answer and foil are the same token"),
        (
            ("<s> the dog", "<s> the cat", "runs", "run"),
            "clean: the text spells '<s>', a control token",
        ),
        (("the " * 64, "a " * 64, "runs", "run"), "clean: the text has 65 tokens"),
    ],
)
def test_an_item_that_cannot_be_measured_says_why_and_the_others_are_kept(row, told):
    """Rows with an error and no value, in the items' order."""
    rows = measured(model_of("gpt_neox"), PAIRS[0], row, PAIRS[1])
    refused = rows[rows["item"] == "1"]
    assert refused["value"].isna().all() and refused["error"].str.contains(told, regex=False).all()
    assert refused["metric"].tolist() == ["recovery", "logit_difference"]
    kept = rows[rows["item"] != "1"].reset_index(drop=True)
    assert kept["value"].notna().all() and rows["item"].drop_duplicates().tolist() == [
        "0",
        "1",
        "2",
    ]


def test_nothing_to_recover_refuses_the_recovery_alone():
    """Answer and foil whose unembeddings are the same: both differences are 0, the logit
    differences are there.
    """
    model = model_of("gpt_neox")
    runs, run = model.encode("runs run")
    with torch.no_grad():
        weight = model.network.get_output_embeddings().weight
        weight[runs] = weight[run]
    rows = measured(model, PAIRS[0])
    refused = rows[rows["error"].notna()]
    assert (
        refused["metric"].tolist() == ["recovery"]
        and "nothing to recover" in refused["error"].item()
    )
    assert (rows.loc[rows["metric"] == "logit_difference", "value"].abs() < 1e-5).all()
    assert rows.loc[rows["metric"] == "clean_preferred", "value"].tolist() == [
        0
    ]  # a tie is no preference


def test_logits_that_are_not_numbers_are_an_error():
    """Of every item, not a value."""
    model = model_of("gpt_neox")
    with torch.no_grad():
        model.network.gpt_neox.final_layer_norm.weight[0] = np.nan
    rows = measured(model)
    assert (
        rows["value"].isna().all()
        and (rows["error"] == "the model's logits are not numbers (NaN)").all()
    )


def test_words_are_written_as_the_text_goes_on(tmp_path):
    """Letters with a space if that is one token, else as they stand; after a space, and other
    marks, as they stand.
    """
    model = load(tiny_model(tmp_path, "gpt2", tokenizer=byte_tokenizer()))
    for text, word, expected in [
        ("ab", "c", "c"),
        ("ab ", "c", "c"),
        ("ab", " ", " "),
        ("ab", ".", "."),
    ]:
        found = activation_patching._token(model, text, model.encode(text), word)
        assert found == model.encode(expected)[0]
    words = model_of("gpt2")
    assert (
        activation_patching._token(words, "the dog", words.encode("the dog"), "runs")
        == words.encode("runs")[0]
    )
    # "dog." is no word, " ." is
    assert (
        activation_patching._token(words, "the dog", words.encode("the dog"), ".")
        == words.encode(".")[0]
    )


def test_an_unknown_component_is_named():
    """With the nearest."""
    with pytest.raises(InputError, match="Did you mean 'head'"):
        measured(model_of("gpt2"), component="heads")


@pytest.mark.parametrize(("kind", "component"), [("mamba", "head"), ("albert", "residual")])
def test_a_model_without_the_place_is_not_applicable(kind, component):
    """Not an error of each item."""
    with pytest.raises(NotApplicable):
        measured(model_of(kind), component=component)


def test_a_model_that_is_no_network_is_not_applicable():
    """Nothing to put in."""
    with pytest.raises(NotApplicable):
        measured(StandIn(logprob=lambda ids, t: -1.0))


def test_the_clean_answer_is_preferred_where_its_logit_is_larger(tmp_path):
    """One row 0 or 1 per item: the sign of the clean run's logit difference; answer and foil
    exchanged, the other one.
    """
    model = load(tiny_model(tmp_path, "gpt_neox"))
    swapped = [(clean, corrupted, foil, answer) for clean, corrupted, answer, foil in PAIRS]
    rows = measured(model, *PAIRS, *swapped)
    by = {
        metric: rows.loc[rows["metric"] == metric, "value"].to_numpy()
        for metric in activation_patching.UNIT
    }
    assert (
        by["clean_preferred"].tolist() == (by["logit_difference_clean"] > 0).astype(float).tolist()
    )
    assert (by["clean_preferred"][:3] + by["clean_preferred"][3:]).tolist() == [1, 1, 1]


def test_items_that_the_model_gets_wrong_can_be_left_out(tmp_path):
    """only_preferred: no recovery of these, with the reason; the flag and the two runs stay; others
    as without it.
    """
    model = load(tiny_model(tmp_path, "gpt_neox"))
    swapped = [(clean, corrupted, foil, answer) for clean, corrupted, answer, foil in PAIRS]
    every, some = (
        measured(model, *PAIRS, *swapped),
        measured(model, *PAIRS, *swapped, only_preferred=True),
    )
    wrong = set(every.loc[(every["metric"] == "clean_preferred") & (every["value"] == 0), "item"])
    refused = some[some["error"].notna()]
    assert len(wrong) == 3 and set(refused["item"]) == wrong
    assert set(refused["metric"]) == {"recovery", "logit_difference"}
    assert refused["error"].str.contains("the clean answer is not preferred").all()
    left = ~every["item"].isin(wrong)
    pd.testing.assert_frame_equal(
        every[left].reset_index(drop=True),
        some[~some["item"].isin(wrong)].reset_index(drop=True),
        check_dtype=False,
    )
    with pytest.raises(InputError, match="only_preferred: 'yes'; allowed are true, false"):
        measured(model, only_preferred="yes")


# no list of blocks on whose input something can be put
PLACELESS = {"lstm"}


@pytest.mark.parametrize(
    "kind", [kind for kind in (*CAUSAL, *MORE_CAUSAL) if kind not in PLACELESS]
)
def test_an_item_without_numbers_costs_no_other_its_values(kind):
    """Every architecture, one embedding that is none, in a text of the same length: the others as
    in a sound model.
    """
    sound, broken = model_of(kind), model_of(kind)
    overflowing(broken, sound.encode("this")[0])
    pairs = [
        ("this dog runs", "the dog runs", "run", "sees"),
        *(("the dog sees", "a dog sees", "run", "sees"),) * 2,
    ]
    expected, found = measured(sound, *pairs), measured(broken, *pairs)
    told = found[found["item"] == "0"]
    assert (
        told["value"].isna().all()
        and (told["error"] == "the model's logits are not numbers (NaN)").all()
    )
    one, other = (rows[rows["item"] != "0"].reset_index(drop=True) for rows in (expected, found))
    assert one["error"].isna().all() and other["error"].isna().all()
    assert one.drop(columns=["value", "error"]).equals(other.drop(columns=["value", "error"]))
    np.testing.assert_allclose(other["value"], one["value"], atol=2e-5, rtol=1e-4)


def test_a_run_that_diverged_is_an_error_of_every_item():
    """Weights that are NaN, in which no part can be found: not an architecture that has no such
    place.
    """
    model = model_of("gpt_neox")
    for parameter in model.network.parameters():
        parameter.data.fill_(np.nan)
    rows = measured(model)
    assert (rows["error"] == "the model's logits are not numbers (NaN)").all() and len(rows) == 6
