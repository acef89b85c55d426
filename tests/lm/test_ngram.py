"""Tests of the n-gram model against a second implementation (dictionaries, one recursion each) and
by hand.
"""

import json
from collections import Counter, defaultdict

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.shelf import random_sequences, tiny_model, word_tokenizer
from transect.errors import InputError, LoadError
from transect.lm import load
from transect.lm.describe.description import describe
from transect.lm.ngram import NgramTables, fit_ngram, save_ngram

BOS = 0


def documents(n=60, vocab_size=8):
    """Short random documents over few tokens, so that every count occurs; 0 is the BOS and 7 never
    occurs.
    """
    return [
        [1 + t % (vocab_size - 2) for t in ids]
        for ids in random_sequences(n, vocab_size - 2, longest=9)
    ]


def by_dictionaries(texts, order, vocab_size, smoothing, history, word):
    """p(word | history) by the definition: counts in dictionaries, one recursion per order."""
    raw = [Counter() for _ in range(order + 1)]
    left = [defaultdict(set) for _ in range(order + 1)]
    opening = [Counter() for _ in range(order + 1)]
    for text in texts:
        for k in range(1, order + 1):
            for i in range(len(text) - k + 1):
                gram = tuple(text[i : i + k])
                if k == 1 and i == 0:
                    continue  # the BOS is given
                raw[k][gram] += 1
                if i == 0:
                    opening[k][gram] += 1
                else:
                    left[k][gram].add(text[i - 1])
    counts = [None] + [
        raw[k]
        if k == order or smoothing == "absolute"
        else Counter({g: len(left[k][g]) + opening[k][g] for g in raw[k]})
        for k in range(1, order + 1)
    ]

    def p(k, history):
        if k == 0:
            return 1 / vocab_size
        histogram = Counter(counts[k].values())
        ones, twos = histogram[1], histogram[2]
        discount = ones / (ones + 2 * twos) if ones and twos else 0.5
        context = tuple(history[len(history) - k + 1 :])
        after = {g[-1]: c for g, c in counts[k].items() if g[:-1] == context}
        lower = p(k - 1, history)
        if not after:
            return lower
        total = sum(after.values())
        return max(after.get(word, 0) - discount, 0) / total + discount * len(after) / total * lower

    return p(min(order, len(history) + 1), history)


@pytest.mark.parametrize("smoothing", ["kneser_ney", "absolute"])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_probabilities_equal_the_definition(order, smoothing):
    """Every position of unseen sequences, at every order, to 1e-12."""
    texts = documents()
    tables = fit_ngram(texts, 8, order, smoothing=smoothing, bos_id=BOS)
    for ids in random_sequences(10, 8, seed=5):
        ids = [BOS, *ids]
        found = tables.probabilities(np.array(ids))
        for t in range(1, len(ids)):
            history = ids[max(0, t - order + 1) : t]
            expected = by_dictionaries(
                [[BOS, *d] for d in texts], order, 8, smoothing, history, ids[t]
            )
            assert found[t] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_distribution_sums_to_one_and_agrees_with_single_tokens(order):
    """After any history, seen or not: total 1 to 1e-12, and each entry is the token's own
    probability.
    """
    tables = fit_ngram(documents(), 8, order, bos_id=BOS)
    for history in ([BOS], [BOS, 1], [BOS, 3, 2, 5], [BOS, 7, 7]):
        p = tables.distribution(history)
        assert p.sum() == pytest.approx(1, abs=1e-12) and (p > 0).all()
        single = [tables.probabilities(np.array([*history, w]))[-1] for w in range(8)]
        np.testing.assert_allclose(p, single, rtol=1e-12)


def test_a_unigram_by_hand():
    """Documents "1 1 1 2 2 3" without BOS: n1 = n2 = 1, D = 1/3, p(1) = (3 - 1/3)/6 +
    (1/3)(3/6)(1/4) = 0.486111.
    """
    p = fit_ngram([[1, 1, 1, 2, 2, 3]], 4, 1).distribution([])
    np.testing.assert_allclose(
        p, [1 / 24, 8 / 18 + 1 / 24, 5 / 18 + 1 / 24, 2 / 18 + 1 / 24], rtol=1e-12
    )


def test_kneser_ney_prefers_a_word_of_many_contexts():
    """ "Francisco" (3) is as frequent as 4 but follows one word only: less probable after an unseen
    history.
    """
    texts = [[2, 3], [2, 3], [2, 3], [2, 3], [5, 4], [6, 4], [2, 4], [1, 4], [1, 2, 5, 6]]
    kneser_ney = fit_ngram(texts, 9, 2, bos_id=BOS).distribution([8])
    absolute = fit_ngram(texts, 9, 2, bos_id=BOS, smoothing="absolute").distribution([8])
    assert kneser_ney[3] < kneser_ney[4] and absolute[3] == absolute[4]


def test_the_saved_model_has_the_interface_of_a_network(tmp_path):
    """Written, loaded: log-probabilities in nats after the first token, top1, no heads, no limit of
    length.
    """
    model = load(tiny_model(tmp_path, "ngram", order=3))
    assert model.objective == "causal" and model.capabilities == {
        "logits",
        "causal",
        "generation",
        "text",
        "tokenizer",
    }
    ids = [model.bos_id, *model.encode("the dog runs .")]
    whole, rest = model.token_scores([ids, ids], [1, 3], top1=True)
    np.testing.assert_allclose(
        whole.logprob[1:], np.log(model.tables.probabilities(np.array(ids)))[1:]
    )
    assert (
        np.isnan(whole.logprob[0])
        and np.isnan(rest.logprob[:3]).all()
        and not np.isnan(rest.logprob[3:]).any()
    )
    expected = [
        bool(model.tables.distribution(ids[:t]).argmax() == ids[t]) for t in range(1, len(ids))
    ]
    assert whole.top1.tolist() == [False, *expected] and any(expected)


def test_the_same_counts_give_the_same_bytes(tmp_path):
    """Fitting and writing twice gives the same digest of the weights."""
    first, second = (load(tiny_model(tmp_path / name, "ngram")).fingerprint for name in "ab")
    assert first == second


def test_a_vocabulary_too_large_for_the_order_is_refused():
    """Keys of more than 63 bits would wrap around in silence."""
    with pytest.raises(InputError, match="below 2 \\*\\* 63"):
        fit_ngram([[1]], 50_000, 5)


def test_an_unknown_smoothing_is_told_with_the_nearest():
    """The nearest allowed name is offered."""
    with pytest.raises(InputError, match="Did you mean 'kneser_ney'"):
        fit_ngram([[1]], 4, 2, smoothing="kneserney")


def test_incomplete_tables_are_a_load_error(tmp_path):
    """A directory whose tables lack an order does not load."""
    tables = fit_ngram([[1, 2, 3]], 64, 2)
    save_ngram(
        NgramTables(64, "absolute", tables.keys[:1], tables.counts[:1]), tmp_path, word_tokenizer()
    )
    config = (tmp_path / "config.json").read_text().replace('"order": 1', '"order": 2')
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(LoadError, match="keys_2"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"order": 1},
            "of order 1 has the tables keys_1, counts_1, .*holds counts_1, counts_2, keys_1, keys_2",
        ),
        ({"order": "x"}, "order is 'x'; it must be a whole number of at least 1"),
        ({"order": None}, "order is 'None'"),
        ({"order": -1}, "order is '-1'"),
        ({"order": 10**9}, "order 1000000000 with 66 token types; types .* must be below 2"),
        ({"vocab_size": 67}, "vocab_size is 67, and the tokenizer has 66 tokens"),
        ({"vocab_size": True}, "vocab_size is 'True'"),
        (
            {"smoothing": "kneserney"},
            "smoothing is 'kneserney'; there are: .* Did you mean 'kneser_ney'",
        ),
    ],
)
def test_a_configuration_that_is_not_that_of_the_tables_is_refused(fields, told, tmp_path):
    """Fewer orders, another base of the keys or an unknown smoothing would be another model,
    without a word.
    """
    path = tiny_model(tmp_path, "ngram")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | fields))
    with pytest.raises(LoadError, match=told):
        load(path)


def test_what_cannot_be_described_is_told_too(tmp_path):
    """`registry add` says what loading would."""
    path = tiny_model(tmp_path, "ngram")
    assert describe(path).facts["vocab_size"] == 66
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"order": "x"}))
    with pytest.raises(LoadError, match="order is 'x'"):
        describe(path)


@pytest.mark.parametrize("change", ["descending", "negative", "shorter", "floats", "beyond"])
def test_tables_that_are_none_are_refused(change, tmp_path):
    """Keys ascend within the vocabulary, and each has a count."""
    path = tiny_model(tmp_path, "ngram")
    tables = load_file(path / "model.safetensors")
    if change == "descending":
        tables["keys_2"] = tables["keys_2"][::-1].copy()
    elif change == "negative":
        tables["counts_2"] = -tables["counts_2"]
    elif change == "shorter":
        tables["counts_2"] = tables["counts_2"][1:].copy()
    elif change == "floats":
        tables["counts_1"] = tables["counts_1"].astype(np.float64)
    else:
        tables["keys_1"] = tables["keys_1"] + 66
    save_file(tables, path / "model.safetensors")
    with pytest.raises(LoadError, match="table of [12]-grams is none|one column of I64 each"):
        load(path)
