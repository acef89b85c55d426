"""Continuations of prompts, drawn from the model's own distribution.

    token ~ p(token | prompt, tokens so far) ** (1 / temperature), normalised; temperature 0: the
    most probable token.

The random numbers of a sample (lm/generate/sampling.py) come from numpy's PCG64, seeded by the seed, the
number of the sample and the prompt's own ids (and how often the same prompt stood before it): they
depend neither on the batch nor on the other prompts, nor on max_new_tokens.

Logits depend on the batch in their last bits. So a decision that these could turn (two tokens
almost alike) is taken by logits of that sequence alone, without a cache: in float32 and float64 the
result is the same for every batch size and order. In half precision it holds for one batch size.

A sample ends with any token that the generation configuration, the configuration or the tokenizer
name as an end (chat models have several: the end of a turn beside the end of a text).

No other rule of transformers' `generate` applies: no penalties, no forced or suppressed tokens of a
generation config.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from transect.errors import ForwardError, InputError, LibraryPanic
from transect.lm.batching import plan, run_halving
from transect.lm.decoding import Decoder, Decoding
from transect.lm.generate.sampling import Sampling, choose
from transect.lm.model import NOT_NUMBERS, Answer
from transect.lm.score.scoring import encoder_ids
from transect.lm.text.cutting import added
from transect.lm.text.opening import opening

if TYPE_CHECKING:
    from transect.lm.model import Model

ENGINE_PART = "generation"  # its name in the keys of cells: it stays when the file moves
VERSION = 2  # raise it when values change
SERVES = ("generation", "text")


@dataclass
class Sample:
    """One sequence that grows. row: what the decoder reads of the prompt; source: what the encoder
    reads, if any.
    """

    prompt: int
    row: list[int]
    source: list[int] | None
    seeds: list[int]
    random: np.random.Generator = field(init=False)
    new: list[int] = field(default_factory=list)
    error: str = ""

    def restart(self) -> None:
        self.random, self.new, self.error = np.random.default_rng(self.seeds), [], ""

    @property
    def length(self) -> int:
        return len(self.row if self.source is None else self.source)


@dataclass(frozen=True)
class Continued:
    """One text and its continuations: samples [n] of new ids, texts [n] of what they add; error:
    why there are none.
    """

    prompt: list[int]
    samples: list[list[int]]
    texts: list[str]
    error: str = ""


def generate(
    model: "Model",
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    batch_size: int | None = None,
) -> list[list[list[int]]]:
    """New ids: prompt -> n samples -> ids; temperature 0: the most probable ones.

    A prompt says all that the model reads (the encoder, where there is one). A sample ends after an
    id of `sampling.stop`, which it keeps (see `stop_ids`), or after max_new_tokens. The same seed
    gives the same samples for every batch size and order of the prompts. Raises NotApplicable for a
    masked model, InputError for a prompt that is empty, has an unknown id, or is with its new
    tokens longer than the context.
    """
    refused = [reason for reason in refusals(model, prompts, sampling) if reason]
    samples = [] if refused else _sampled(model, prompts, sampling, batch_size)
    for error in [*refused, *(sample.error for sample in samples if sample.error)]:
        raise InputError(f"{model.path.name} cannot continue a prompt: {error}.")
    return _by_prompt(samples, len(prompts), sampling)


def continue_texts(
    model: "Model",
    texts: Sequence[str],
    *,
    max_new_tokens: int,
    seed: int,
    temperature: float = 1.0,
    n: int = 1,
    top_p: float = 1.0,
    stop: Collection[int] | None = None,
    bos: str | bool = "auto",
    batch_size: int | None = None,
) -> list[Continued]:
    """Continuations of texts: [BOS] text for a causal model (the policy of lm/score/scoring.py), text
    [EOS] for an encoder.

    A text that cannot be continued (empty without BOS, too long) keeps its place, with the error
    instead of samples.
    """
    sampling = Sampling(max_new_tokens, seed, temperature, n, top_p, stop_ids(model, stop))
    prompts, illegible = _read(model, texts, bos)
    errors = [
        first or why
        for first, why in zip(illegible, refusals(model, prompts, sampling), strict=True)
    ]
    possible = [index for index, error in enumerate(errors) if not error]
    drawn = _sampled(model, [prompts[index] for index in possible], sampling, batch_size)
    for sample in drawn:
        errors[possible[sample.prompt]] = errors[possible[sample.prompt]] or sample.error
    found = dict(zip(possible, _by_prompt(drawn, len(possible), sampling), strict=True))
    result = []
    for index, (ids, error) in enumerate(zip(prompts, errors, strict=True)):
        samples = [] if error else found[index]
        written = [
            new[:-1] if stop is None and new and new[-1] in sampling.stop else new
            for new in samples
        ]
        result.append(_continued(model, ids, samples, written, error))
    return result


def answers(model: "Model", prompts: Sequence[str], *, max_new_tokens: int) -> list[Answer]:
    """What the model writes after each prompt: the most probable tokens, up to one of its ends,
    which is no part of the text (see `generate`); of a model behind an interface its own text.

    Raises NotApplicable for a masked model.
    """
    written = model.write(prompts, max_new_tokens=max_new_tokens)
    if written is not None:
        return written
    continued = continue_texts(
        model, prompts, max_new_tokens=max_new_tokens, seed=0, temperature=0.0
    )
    return [Answer("" if one.error else one.texts[0], one.error) for one in continued]


def stop_ids(model: "Model", stop: Collection[int] | None) -> frozenset[int]:
    """The ids that end a sample: those given; None: see `ends`."""
    if stop is None:
        return ends(model)
    for token in stop:
        if not 0 <= token < model.vocab_size:
            raise InputError(
                f"stop: the token id {token}; the vocabulary is 0 to {model.vocab_size - 1}."
            )
    return frozenset(stop)


def ends(model: "Model") -> frozenset[int]:
    """The tokens with which a model ends what it writes: all that the generation configuration, the
    configuration and the tokenizer name.
    """
    named = {model.tokenizer.eos_token_id}
    network = getattr(model, "network", None)
    for config in (getattr(network, name, None) for name in ("generation_config", "config")):
        given = getattr(config, "eos_token_id", None)
        named |= set(given) if isinstance(given, list | tuple) else {given}
    return frozenset(
        int(token) for token in named if token is not None and 0 <= token < model.vocab_size
    )


def refusals(model: "Model", prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[str]:
    """Of each prompt: why it cannot be continued; empty when it can."""
    result = []
    for index, ids in enumerate(prompts):
        # the last new token is not read; an encoder-decoder's new tokens stand apart from the
        # prompt
        longest = max(len(ids), sampling.max_new_tokens)
        if model.decoder_start_id is None:
            longest = len(ids) + sampling.max_new_tokens - 1
        reason = ""
        if not len(ids):
            reason = f"prompt {index} is empty, so nothing predicts its first token"
        elif not 0 <= min(ids) <= max(ids) < model.vocab_size:
            wrong = max(ids) if min(ids) >= 0 else min(ids)
            reason = f"prompt {index} has the token id {wrong}; the vocabulary is 0 to {model.vocab_size - 1}"
        elif model.context_length is not None and longest > model.context_length:
            reason = (
                f"prompt {index} has {len(ids)} tokens, with {sampling.max_new_tokens} new ones it is longer than "
                f"the context of {model.context_length} tokens"
            )
        result.append(reason)
    return result


def _sampled(
    model: "Model", prompts: Sequence[Sequence[int]], sampling: Sampling, batch_size: int | None
) -> list[Sample]:
    """All samples of all prompts, prompt after prompt; what is greedy is computed once."""
    decoding = model._decoding()
    seen: Counter[tuple[int, ...]] = Counter()
    samples = []
    for index, ids in enumerate(prompts):
        key = tuple(map(int, ids))
        row, source = (
            (list(key), None)
            if model.decoder_start_id is None
            else ([model.decoder_start_id], list(key))
        )
        for number in range(sampling.n if sampling.temperature else 1):
            samples.append(Sample(index, row, source, [sampling.seed, number, seen[key], *key]))
        seen[key] += 1

    def forward(batch: Sequence[int]) -> None:
        for index in batch:
            samples[index].restart()
        _grow(decoding, [samples[index] for index in batch], sampling)

    def row_bytes(length: int) -> int:
        return decoding.row_bytes(length + sampling.max_new_tokens)

    for batch in plan(
        [sample.length for sample in samples], row_bytes, decoding.budget, batch_size
    ):
        for part in _near(batch, samples, sampling):
            try:
                run_halving(part, forward, decoding.halved)
            except ForwardError:
                for index in part:
                    _alone(samples[index], partial(run_halving, [index], forward, decoding.halved))
    return samples


def _alone(sample: Sample, grow: Callable[[], None]) -> None:
    """A sample of a batch whose forward raised: by itself, refused where that raises too."""
    try:
        grow()
    except ForwardError as error:
        sample.restart()
        sample.error = str(error)


def _near(batch: Sequence[int], samples: Sequence[Sample], sampling: Sampling) -> list[list[int]]:
    """The batch in parts of nearly one length: the last tokens of a longer prompt are read one by
    one, while a shorter one has its new tokens drawn. Encoders read sources of one length.
    """
    width = 1 if samples[batch[0]].source is not None else 1 + sampling.max_new_tokens // 2
    shortest = samples[batch[0]].length
    return [
        list(part)
        for _, part in groupby(batch, key=lambda i: (samples[i].length - shortest) // width)
    ]


def _grow(decoding: Decoding, samples: Sequence[Sample], sampling: Sampling) -> None:
    """Draw the new tokens of a batch. Rows are equally long at all times: where a prompt goes on,
    its token is read.
    """
    length = min(len(sample.row) for sample in samples)
    keys = [(tuple(s.row[:length]), None if s.source is None else tuple(s.source)) for s in samples]
    distinct = list(dict.fromkeys(keys))
    decoder = decoding.start(
        [row for row, _ in distinct],
        [source for _, source in distinct if source is not None] or None,
    )
    decoder.keep([distinct.index(key) for key in keys])  # many samples of a prompt: it is read once
    rows = list(samples)
    while True:
        token = _next(decoder, rows, length, sampling)
        length += 1
        going = [place for place, sample in enumerate(rows) if not _ended(sample, sampling)]
        if not going:
            return
        if 2 * len(going) <= len(
            rows
        ):  # sooner, the copies of the cache would cost more than the rows
            decoder.keep(going)
            rows, token = [rows[place] for place in going], [token[place] for place in going]
        decoder.push(token)


def _next(decoder: Decoder, rows: Sequence[Sample], length: int, sampling: Sampling) -> list[int]:
    """The token after `length` tokens of each row: the prompt's own, or a new one, which is kept in
    the sample.
    """
    token = [sample.row[length] if length < len(sample.row) else 0 for sample in rows]
    drawn = [
        p
        for p, sample in enumerate(rows)
        if length >= len(sample.row) and not _ended(sample, sampling)
    ]
    if not drawn:
        return token
    logits = decoder.logits()[drawn]
    fine = _are_numbers(logits)
    for at in np.flatnonzero(~fine):
        logits[at] = decoder.alone(drawn[at])
        fine[at] = _are_numbers(logits[at])
        rows[drawn[at]].error = "" if fine[at] else NOT_NUMBERS
    drawn, logits = [p for p, valid in zip(drawn, fine, strict=True) if valid], logits[fine]
    noise = np.empty_like(logits)
    for numbers, place in zip(noise, drawn if sampling.temperature else (), strict=False):
        rows[place].random.standard_exponential(out=numbers)
    margin = decoder.margin(logits)
    chosen, close = choose(logits, noise, sampling, margin)
    for at in np.flatnonzero(close & (margin > 0)):
        chosen[at] = choose(decoder.alone(drawn[at])[None], noise[at : at + 1], sampling, 0.0)[0][0]
    for place, new in zip(drawn, chosen.tolist(), strict=True):
        token[place] = new
        rows[place].new.append(new)
    return token


def _are_numbers(logits: np.ndarray) -> np.ndarray:
    """Of logits [..., vocabulary], bool [...]; a token of probability 0 has the logit -inf."""
    return np.asarray(~(np.isnan(logits) | np.isposinf(logits)).any(-1))


def _ended(sample: Sample, sampling: Sampling) -> bool:
    new = sample.new
    return (
        bool(sample.error)
        or len(new) == sampling.max_new_tokens
        or bool(new and new[-1] in sampling.stop)
    )


def _by_prompt(
    samples: Sequence[Sample], n_prompts: int, sampling: Sampling
) -> list[list[list[int]]]:
    result: list[list[list[int]]] = [[] for _ in range(n_prompts)]
    for sample in samples:
        copies = 1 if sampling.temperature else sampling.n
        result[sample.prompt] += [list(sample.new) for _ in range(copies)]
    return result


def _read(
    model: "Model", texts: Sequence[str], bos: str | bool
) -> tuple[list[list[int]], list[str]]:
    """The prompt of each text, and why it must not be read ("" when it may)."""
    encoded = model.encodings(texts)["input_ids"]
    why = [model.illegible(text, ids) for text, ids in zip(texts, encoded, strict=True)]
    head = opening(model, bos)
    if model.decoder_start_id is not None:
        return [encoder_ids(model, text) for text in texts], why
    return [[*head, *ids] for ids in encoded], why


def _continued(
    model: "Model", ids: list[int], samples: list[list[int]], written: list[list[int]], error: str
) -> Continued:
    before = ids if model.decoder_start_id is None else []
    try:
        return Continued(
            ids, samples, [added(model.tokenizer, before, new) for new in written], error
        )
    except LibraryPanic as panic:
        return Continued(ids, [], [], str(panic))
