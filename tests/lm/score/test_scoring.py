"""Tests of the policy for BOS and context, and of what is refused."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import processors

from tests.architectures import network_of
from tests.shelf import byte_tokenizer, tiny_model, word_tokenizer
from transect.errors import InputError
from transect.lm import load
from transect.lm.network import NetworkModel
from transect.lm.score.scoring import errors, lines, total_logprobs
from transect.lm.text.opening import opening


@pytest.fixture
def neox(tmp_path):
    """A causal model with a BOS."""
    return load(tiny_model(tmp_path, "gpt_neox"))


@pytest.fixture
def gpt2(tmp_path):
    """A causal model over bytes, with an end-of-text token and no BOS."""
    return load(tiny_model(tmp_path, "gpt2", tokenizer=byte_tokenizer()))


@pytest.fixture
def bert(tmp_path):
    """A masked model over word pieces."""
    return load(tiny_model(tmp_path, "bert"))


def test_auto_prepends_the_bos(neox):
    """The ids begin with the BOS, which is not scored; every token of the text is."""
    (line,) = lines(neox, ["the dog runs ."])
    assert line.ids == [neox.tokenizer.bos_token_id, *neox.encode("the dog runs .")]
    assert line.first == 1 and [w >= 0 for w in line.words] == [False, True, True, True, True]


def test_auto_falls_back_to_the_end_of_text_token(gpt2):
    """As GPT-NeoX and GPT-2 models are used: the end-of-text token opens a text."""
    assert opening(gpt2, "auto") == [gpt2.tokenizer.eos_token_id]


def test_without_bos_the_first_token_is_not_scored(neox):
    """Nothing predicts it."""
    (line,) = lines(neox, ["the dog runs ."], bos=False)
    assert line.ids == neox.encode("the dog runs .") and line.first == 1


def test_bos_true_without_such_a_token_is_an_error(tmp_path):
    """Asked for and not there."""
    tokenizer = byte_tokenizer()
    tokenizer.eos_token = None
    model = load(tiny_model(tmp_path, "gpt2", tokenizer=tokenizer))
    assert opening(model, "auto") == []
    with pytest.raises(InputError, match="no token to open a text"):
        opening(model, True)


def test_an_unknown_policy_is_an_error(neox):
    """1 is not True here, nor any other word."""
    with pytest.raises(InputError, match="allowed are auto, true, false"):
        opening(neox, "always")


def test_masked_models_read_cls_and_sep_and_score_neither(bert):
    """[CLS] text [SEP]; word pieces share their word's number, punctuation is a word."""
    (line,) = lines(bert, ["the cabinets sleep !"])
    tokens = bert.tokenizer.convert_ids_to_tokens(line.ids)
    assert tokens == ["[CLS]", "the", "cabinet", "##s", "sleep", "!", "[SEP]"]
    assert line.words == [-1, 0, 1, 1, 2, 3, -1]


def test_a_context_is_read_and_not_scored(neox):
    """Total with a context = sum over the text's own tokens of the whole string's
    log-probabilities.
    """
    (line,) = lines(neox, ["the dog runs ."], context="cats sleep ")
    assert [w >= 0 for w in line.words] == [False] * 3 + [True] * 4
    (scores,) = neox.token_logprobs([line.ids])
    assert total_logprobs(neox, [line])[0] == pytest.approx(math.fsum(scores[3:]), abs=1e-5)


def test_a_context_that_shares_a_token_with_the_text_is_refused(neox):
    """ "do" + "g" is one token of neither."""
    (line,) = lines(neox, ["g runs"], context="the do")
    assert line.error == "the text shares a token with the context 'the do'" and line.ids == []


def test_refused_items_say_why_and_the_others_are_kept(neox):
    """Empty, too long (nothing is cut), only blanks, not there at all: one sentence each; the first
    is scored.
    """
    read = lines(neox, ["the dog", "", "the " * 64, " ", float("nan")])
    none = "the text has no token to score (it is empty, or one token with nothing before it)"
    long = "the text has 65 tokens, special ones included; the context of gpt_neox is 64"
    assert [line.error for line in read] == ["", none, long, none, "there is no text"]
    totals = total_logprobs(neox, read)
    assert np.isfinite(totals[0]) and np.isnan(totals[1:]).all()
    assert errors(neox, read, totals) == [None, none, long, none, "there is no text"]


def test_nothing_but_refused_items(neox, bert):
    """No forward pass, no crash."""
    for model in (neox, bert):
        assert np.isnan(total_logprobs(model, lines(model, ["", ""]))).all()


def test_a_model_that_gives_no_numbers_is_told(neox):
    """NaN weights: the error says that it is the model, not the text."""
    next(neox.network.parameters()).data.fill_(float("nan"))
    read = lines(neox, ["the dog", ""])
    assert (
        errors(neox, read, total_logprobs(neox, read))[0]
        == "the model's logits are not numbers (NaN)"
    )


def test_a_text_that_spells_a_control_token_is_refused(neox):
    """At its beginning, inside and at its end; the others are read. A context that does so cannot
    be read at all.
    """
    texts = ["<s> the dog", "the <s> dog", "the dog <pad>", "the dog"]
    told = [line.error for line in lines(neox, texts)]
    assert [error[:23] for error in told] == ["the text spells '<s>', "] * 2 + [
        "the text spells '<pad>'",
        "",
    ]
    with pytest.raises(InputError, match="context: it spells '<s>', a control token"):
        lines(neox, ["the dog"], context="a <s> cat ")


def test_spans_are_characters_of_the_text(neox):
    """Of the text, not of context and text; special tokens and the context's have none."""
    (line,) = lines(neox, ["the dog"], context="cats ")
    assert line.spans == [(-1, -1), (-1, -1), (0, 3), (4, 7)]


def test_blanks_of_no_width_are_scored(tmp_path):
    """A tokenizer that trims offsets gives a token of whitespace no characters; its probability
    counts all the same.
    """
    trimmed = byte_tokenizer()
    trimmed.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    model = load(tiny_model(tmp_path, "gpt2", tokenizer=trimmed))
    (line,) = lines(model, ["  a"])
    assert line.spans[1] == (0, 0) and line.first == 1 and min(line.words[1:]) == 0


def test_totals_do_not_depend_on_the_order_of_the_terms(tmp_path):
    """A unigram model gives two orders of the same words exactly the same total: a tie is a tie."""
    model = load(tiny_model(tmp_path, "ngram", order=1))
    texts = ["the dog near the cats runs .", "runs . cats the near the dog"]
    first, second = total_logprobs(model, lines(model, texts))
    assert first == second and np.isfinite(first)


def encoder_decoder(kind, template):
    """A tiny encoder-decoder model whose tokenizer puts its special tokens as the template says."""
    tokenizer = word_tokenizer()
    tokenizer.add_special_tokens({"eos_token": "</s>"})
    special = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("<s>", "</s>")]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=special
    )
    start = tokenizer.pad_token_id
    network = network_of(kind, vocab_size=len(tokenizer), decoder_start_token_id=start)
    return NetworkModel(Path(kind), tokenizer, [], network, "seq2seq")


def test_an_encoder_reads_the_context_and_a_decoder_the_text():
    """T5's form: the context and its end in the encoder; in the decoder the start token, which is
    not scored.
    """
    model = encoder_decoder("t5", "$A </s>")
    (line,) = lines(model, ["the dog runs"], context="a cat")
    start, end = model.tokenizer.pad_token_id, model.tokenizer.eos_token_id
    assert line.ids == [start, *model.encode("the dog runs")] and line.words == [-1, 0, 1, 2]
    assert line.source == [*model.encode("a cat"), end]
    assert lines(model, ["the dog runs"])[0].source == [end]


def test_a_decoder_that_is_trained_with_a_bos_reads_one():
    """BART's form: the start token, then the BOS that its tokenizer puts before every text; bos:
    false leaves it out.
    """
    model = encoder_decoder("bart", "<s> $A </s>")
    start, bos = model.tokenizer.pad_token_id, model.tokenizer.bos_token_id
    assert opening(model, "auto") == opening(model, True) == [start, bos]
    assert opening(model, False) == [start]
    (line,) = lines(model, ["the dog"], context="a cat")
    assert line.source[0] == bos and line.first == 2


def test_totals_of_an_encoder_decoder_are_of_the_decoder():
    """Against one plain forward of encoder and decoder: the text's tokens, neither the start nor an
    end token.
    """
    model = encoder_decoder("t5", "$A </s>")
    (line,) = lines(model, ["the dog runs"], context="a cat")
    with torch.inference_mode():
        logits = model.network(
            input_ids=torch.tensor([line.source]), decoder_input_ids=torch.tensor([line.ids])
        ).logits[0]
    plain = logits.double().log_softmax(-1)[range(3), line.ids[1:]].sum()
    assert total_logprobs(model, [line])[0] == pytest.approx(float(plain), abs=1e-5)


@pytest.mark.parametrize("variant", ["within_word", "original"])
def test_totals_of_a_masked_model_take_the_variant(bert, variant):
    """The sum of model.pll over the scored tokens."""
    read = lines(bert, ["the cabinets sleep !"])
    (scores,) = bert.pll([read[0].ids], [read[0].words], variant=variant)
    assert total_logprobs(bert, read, pll=variant)[0] == pytest.approx(scores[1:-1].sum(), abs=1e-5)


@pytest.mark.parametrize("bos", [0, 1, 0.0, 1.0, None, "true"])
def test_a_number_is_no_policy(neox, bos):
    """0 and 1 equal false and true, and are neither."""
    with pytest.raises(InputError, match="allowed are auto, true, false"):
        opening(neox, bos)


def test_half_of_a_surrogate_pair_is_refused_alone(neox, bert):
    """No tokenizer reads it: that text is refused, the one beside it is scored as it is by itself."""
    for model in (neox, bert):
        bad, good = lines(model, ["the \ud800 dog", "the dog runs ."])
        assert "'\\ud800', half of a surrogate pair" in bad.error and not bad.ids
        assert good == lines(model, ["the dog runs ."])[0]
    with pytest.raises(InputError, match="surrogate"):
        lines(neox, ["the dog"], context="\udc00 ")
