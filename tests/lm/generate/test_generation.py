"""Tests of continuations: greedy against transformers' own generate, samples against their
distribution.
"""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, GenerationConfig

from tests import architectures
from tests.shelf import byte_tokenizer, random_sequences, tiny_model
from transect.errors import InputError, NotApplicable
from transect.lm import decoding, load
from transect.lm.generate.generation import continue_texts, generate, stop_ids
from transect.lm.generate.sampling import Sampling

PROMPTS = random_sequences(7, 60, shortest=1, longest=12, seed=5)
OPTIONS = {"max_new_tokens": 10, "seed": 3}


def drawn(model, prompts, *, batch_size=None, stop=None, **options):
    """The samples of prompts; stop: as `stop_ids` reads it."""
    sampling = Sampling(**options, stop=stop_ids(model, stop))
    return generate(model, prompts, sampling, batch_size)


@pytest.mark.parametrize(
    "kind",
    ["gpt2", "gpt_neo", "gpt_neox", "llama", "gemma2", "bloom", "falcon_h1", "mamba2", "lstm"],
)
def test_greedy_equals_transformers(kind, tmp_path):
    """generate(do_sample=False) of each prompt alone, to the token."""
    path = (
        tiny_model(tmp_path, kind) if kind == "lstm" else architectures.directory_of(tmp_path, kind)
    )
    network = AutoModelForCausalLM.from_pretrained(path).eval()
    config = GenerationConfig(max_new_tokens=10, do_sample=False, pad_token_id=0)
    found = drawn(load(path), PROMPTS, temperature=0, stop=(), **OPTIONS)
    for ids, samples in zip(PROMPTS, found, strict=True):
        read = torch.tensor([ids])
        whole = network.generate(
            read, attention_mask=torch.ones_like(read), generation_config=config
        )[0]
        assert samples == [whole[len(ids) :].tolist()]


def test_greedy_equals_whole_forwards_where_the_cache_is_wrong(tmp_path):
    """RWKV, whose cache transformers gets wrong in batches."""
    model = load(architectures.directory_of(tmp_path, "rwkv"))
    for ids, (new,) in zip(
        PROMPTS, drawn(model, PROMPTS, temperature=0, stop=(), **OPTIONS), strict=True
    ):
        whole = list(ids)
        for _ in range(10):
            with torch.no_grad():
                whole.append(int(model.network(torch.tensor([whole])).logits[0, -1].argmax()))
        assert new == whole[len(ids) :]


@pytest.mark.parametrize(
    "kind",
    [k for k in (*architectures.CAUSAL, *architectures.MORE_CAUSAL) if k not in ("rwkv", "lstm")],
)
def test_several_ends_stop_as_in_transformers(kind):
    """A generation configuration that names four ends, among them what the model writes:
    generate(do_sample=False) of each prompt alone, to the token, on every architecture that
    transformers generates with."""
    model = architectures.model_of(kind)
    prompts = PROMPTS[:3]
    written = [new for (new,) in drawn(model, prompts, temperature=0, stop=(), **OPTIONS)]
    model.network.generation_config.eos_token_id = ends = sorted(
        {written[0][2], written[1][4], written[2][0], 7}
    )
    found = drawn(model, prompts, temperature=0, **OPTIONS)
    config = GenerationConfig(
        max_new_tokens=10, do_sample=False, pad_token_id=0, eos_token_id=ends, use_cache=False
    )
    for ids, (new,) in zip(prompts, found, strict=True):
        read = torch.tensor([ids])
        whole = model.network.generate(
            read, attention_mask=torch.ones_like(read), generation_config=config
        )[0]
        assert new == whole[len(ids) :].tolist()
    assert [len(new) for (new,) in found] != [10, 10, 10]


@pytest.mark.parametrize("where", ["generation_config", "config", "tokenizer"])
def test_an_end_counts_wherever_it_is_named(where):
    """The union of the three; the end is no part of the text, also where it is no special token."""
    model = architectures.model_of("gpt2")
    ((written,),) = drawn(model, [[0, 5]], temperature=0, stop=(), **OPTIONS)
    end = written[3]
    before = [] if end not in written[:3] else written[: written.index(end)]
    if where == "tokenizer":
        model.tokenizer.eos_token = model.tokenizer.convert_ids_to_tokens(end)
    else:
        getattr(model.network, where).eos_token_id = [end, 999] if where == "config" else end
    ((new,),) = drawn(model, [[0, 5]], temperature=0, **OPTIONS)
    assert new == written[: written.index(end) + 1]
    text = model.tokenizer.convert_ids_to_tokens(5)
    (found,) = continue_texts(model, [text], max_new_tokens=10, seed=3, temperature=0)
    assert (
        found.samples == [new]
        and found.texts[0].split() == model.tokenizer.decode(before or new[:-1]).split()
    )


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_greedy_equals_transformers_for_encoder_decoders(kind, tmp_path):
    """Prompts are what the encoder reads; the decoder starts from its own start token. No token is
    forced.
    """
    path = architectures.directory_of(tmp_path, kind)
    network = AutoModelForSeq2SeqLM.from_pretrained(path).eval()
    network.generation_config.forced_eos_token_id = None
    config = GenerationConfig(
        max_new_tokens=10, do_sample=False, pad_token_id=1, decoder_start_token_id=0
    )
    for ids, (new,) in zip(
        PROMPTS, drawn(load(path), PROMPTS, temperature=0, stop=(), **OPTIONS), strict=True
    ):
        read = torch.tensor([ids])
        whole = network.generate(
            read, attention_mask=torch.ones_like(read), generation_config=config
        )[0]
        assert new == whole[1:].tolist()


@pytest.mark.parametrize("kind", ["gpt_neox", "mamba2", "rwkv", "ngram"])
def test_samples_depend_on_neither_batch_nor_order(kind, tmp_path):
    """Batches of 1, 2, 7 and the budget's, prompts reversed, one prompt by itself, a second call."""
    path = (
        tiny_model(tmp_path, kind)
        if kind == "ngram"
        else architectures.directory_of(tmp_path, kind)
    )
    model = load(path)
    expected = drawn(model, PROMPTS, n=3, temperature=1.5, **OPTIONS)
    assert [[len(new) for new in samples] for samples in expected] == [[10] * 3] * len(PROMPTS)
    for batch_size in (1, 2, 7):
        assert (
            drawn(model, PROMPTS, n=3, temperature=1.5, batch_size=batch_size, **OPTIONS)
            == expected
        )
    assert drawn(load(path), PROMPTS[::-1], n=3, temperature=1.5, **OPTIONS) == expected[::-1]
    assert drawn(model, PROMPTS[4:5], n=3, temperature=1.5, **OPTIONS) == expected[4:5]


def test_close_decisions_are_taken_alone(tmp_path, monkeypatch):
    """Planted noise in every batched step, below a margin that is raised to match: the samples stay
    what they were.
    """
    model = load(tiny_model(tmp_path, "llama"))
    prompts = random_sequences(30, 60, longest=4)
    options = [{"temperature": 0}, {"n": 2}, {"n": 2, "top_p": 0.7}]
    expected = [drawn(model, prompts, **OPTIONS, **more) for more in options]
    monkeypatch.setattr(decoding, "ROUNDING", 2e4)  # a margin of 0.0024 x the largest logit
    plain, noise = decoding.NetworkDecoder._run, torch.Generator().manual_seed(0)

    def noisy(self, ids):
        logits = plain(self, ids)
        return logits + 2e-3 * torch.rand(logits.shape, generator=noise) if self.cached else logits

    monkeypatch.setattr(decoding.NetworkDecoder, "_run", noisy)
    assert [drawn(model, prompts, **OPTIONS, **more) for more in options] == expected
    monkeypatch.setattr(decoding.NetworkDecoder, "margin", lambda self, logits: 0.0)
    assert [drawn(model, prompts, **OPTIONS, **more) for more in options] != expected


def test_samples_follow_the_distribution(tmp_path):
    """6,000 first tokens of a bigram model: each frequency within 4.5 standard errors of the
    table's p.
    """
    model = load(tiny_model(tmp_path, "ngram"))
    first = [
        new[0]
        for new in drawn(model, [[0, 4]], max_new_tokens=1, seed=11, n=6000, temperature=1.0)[0]
    ]
    p = model.tables.distribution([0, 4])
    found = np.bincount(first, minlength=len(p)) / 6000
    assert (np.abs(found - p) < 4.5 * np.sqrt(p * (1 - p) / 6000)).all()


def test_a_longer_sample_begins_with_the_shorter_one(tmp_path):
    """max_new_tokens and n cut off, they do not change what is drawn before."""
    model = load(tiny_model(tmp_path, "gpt2"))
    short = drawn(model, PROMPTS, max_new_tokens=4, seed=3, n=1)
    long = drawn(model, PROMPTS, max_new_tokens=9, seed=3, n=2)
    assert [[samples[0][:4]] for samples in long] == short


def test_seed_sample_and_repeated_prompt_have_their_own_numbers(tmp_path):
    """Another seed, another sample of a prompt, and the same prompt once more are all different."""
    model = load(tiny_model(tmp_path, "gpt2"))
    (one, two), (three, four) = drawn(model, [[5, 6], [5, 6]], max_new_tokens=12, seed=3, n=2)
    ((other,),) = drawn(model, [[5, 6]], max_new_tokens=12, seed=4)
    assert len({tuple(new) for new in (one, two, three, four, other)}) == 5


def test_a_sample_ends_at_a_stop_token(tmp_path):
    """It keeps the token; the others of its batch go on, to the same ids as without the stop."""
    model = load(tiny_model(tmp_path, "llama"))
    whole = drawn(model, PROMPTS, n=4, **OPTIONS, stop=())
    stop = {whole[0][0][2], whole[3][1][5], whole[5][2][0]}
    for samples, cut in zip(whole, drawn(model, PROMPTS, n=4, **OPTIONS, stop=stop), strict=True):
        for new, ended in zip(samples, cut, strict=True):
            length = next((t + 1 for t, token in enumerate(new) if token in stop), len(new))
            assert ended == new[:length]


def test_the_end_of_text_token_stops_unless_said_otherwise(tmp_path):
    """The tokenizer's, where it has one."""
    model = load(tiny_model(tmp_path, "gpt2", tokenizer=byte_tokenizer()))
    end = model.tokenizer.eos_token_id
    samples = drawn(model, [[5]] * 40, max_new_tokens=50, seed=0, temperature=3.0)
    ended = [new for (new,) in samples if len(new) < 50]
    assert ended and all(new[-1] == end and end not in new[:-1] for new in ended)
    assert all(
        len(new) == 50
        for (new,) in drawn(model, [[5]] * 40, max_new_tokens=50, seed=0, temperature=3.0, stop=())
    )


def test_out_of_memory_halves_the_batch_and_changes_nothing(tmp_path, monkeypatch):
    """Above 5 rows a step does not fit: recorded, and the same samples."""
    model = load(tiny_model(tmp_path, "gpt2"))
    expected = drawn(model, [[5, 6]] * 16, **OPTIONS)
    plain = decoding.NetworkDecoder.push

    def too_small(self, tokens):
        if len(tokens) > 5:
            raise torch.OutOfMemoryError("planted")
        plain(self, tokens)

    monkeypatch.setattr(decoding.NetworkDecoder, "push", too_small)
    assert drawn(model, [[5, 6]] * 16, **OPTIONS) == expected
    assert model.halvings == [16, 8, 8]


@pytest.mark.parametrize(
    ("prompts", "sentence"),
    [
        ([[5], []], "prompt 1 is empty"),
        (
            [[5] * 56],
            "prompt 0 has 56 tokens, with 10 new ones it is longer than the context of 64",
        ),
        ([[5, 999]], "prompt 0 has the token id 999; the vocabulary is 0 to"),
    ],
)
def test_a_prompt_that_cannot_be_continued_is_named(prompts, sentence, tmp_path):
    """Nothing is cut; 55 tokens and 10 new ones fit, for the last one is not read."""
    model = load(tiny_model(tmp_path, "gpt2"))
    assert len(drawn(model, [[5] * 55], stop=(), **OPTIONS)[0][0]) == 10
    with pytest.raises(InputError, match=f"^gpt2 cannot continue a prompt: {sentence}"):
        drawn(model, prompts, **OPTIONS)


def test_an_unknown_stop_token_is_refused(tmp_path):
    """It could never occur."""
    with pytest.raises(InputError, match="stop: the token id 999"):
        drawn(load(tiny_model(tmp_path, "ngram")), [[5]], stop=[999], **OPTIONS)


def test_masked_models_do_not_generate(tmp_path):
    """Not applicable, with the reason."""
    model = load(tiny_model(tmp_path, "bert"))
    assert "generation" not in model.capabilities
    with pytest.raises(NotApplicable, match="masked model"):
        drawn(model, [[5]], **OPTIONS)


def test_texts_are_continued_after_the_opening_token(tmp_path):
    """BOS by the policy; the samples are those of the ids; the text is what the new ids add, with
    its blank.
    """
    model = load(tiny_model(tmp_path, "ngram"))
    (found,) = continue_texts(model, ["the dog"], n=2, **OPTIONS)
    assert found.prompt == [model.bos_id, *model.encode("the dog")]
    assert [found.samples] == drawn(model, [found.prompt], n=2, **OPTIONS)
    for new, text in zip(found.samples, found.texts, strict=True):
        assert text == " " + model.tokenizer.decode(new, skip_special_tokens=True)
    (without,) = continue_texts(model, ["the dog"], bos=False, **OPTIONS)
    assert without.prompt == model.encode("the dog")


def test_a_text_that_cannot_be_continued_keeps_its_place(tmp_path):
    """Empty without BOS, too long: told by item; the others have their samples."""
    model = load(tiny_model(tmp_path, "gpt2"))
    empty, long, fine = continue_texts(model, ["", "dog " * 70, "the dog"], bos=False, **OPTIONS)
    assert "is empty" in empty.error and "longer than the context of 64" in long.error
    assert not empty.samples and not long.samples and not fine.error and len(fine.samples[0]) == 10


def test_logits_that_are_no_numbers_are_told_by_item(tmp_path):
    """A token whose embedding is NaN: the text that holds it has an error, the other its samples."""
    model = load(tiny_model(tmp_path, "llama"))
    expected = continue_texts(model, ["cats sleep"], temperature=0, **OPTIONS)
    with torch.no_grad():
        model.network.get_input_embeddings().weight[model.encode("dog")] = torch.nan
    broken, whole = continue_texts(model, ["the dog", "cats sleep"], temperature=0, **OPTIONS)
    assert broken.error == "the model's logits are not numbers (NaN)" and not broken.samples
    assert [whole] == expected


def test_half_of_a_surrogate_pair_is_refused_alone(tmp_path):
    """Its text keeps its place with the reason; the other one is continued."""
    model = load(tiny_model(tmp_path, "gpt_neox"))
    bad, good = continue_texts(model, ["the \ud800", "the dog"], max_new_tokens=2, seed=1)
    assert "surrogate" in bad.error and not bad.samples
    assert not good.error and len(good.samples) == 1
