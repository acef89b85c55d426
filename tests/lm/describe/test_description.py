"""What the files of a model say: enough to count it again, and how its tokenizer cuts."""

import json

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from tests.architectures import directory_of
from tests.shelf import byte_tokenizer, piece_tokenizer, tiny_model, word_tokenizer
from transect.errors import LoadError
from transect.lm.checkpoint import counting
from transect.lm.describe.description import describe, describe_tokenizer
from transect.registry.run import Rule, Run


@pytest.mark.parametrize(
    "kind",
    [
        "gpt_neo",
        "roberta",
        "falcon_h1",
        "deepseek_v2",
        "jamba",
        "deberta-v2",
        "rembert",
        "qwen2_moe",
        "lfm2",
        "mamba",
        "bart",
    ],
)
def test_the_facts_are_enough_to_count_again(kind, tmp_path):
    """What the dimensions do not say stands in `config`, and no more: a run with these facts has
    the network's counts.
    """
    found = describe(directory_of(tmp_path, kind))
    run = Run("r", "s", Rule("main", (None,)), found.facts)
    counts = counting.of_run(run)
    assert (counts.params_total, counts.params_non_embedding) == (
        run.get("params_total"),
        run.get("params_non_embedding"),
    )
    for name in run.get("config", {}):
        fewer = {k: v for k, v in run.get("config").items() if k != name}
        try:
            assert (
                counting.of_run(Run("r", "s", run.rule, {**found.facts, "config": fewer})) != counts
            )
        except counting.Uncountable:
            continue


def pieces_with(model, *, first: str | None = None) -> PreTrainedTokenizerFast:
    """A tokenizer with SentencePiece's mark for a space; `first`: the token that it puts before a
    text.
    """
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace()
    if first:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{first} $A", special_tokens=[(first, tokenizer.token_to_id(first))]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=first, unk_token="<unk>")


LETTERS = {
    letter: i
    for i, letter in enumerate(["<unk>", "<s>", "▁", *"abcdefghijklmnopqrstuvwxyz", "th", "▁th"])
}

MERGES = [("t", "h"), ("▁", "th")]


@pytest.mark.parametrize(
    ("tokenizer", "facts"),
    [
        (
            word_tokenizer(),
            {
                "algorithm": "word",
                "vocab": 66,
                "bos": "none",
                "eos": "none",
                "byte_fallback": False,
                "prefix_space": True,
            },
        ),
        (
            byte_tokenizer(),
            {
                "algorithm": "byte",
                "vocab": 257,
                "bos": "none",
                "byte_fallback": True,
                "prefix_space": False,
            },
        ),
        (
            piece_tokenizer(),
            {"algorithm": "wordpiece", "prefix_space": True, "byte_fallback": False},
        ),
        (
            pieces_with(models.BPE(LETTERS, MERGES, unk_token="<unk>"), first="<s>"),
            {"algorithm": "bpe-sentencepiece", "bos": "<s>", "prefix_space": True},
        ),
        (
            pieces_with(models.Unigram([(piece, -1.0) for piece in LETTERS], 0)),
            {"algorithm": "unigram", "bos": "none", "prefix_space": True},
        ),
    ],
    ids=["word", "byte", "wordpiece", "bpe-sentencepiece", "unigram"],
)
def test_tokenizers(tokenizer, facts):
    """Algorithm, entries, what is put around a text, and whether a first word is cut as a later
    one.
    """
    found = describe_tokenizer(tokenizer)
    assert {name: found[name] for name in facts} == facts


def test_the_canary_sees_another_cut():
    """One merge more gives another digest; a special token that is put around texts does not."""
    plain = [
        pieces_with(models.BPE(LETTERS, [("t", "h")][:n], unk_token="<unk>"), first=first)
        for n, first in ((0, None), (1, None), (1, "<s>"))
    ]
    none, merged, around = (describe_tokenizer(t)["canary"] for t in plain)
    assert none != merged == around


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_directory_that_lacks_a_part(missing, tmp_path):
    """One sentence that names what is not there."""
    path = tiny_model(tmp_path, "gpt2")
    (path / missing).unlink()
    for other in path.glob("vocab*"):
        other.unlink()
    with pytest.raises(LoadError, match=missing.split(".")[-1]):
        describe(path)


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("config.json", b"[]", "config.json: this must be a JSON object, and is a list"),
        ("config.json", b'{"model_type": "gpt22"}', "no model_type 'gpt22'.* Did you mean 'gpt2'"),
        ("model.safetensors", b"abc", "model.safetensors: this is no safetensors file"),
    ],
)
def test_a_file_that_is_broken(file, content, told, tmp_path):
    """One sentence that names the file and what is wrong with it."""
    path = tiny_model(tmp_path, "gpt2")
    (path / file).write_bytes(content)
    with pytest.raises(LoadError, match=told):
        describe(path)


def test_what_is_no_language_model(tmp_path):
    """A vision model's configuration beside weights: the sentence says what it is not."""
    path = tiny_model(tmp_path, "gpt2")
    (path / "config.json").write_text(
        json.dumps({"model_type": "vit", "architectures": ["ViTModel"]})
    )
    with pytest.raises(
        LoadError, match="model_type 'vit' is neither a causal, a masked nor an encoder-decoder"
    ):
        describe(path)
