"""Tests of log-probabilities, pseudo-log-likelihoods and attention against the plain transformers
forward.
"""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from tests import architectures
from tests.lm.plain_forward import apart
from tests.shelf import CAUSAL, random_sequences, tiny_model
from transect.errors import InputError, NotApplicable, ResourceError
from transect.lm import load
from transect.lm.network import NetworkModel
from transect.lm.ngram import fit_ngram
from transect.lm.score import forward

TOLERANCE = 1e-5  # nats per token


def plain_logprobs(path, sequences):
    """Log-probabilities by one unbatched forward per sequence, in float64 after the logits."""
    network = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    result = []
    for ids in sequences:
        with torch.no_grad():
            table = torch.log_softmax(network(torch.tensor([ids])).logits[0].double(), -1).numpy()
        result.append(np.array([np.nan, *(table[t - 1, ids[t]] for t in range(1, len(ids)))]))
    return result


@pytest.mark.parametrize("kind", CAUSAL)
def test_logprobs_equal_the_plain_forward_in_any_batch_and_order(kind, tmp_path):
    """For batches of 1, 2, 7, 32 and the budget's own, in two orders: 1e-5 nats per token."""
    path = tiny_model(tmp_path, kind)
    model = load(path)
    sequences = random_sequences(40, model.vocab_size)
    expected = plain_logprobs(path, sequences)
    order = np.random.default_rng(0).permutation(len(sequences))
    for batch_size in (1, 2, 7, 32, None):
        for places in (range(len(sequences)), order):
            found = model.token_logprobs([sequences[i] for i in places], batch_size=batch_size)
            for values, i in zip(found, places, strict=True):
                np.testing.assert_allclose(
                    values, expected[i], atol=TOLERANCE, rtol=0, equal_nan=True
                )


def test_only_positions_after_the_prefix_are_scored(tmp_path):
    """A prefix is read: its own positions are NaN, the others as without it."""
    model = load(tiny_model(tmp_path, "gpt_neox"))
    ids = random_sequences(1, model.vocab_size, shortest=9, longest=9)[0]
    whole, rest = model.token_logprobs([ids, ids], [1, 5])
    assert np.isnan(rest[:5]).all()
    np.testing.assert_allclose(rest[5:], whole[5:], atol=TOLERANCE)


def test_a_sequence_with_nothing_to_score_is_all_nan(tmp_path):
    """One token, or a prefix as long as the sequence: no prediction, and no error."""
    model = load(tiny_model(tmp_path, "llama"))
    scores = model.token_logprobs([[5], [5, 6], []], [1, 2, 1])
    assert [len(s) for s in scores] == [1, 2, 0] and all(np.isnan(s).all() for s in scores)


def test_top1_is_the_argmax(tmp_path):
    """top1 is True exactly where the token is the argmax of the plain forward."""
    path = tiny_model(tmp_path, "llama")
    model = load(path)
    network = AutoModelForCausalLM.from_pretrained(path).eval()
    ids = [5]
    with torch.no_grad():
        for step in range(12):  # every other token is the argmax, the others are not
            best = int(network(torch.tensor([ids])).logits[0, -1].argmax())
            ids.append(best if step % 2 else (best + 1) % model.vocab_size)
    (scores,) = model.token_scores([ids], top1=True)
    assert scores.top1.tolist() == [False] + [bool(step % 2) for step in range(12)]


@pytest.mark.parametrize("kind", ["gpt2", "ngram"])
def test_one_of_two_equal_logits_is_top1(tmp_path, kind):
    """Every token equally probable (weights of zero; an n-gram model that has counted nothing
    else): the first one alone is the most probable, as in generation."""
    model = load(tiny_model(tmp_path, kind))
    if kind == "ngram":
        model.tables = fit_ngram([list(range(model.vocab_size))], model.vocab_size, order=1)
    else:
        for parameter in model.network.parameters():
            parameter.data.zero_()
    scores = model.token_scores([[1, 0, 5], [1, 7, 0]], top1=True)
    assert [s.top1.tolist() for s in scores] == [[False, True, False], [False, False, True]]


@pytest.fixture
def unembedded(monkeypatch):
    """The numbers of positions that the unembedding's product is taken of, as they come."""
    seen, plain = [], forward._tiles

    def noted(head, x):
        seen.append(len(x))
        return plain(head, x)

    monkeypatch.setattr(forward, "_tiles", noted)
    return seen


def test_the_unembedding_runs_on_chosen_positions_only(tmp_path, unembedded):
    """The cut-down forward is used where it is exact (all of these), for masked models too."""
    for kind in (*CAUSAL, "bert"):
        model = load(tiny_model(tmp_path, kind))
        if kind == "bert":
            model.pll([[0, 7, 8, 9, 1]], [[-1, 0, 1, 2, -1]])
        else:
            model.token_logprobs([[5, 6, 7, 8, 9]], [3])
        assert unembedded[-1] == (3 if kind == "bert" else 2)


def test_a_tail_that_scales_its_logits_is_kept(tmp_path):
    """Granite-like scaling after the unembedding: the model's own tail runs, whatever it does."""
    path = tiny_model(tmp_path, "llama")
    model = load(path)
    plain = model.network.forward
    model.network.forward = lambda *a, **k: scaled(plain(*a, **k))
    (found,) = model.token_logprobs([[5, 6, 7, 8]])
    (expected,) = plain_logprobs(path, [[5, 6, 7, 8]])
    assert np.abs(found - expected)[1:].min() > 0.01
    logits = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        table = torch.log_softmax(plain(logits).logits[0].double() / 3, -1)
    np.testing.assert_allclose(
        found[1:], [table[t - 1, logits[0, t]] for t in (1, 2, 3)], atol=TOLERANCE
    )


def scaled(output):
    """The output with a third of its logits."""
    output.logits = output.logits / 3
    return output


def planted(model, most, error):
    """The model's forward, which has no memory for more than so many rows."""
    plain = model.network.forward

    def limited(*args, **kwargs):
        if len(kwargs["input_ids"]) > most:
            raise error
        return plain(*args, **kwargs)

    model.network.forward = limited


def test_out_of_memory_halves_the_batch_and_changes_no_value(tmp_path):
    """A batch above 5 rows does not fit: the values are those of any batch, the failed sizes are
    recorded.
    """
    model = load(tiny_model(tmp_path, "gpt2"))
    sequences = random_sequences(16, model.vocab_size, shortest=8, longest=8)
    expected = model.token_logprobs(sequences)
    planted(model, 5, torch.OutOfMemoryError("planted"))
    np.testing.assert_allclose(model.token_logprobs(sequences), expected, atol=TOLERANCE)
    assert model.halvings == [16, 8, 8]


def test_out_of_memory_halves_packed_batches_too(tmp_path):
    """Packed rows above 1 per batch do not fit: the same values, still packed."""
    model = load(tiny_model(tmp_path, "gpt2"))
    sequences = branching_sequences(model.vocab_size, stems=12)
    expected = model.token_logprobs(sequences)
    assert model.packing
    planted(model, 1, torch.OutOfMemoryError("planted"))
    for values, other in zip(model.token_logprobs(sequences), expected, strict=True):
        np.testing.assert_allclose(values, other, atol=TOLERANCE)
    assert model.halvings


def test_one_sequence_that_does_not_fit_is_a_resource_error(tmp_path):
    """Nothing is left to halve: tried again later, on a larger machine."""
    model = load(tiny_model(tmp_path, "gpt2"))
    planted(
        model,
        0,
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes."),
    )
    with pytest.raises(ResourceError, match="single sequence"):
        model.token_logprobs([[5, 6, 7]])


def test_a_too_long_sequence_is_never_cut(tmp_path):
    """65 tokens in a context of 64 are an error that says so."""
    with pytest.raises(InputError, match="has 65 tokens; the context of gpt_neox is 64"):
        load(tiny_model(tmp_path, "gpt_neox")).token_logprobs([[5] * 65])


def test_an_unknown_id_is_an_error(tmp_path):
    """An id beyond the embedding is named, not looked up."""
    with pytest.raises(InputError, match="token id 999"):
        load(tiny_model(tmp_path, "gpt_neox")).token_logprobs([[5, 999]])


@pytest.mark.parametrize("batch_size", [1, 2, 7, 32, None])
def test_pll_equals_masking_by_hand(batch_size, tmp_path):
    """Kauf & Ivanova: masking token t, the later tokens of its word are masked too; one unbatched
    forward per token.
    """
    path = tiny_model(tmp_path, "bert")
    model = load(path)
    network = AutoModelForMaskedLM.from_pretrained(path, dtype=torch.float32).eval()
    texts = [
        [0, 7, 30, 31, 9, 1],
        [0, 12, 1],
        [0, 7, 30, 31, 10, 1],
        [0, 9, 9, 9, 30, 27, 27, 8, 1],
    ]
    words = [[-1, 0, 1, 1, 2, -1], [-1, 0, -1], [-1, 0, 1, 1, 2, -1], [-1, 0, 1, 2, 3, 3, 3, 4, -1]]
    for ids, numbers, found in zip(
        texts, words, model.pll(texts, words, batch_size=batch_size), strict=True
    ):
        for t, word in enumerate(numbers):
            if word < 0:
                assert np.isnan(found[t])
                continue
            masked = [
                model.mask_id if s >= t and numbers[s] == word else token
                for s, token in enumerate(ids)
            ]
            with torch.no_grad():
                table = torch.log_softmax(network(torch.tensor([masked])).logits[0, t].double(), -1)
            assert found[t] == pytest.approx(float(table[ids[t]]), abs=TOLERANCE)


def test_objectives_are_not_mixed(tmp_path):
    """A masked model has no log p(token | earlier tokens), a causal one no pseudo-log-likelihood."""
    with pytest.raises(NotApplicable):
        load(tiny_model(tmp_path, "bert")).token_logprobs([[5, 6]])
    with pytest.raises(NotApplicable):
        load(tiny_model(tmp_path, "gpt2")).pll([[5, 6]], [[0, 1]])


@pytest.mark.parametrize("kind", ["gpt_neox", "gpt2", "llama", "bert"])
def test_attention_patterns_equal_output_attentions(kind, tmp_path):
    """Read inside the call = returned by the eager model, so causality is not lost."""
    path = tiny_model(tmp_path, kind)
    model = load(path)
    maker = AutoModelForMaskedLM if kind == "bert" else AutoModelForCausalLM
    eager = maker.from_pretrained(path, attn_implementation="eager").eval()
    ids = np.array(random_sequences(5, model.vocab_size, shortest=11, longest=11))
    with torch.no_grad():
        expected = eager(torch.tensor(ids), output_attentions=True).attentions
    found = dict(model.attention_patterns(ids))
    assert sorted(found) == [0, 1]
    for layer, pattern in found.items():
        torch.testing.assert_close(pattern, expected[layer], atol=1e-6, rtol=0)


def test_attention_is_reduced_by_layer_row_and_head_in_any_batch(tmp_path):
    """[layer, batch, head], the same in batches of 2."""
    model = load(tiny_model(tmp_path, "llama"))
    ids = np.array(random_sequences(5, model.vocab_size, shortest=11, longest=11))
    found = model.attention(ids, lambda pattern: pattern[..., -1, 0], batch_size=2)
    expected = np.stack(
        [pattern[..., -1, 0].numpy() for _, pattern in model.attention_patterns(ids)]
    )
    assert found.shape == (2, 5, 4)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_attention_that_does_not_fit_is_read_by_halves(tmp_path):
    """No memory for more than 4 rows, told in the second layer: the same values, every row once."""
    model = load(tiny_model(tmp_path, "gpt_neox"))
    ids = np.array(random_sequences(16, model.vocab_size, shortest=10, longest=10))
    expected = model.attention(ids, lambda pattern: pattern[..., -1, 0])
    calls = []

    def limited(pattern):
        calls.append(len(pattern))
        if len(pattern) > 4 and len(calls) % 2 == 0:
            raise torch.OutOfMemoryError("planted")
        return pattern[..., -1, 0]

    np.testing.assert_allclose(model.attention(ids, limited), expected, atol=1e-6)
    assert model.halvings == [16, 8, 8]


def test_reading_attention_leaves_the_scores_as_they_were(tmp_path):
    """The model goes back to its own attention afterwards."""
    model = load(tiny_model(tmp_path, "gpt_neox"))
    before = model.token_logprobs([[5, 6, 7]])[0]
    list(model.attention_patterns(np.array([[5, 6, 7]])))
    assert model.network.config._attn_implementation == "sdpa"
    np.testing.assert_array_equal(model.token_logprobs([[5, 6, 7]])[0], before)


def test_a_model_without_attention_is_not_applicable(tmp_path):
    """No call of the registered attention is refused, not taken for an empty answer."""
    model = load(tiny_model(tmp_path, "mamba2"))
    with pytest.raises(NotApplicable):
        list(model.attention_patterns(np.array([[5, 6, 7]])))


def test_the_budget_sets_the_batches(tmp_path):
    """A budget of almost nothing still scores, one row at a time, to the same values."""
    path = tiny_model(tmp_path, "gpt_neox")
    model, small = load(path), load(path, budget=1)
    assert isinstance(small, NetworkModel) and small.budget == 1
    sequences = random_sequences(6, model.vocab_size)
    for a, b in zip(model.token_logprobs(sequences), small.token_logprobs(sequences), strict=True):
        np.testing.assert_allclose(a, b, atol=TOLERANCE, equal_nan=True)


def branching_sequences(vocab_size, *, stems=3, length=20, seed=3):
    """Sequences that share prefixes: each stem, and seven that leave it after 1 to 19 tokens."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(stems):
        stem = rng.integers(0, vocab_size, length).tolist()
        found += [
            [*stem[:at], *rng.integers(0, vocab_size, rng.integers(1, 5)).tolist()]
            for at in (1, 3, 8, 8, 15, 19)
        ]
        found += [stem, stem[:5]]
    return found


@pytest.mark.parametrize("kind", [*architectures.CAUSAL, *architectures.MORE_CAUSAL])
def test_every_architecture_gives_the_plain_forward_s_scores(kind):
    """Sequences that share prefixes, batches of 1, 2, 7, 32 and the budget's own, packed where the
    trial allows it and unpacked: 1e-5 nats per token from one plain forward each."""
    model = architectures.model_of(kind)
    sequences = branching_sequences(model.vocab_size)
    expected = plain_network_logprobs(model.network, sequences)
    order = np.random.default_rng(0).permutation(len(sequences))
    for allowed in (True, False):
        model._packing.allowed = allowed
        for batch_size in (1, 2, 7, 32, None):
            found = model.token_scores(
                [sequences[i] for i in order], top1=True, batch_size=batch_size
            )
            for scores, i in zip(found, order, strict=True):
                logprob, best, margin = expected[i]
                np.testing.assert_allclose(scores.logprob, logprob, atol=TOLERANCE, rtol=0)
                clear = np.abs(margin) > TOLERANCE
                np.testing.assert_array_equal(scores.top1[clear], best[clear])
    # the trial is called by the structure of the network, not by its name: what it must refuse, and
    # some it must take
    if kind in (
        "bloom",
        "mpt",
        "mamba",
        "mamba2",
        "rwkv",
        "recurrent_gemma",
        "mistral",
        "gemma2",
        "olmo3",
        "gpt_neo",
    ):
        assert not model.packing
    if kind in (
        "gpt2",
        "gpt_neox",
        "llama",
        "olmo",
        "olmo2",
        "qwen2",
        "qwen3",
        "opt",
        "phi",
        "gptj",
        "falcon",
    ):
        assert model.packing


def plain_network_logprobs(network, sequences):
    """(log p, whether it is the largest, by how much) of every token, by one unbatched forward per
    sequence.
    """
    result = []
    for ids in sequences:
        with torch.no_grad():
            table = torch.log_softmax(network(torch.tensor([ids])).logits[0].double(), -1).numpy()
        chosen = np.array([table[t - 1, ids[t]] for t in range(1, len(ids))])
        others = np.array([np.delete(table[t - 1], ids[t]).max() for t in range(1, len(ids))])
        margin = np.append(np.inf, chosen - others)
        result.append((np.append(np.nan, chosen), np.append(False, chosen >= others), margin))
    return result


def test_each_distinct_prefix_is_read_and_unembedded_once(tmp_path, unembedded):
    """Cells of the body and of the unembedding: no more than distinct prefixes, final tokens not
    among them.
    """
    model = load(tiny_model(tmp_path, "gpt_neox"))
    sequences = branching_sequences(model.vocab_size, stems=1)
    model.token_logprobs(sequences)  # the trial runs here
    read = []
    unembedded.clear()
    model.network.get_input_embeddings().register_forward_hook(
        lambda m, a, out: read.append(out.shape[:-1].numel())
    )
    model.token_logprobs(sequences)
    distinct = len({tuple(ids[:n]) for ids in sequences for n in range(1, len(ids))})
    assert sum(read) == sum(unembedded) == distinct


def test_what_shares_nothing_is_not_packed(tmp_path):
    """Unrelated sequences run in plain rows, without a mask of their own."""
    model = load(tiny_model(tmp_path, "gpt_neox"))
    model.token_logprobs(random_sequences(10, model.vocab_size, shortest=20))
    assert not model.packing


def test_the_memory_budget_bounds_packed_batches(tmp_path):
    """Rows x bytes of the longest <= half the budget (the other half is the logits'), for every
    batch of several rows.
    """
    model = load(tiny_model(tmp_path, "gpt_neox"), budget=2 * 2**20)
    sequences = branching_sequences(model.vocab_size, stems=20)
    model.token_logprobs(sequences)
    sizes = []
    model.network.get_input_embeddings().register_forward_hook(
        lambda m, a, out: sizes.append(tuple(out.shape[:2]))
    )
    model.token_logprobs(sequences)
    assert model.packing and len(sizes) > 1
    assert all(rows == 1 or rows * model._row_bytes(length) <= 2**20 for rows, length in sizes)


def test_the_self_check_finds_a_wrong_packing(tmp_path):
    """Rounding for a sound model; far above the tolerance when packing is forced on one with ALiBi."""
    sound = load(tiny_model(tmp_path, "gpt_neox"))
    sequences = branching_sequences(sound.vocab_size)
    assert 0 <= apart(sound, sequences) < TOLERANCE and sound.packing
    wrong = architectures.model_of("mpt")
    assert apart(wrong, sequences) < TOLERANCE
    wrong._packing._exact = {(32, 64): True}
    assert apart(wrong, sequences) > 1e-3


def test_nan_logits_give_nan_scores(tmp_path):
    """A broken weight: NaN at every scored position, no exception."""
    model = load(tiny_model(tmp_path, "gpt_neox"))
    with torch.no_grad():
        model.network.get_output_embeddings().weight[3, 0] = torch.nan
    sequences = branching_sequences(model.vocab_size)
    assert all(np.isnan(values).all() for values in model.token_logprobs(sequences))
    assert not model.packing


def test_bfloat16_runs_packed_and_sums_in_float32(tmp_path):
    """The trial runs in float32 and leaves the weights as they were; scores are those of bfloat16
    logits in float64 to its rounding (8 bits)."""
    path = tiny_model(tmp_path, "gpt_neox")
    model = load(path, dtype="bfloat16")
    before = {name: p.clone() for name, p in model.network.named_parameters()}
    sequences = branching_sequences(model.vocab_size)
    found = model.token_logprobs(sequences)
    assert model.packing
    for name, parameter in model.network.named_parameters():
        assert parameter.dtype == torch.bfloat16 and torch.equal(parameter, before[name])
    for values, (expected, _, _) in zip(
        found, plain_network_logprobs(model.network, sequences), strict=True
    ):
        np.testing.assert_allclose(values, expected, atol=0.3)


@pytest.mark.parametrize("kind", architectures.MASKED)
@pytest.mark.parametrize("variant", ["within_word", "original"])
def test_pll_of_every_masked_architecture(kind, variant):
    """Both variants against masking by hand, one unbatched forward per token, in padded batches."""
    model = architectures.model_of(kind)
    rng = np.random.default_rng(3)
    sequences = [rng.integers(5, model.vocab_size, n).tolist() for n in (2, 5, 9, 13)]
    words = [[t // 2 for t in range(len(ids))] for ids in sequences]
    for batch_size in (1, 7, None):
        found = model.pll(sequences, words, variant=variant, batch_size=batch_size)
        for ids, numbers, values in zip(sequences, words, found, strict=True):
            for t in range(0, len(ids), 2):
                hidden = range(t, t + 1 if variant == "original" else len(ids))
                row = [
                    model.mask_id if s in hidden and numbers[s] == numbers[t] else i
                    for s, i in enumerate(ids)
                ]
                with torch.no_grad():
                    table = torch.log_softmax(
                        model.network(torch.tensor([row])).logits[0, t].double(), -1
                    )
                assert values[t] == pytest.approx(float(table[ids[t]]), abs=TOLERANCE)


def test_an_unknown_pll_variant_is_an_error(tmp_path):
    """The nearest one is offered."""
    with pytest.raises(InputError, match="within_word"):
        load(tiny_model(tmp_path, "bert")).pll([[0, 7, 1]], [[-1, 0, -1]], variant="within-word")
