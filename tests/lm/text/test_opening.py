"""What stands before a text when a model reads it."""

import math
from pathlib import Path

import pytest
import torch
from tokenizers import processors

from tests.architectures import model_of, network_of
from tests.shelf import byte_tokenizer, piece_tokenizer, word_tokenizer
from transect.errors import InputError
from transect.lm.describe.description import describe_tokenizer
from transect.lm.network import NetworkModel
from transect.lm.score.scoring import lines, total_logprobs
from transect.lm.text.opening import around, candidates, doubt, opening


def puts(tokenizer, template):
    """The tokenizer, which now puts what the template says around a text."""
    special = [
        (token, tokenizer.convert_tokens_to_ids(token)) for token in tokenizer.added_tokens_encoder
    ]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=special
    )
    return tokenizer


def model_with(tokenizer, kind="gpt2", objective="causal"):
    """A random network of that kind with this tokenizer."""
    return NetworkModel(
        Path(kind), tokenizer, [], network_of(kind, vocab_size=len(tokenizer)), objective
    )


def words(*template, **roles):
    tokenizer = word_tokenizer()
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["</s>", "<|start|>", "<|im_end|>"]} | roles
    )
    return puts(tokenizer, *template) if template else tokenizer


@pytest.mark.parametrize(
    ("template", "head"),
    [
        ("</s> $A", ["</s>"]),
        ("<|start|> </s> $A", ["<|start|>", "</s>"]),
        ("<s> $A </s>", ["<s>"]),
        ("$A </s>", ["<s>"]),
        ("$A", ["<s>"]),
    ],
)
def test_what_the_tokenizer_puts_before_a_text_opens_it(template, head):
    """Whatever the token's role and number; where it puts nothing, the declared BOS. Nothing
    follows the text. Total of the network's own forward in float64."""
    model = model_with(words(template))
    assert model.tokenizer.convert_ids_to_tokens(opening(model, "auto")) == head
    assert model.opened == tuple(head)
    (line,) = lines(model, ["the dog runs"])
    assert model.tokenizer.convert_ids_to_tokens(line.ids) == [*head, "the", "dog", "runs"]
    got = total_logprobs(model, [line])[0]
    with torch.no_grad():
        logprobs = model.network.double()(torch.tensor([line.ids])).logits[0].log_softmax(-1)
    want = math.fsum(float(logprobs[t - 1, line.ids[t]]) for t in range(len(head), len(head) + 3))
    assert got == pytest.approx(want, abs=3e-5)


@pytest.mark.parametrize("template", ["</s> $A", "<|start|> </s> $A", "$A </s>", "$A"])
def test_the_registry_writes_what_the_engine_uses(template):
    """`bos` and `eos` of a description are what `tokenizer(text)` puts around a text: the opening,
    where there is one.
    """
    model = model_with(words(template))
    found = describe_tokenizer(model.tokenizer)
    before, after = template.split("$A")
    assert (found["bos"], found["eos"]) == (before.strip() or "none", after.strip() or "none")
    if before:
        assert found["bos"] == " ".join(
            model.tokenizer.convert_ids_to_tokens(opening(model, "auto"))
        )


def test_a_masked_model_is_opened_and_closed_by_its_tokenizer():
    """XLM's form: </s> on both sides; the declared [CLS] and [SEP] where the tokenizer puts nothing
    itself.
    """
    tokenizer = piece_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["</s>"]})
    model = model_with(tokenizer, "bert", "masked")
    shown = lambda bos: tokenizer.convert_ids_to_tokens(lines(model, ["the dog"], bos=bos)[0].ids)  # noqa: E731
    assert shown("auto") == ["[CLS]", "the", "dog", "[SEP]"]
    puts(tokenizer, "</s> $A </s>")
    assert shown("auto") == ["</s>", "the", "dog", "</s>"] and shown(False) == ["the", "dog"]
    assert shown("[CLS]") == ["[CLS]", "the", "dog", "</s>"]


def test_a_decoder_reads_what_its_tokenizer_puts_before_a_text():
    """A language code, say: after the start token, which stays alone under bos: false."""
    tokenizer = words("<|start|> $A </s>")
    network = network_of(
        "bart", vocab_size=len(tokenizer), decoder_start_token_id=tokenizer.pad_token_id
    )
    model = NetworkModel(Path("bart"), tokenizer, [], network, "seq2seq")
    assert tokenizer.convert_ids_to_tokens(opening(model, "auto")) == ["<pad>", "<|start|>"]
    assert tokenizer.convert_ids_to_tokens(opening(model, False)) == ["<pad>"]
    assert tokenizer.convert_ids_to_tokens(opening(model, "</s>")) == ["<pad>", "</s>"]


def test_a_user_names_the_token():
    """As the vocabulary writes it, or a text that is one token."""
    model = model_with(byte_tokenizer())
    assert opening(model, "<|endoftext|>") == [model.tokenizer.eos_token_id]
    assert opening(model, "\n") == opening(model, "Ċ") == model.encode("\n")


@pytest.mark.parametrize("bos", ["<|endoftex|>", "two words", "true", "False", ""])
def test_an_unknown_token_is_told(bos):
    """With the nearest one."""
    with pytest.raises(InputError, match="allowed are auto, true, false and a token") as told:
        opening(model_with(byte_tokenizer()), bos)
    assert ("Did you mean '<|endoftext|>'?" in str(told.value)) == (bos == "<|endoftex|>")


def test_a_word_that_is_unknown_to_the_tokenizer_is_no_token():
    """It would be the unknown token."""
    with pytest.raises(InputError, match="'gavagai' is no token"):
        opening(model_of("gpt2"), "gavagai")


def test_the_registry_names_the_token_that_auto_follows():
    """Before the tokenizer's own; a token that the study names goes before both, and false before
    all.
    """
    model = model_with(words("</s> $A"))
    model.opening_token = "<|start|>"
    shown = lambda bos: model.tokenizer.convert_ids_to_tokens(opening(model, bos))  # noqa: E731
    assert shown("auto") == shown(True) == ["<|start|>"]
    assert shown("<s>") == ["<s>"] and shown(False) == []


def test_the_end_of_a_turn_opens_no_text():
    """A tokenizer without BOS whose EOS is <|im_end|>: nothing under auto, with a reason; `true`
    asks for it.
    """
    tokenizer = words()
    tokenizer.bos_token = None
    tokenizer.eos_token = "<|im_end|>"
    model = model_with(tokenizer)
    assert opening(model, "auto") == []
    assert "'<|im_end|>', the tokenizer's EOS, belongs to its chat template" in doubt(model, "auto")
    assert tokenizer.convert_ids_to_tokens(opening(model, True)) == ["<|im_end|>"]


def test_what_is_doubtful_is_told():
    """A declared BOS that the tokenizer does not put itself, one of the chat template; nothing
    where it is put or named.
    """
    model = model_with(words())
    assert "'<s>' is the one that it declares" in doubt(model, "auto")
    assert (
        doubt(model, False)
        == doubt(model, "</s>")
        == doubt(model_with(words("<s> $A")), "auto")
        == ""
    )
    model.tokenizer.chat_template = "{{ '<s>' + message['role'] }}"
    assert "opened with '<s>', which belongs to the tokenizer's chat template" in doubt(
        model, "auto"
    )
    assert doubt(model_of("bert"), "auto") == ""


def test_a_suffix_is_no_part_of_what_opens():
    """ByT5's form: an end and nothing else."""
    tokenizer = puts(word_tokenizer(), "$A <mask>")
    assert around(tokenizer) == ([], [tokenizer.mask_token_id])


def test_candidates_are_tokens_with_a_role_or_the_name():
    """In order, once each."""
    assert candidates(byte_tokenizer()) == ["<|endoftext|>"]
    assert candidates(word_tokenizer())[0] == "<s>"
