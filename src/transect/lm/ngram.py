"""N-gram models behind the same interface as networks: what can be known from the last few tokens
alone.

    p_k(w | h) = max(c(h w) - D_k, 0) / c(h) + D_k types(h) / c(h) * p_{k-1}(w | h'),     p_0 = 1 / V

h: the last k-1 tokens, h' without its first; c(h) = sum of c(h w) over w; types(h) = how many w
were seen after h; p_k = p_{k-1} after a context that was never seen. D_k = n1 / (n1 + 2 n2), where
n1 and n2 k-grams have count 1 and 2. smoothing "kneser_ney": below the highest order, c is the
number of different tokens seen to the left (k-grams that open a document have none: their count
stands), so a word counts by the contexts it follows. smoothing "absolute": c is the count at every
order, so order 2 is a bigram interpolated with the true unigram. Sources: Kneser & Ney (1995); Chen
& Goodman (1999), "An empirical study of smoothing techniques", section 2.7. As there, one discount
per order; the openers of documents as in KenLM (Heafield 2011).

On disk: config.json with model_type "ngram", the tokenizer's files, and model.safetensors with the
tables of `NgramTables`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from transformers import PreTrainedTokenizerFast

from transect.errors import InputError, LoadError, NotApplicable, nearest
from transect.lm.decoding import Decoding, TableDecoder
from transect.lm.model import Model, TokenScores, check_positions
from transect.store.model_files.folder import CONFIG, configuration
from transect.store.model_files.headers import tensors

ENGINE_PART = "ngram"  # its name in the keys of cells: it stays when the file moves
VERSION = 1  # raise it when values change
ONLY_RUNS = {"mixer": "ngram"}

SMOOTHINGS = ("kneser_ney", "absolute")
WEIGHTS = "model.safetensors"
BUDGET = 2**28  # bytes of distributions that are held at once


@dataclass(frozen=True)
class NgramTables:
    """keys[k-1]: the k-grams seen, sorted, as numbers in base vocab_size, first token first;
    counts[k-1]: c of each.
    """

    vocab_size: int
    smoothing: str
    keys: tuple[np.ndarray, ...]
    counts: tuple[np.ndarray, ...]

    @property
    def order(self) -> int:
        return len(self.keys)

    @cached_property
    def discounts(self) -> tuple[float, ...]:
        ones_and_twos = [(int((c == 1).sum()), int((c == 2).sum())) for c in self.counts]
        # without singletons or doubletons the estimate is 0 or 1, which gives up smoothing or the
        # counts: the middle instead
        return tuple(n1 / (n1 + 2 * n2) if n1 and n2 else 0.5 for n1, n2 in ones_and_twos)

    @cached_property
    def contexts(self) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], ...]:
        """Of each order: the contexts h seen (sorted keys), where their k-grams start, c(h) and
        types(h).
        """
        result = []
        for keys, counts in zip(self.keys, self.counts, strict=True):
            context, start, types = np.unique(
                keys // self.vocab_size, return_index=True, return_counts=True
            )
            result.append(
                (context, start, np.add.reduceat(counts, start) if len(start) else counts, types)
            )
        return tuple(result)

    def probabilities(self, ids: np.ndarray) -> np.ndarray:
        """p of every token given the tokens before it (at most order - 1), float64 [position]."""
        p = np.full(len(ids), 1 / self.vocab_size)
        for k in range(1, min(self.order, len(ids)) + 1):
            grams = _grams(ids, k, self.vocab_size)  # of the positions from k - 1
            contexts, _, totals, types = self.contexts[k - 1]
            at, seen = _find(contexts, grams // self.vocab_size)
            gram_at, gram_seen = _find(self.keys[k - 1], grams)
            kept = np.where(gram_seen, self.counts[k - 1][gram_at] - self.discounts[k - 1], 0)
            lower = p[k - 1 :]
            p[k - 1 :] = np.where(
                seen, (kept + self.discounts[k - 1] * types[at] * lower) / totals[at], lower
            )
        return p

    def distribution(self, before: Sequence[int]) -> np.ndarray:
        """p(w | before) of every w, float64 [vocabulary]."""
        p = np.full(self.vocab_size, 1 / self.vocab_size)
        for k in range(1, min(self.order, len(before) + 1) + 1):
            context = np.array([_number(before[len(before) - k + 1 :], self.vocab_size)])
            contexts, starts, totals, types = self.contexts[k - 1]
            (at,), (seen,) = _find(contexts, context)
            if not seen:
                break  # what was never seen is seen in no longer context either
            rows = slice(starts[at], starts[at] + types[at])
            p *= self.discounts[k - 1] * types[at] / totals[at]
            p[self.keys[k - 1][rows] % self.vocab_size] += (
                self.counts[k - 1][rows] - self.discounts[k - 1]
            ) / totals[at]
        return p


def fit_ngram(
    documents: Sequence[Sequence[int]],
    vocab_size: int,
    order: int,
    *,
    smoothing: str = "kneser_ney",
    bos_id: int | None = None,
) -> NgramTables:
    """Count documents of token ids without special tokens. `bos_id` is put before each: read, not
    predicted.

    Raises InputError for an unknown smoothing, an id outside the vocabulary, or an order whose keys
    exceed 63 bits.
    """
    if smoothing not in SMOOTHINGS:
        allowed = ", ".join(SMOOTHINGS)
        raise InputError(
            f"smoothing: unknown {smoothing!r}; there are: {allowed}.{nearest(smoothing, SMOOTHINGS)}"
        )
    if order < 1 or vocab_size**order >= 2**63:
        raise InputError(
            f"order: {order} with {vocab_size} token types; allowed are 1 and up, with types ** order below 2 ** 63."
        )
    opening = [] if bos_id is None else [bos_id]
    texts = [np.array([*opening, *document], dtype=np.int64) for document in documents]
    if not any(len(text) > len(opening) for text in texts):
        raise InputError("documents: there is no token to count.")
    if any(len(text) and not 0 <= text.min() <= text.max() < vocab_size for text in texts):
        raise InputError(f"documents: a token id is outside the vocabulary 0 to {vocab_size - 1}.")
    keys: list[np.ndarray] = []
    counts: list[np.ndarray] = []
    for k in range(order, 0, -1):
        first = 1 if k == 1 and opening else 0  # BOS itself is never predicted
        grams = np.concatenate([_grams(text, k, vocab_size)[first:] for text in texts])
        seen, count = np.unique(grams, return_counts=True)
        if smoothing == "kneser_ney" and keys:
            openers = np.concatenate([_grams(text[:k], k, vocab_size)[first:] for text in texts])
            left = (
                keys[0] % vocab_size**k
            )  # the longer k+1-grams without their first token: one per different left neighbour
            count = np.array(
                [
                    np.bincount(np.searchsorted(seen, part), minlength=len(seen))
                    for part in (openers, left)
                ]
            ).sum(0)
        keys.insert(0, seen)
        counts.insert(0, count.astype(np.int64))
    return NgramTables(vocab_size, smoothing, tuple(keys), tuple(counts))


def save_ngram(tables: NgramTables, folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write the directory that `transect.lm.load` reads; the folder exists."""
    config = {
        "model_type": "ngram",
        "order": tables.order,
        "smoothing": tables.smoothing,
        "vocab_size": tables.vocab_size,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    arrays = {f"keys_{k}": keys for k, keys in enumerate(tables.keys, start=1)}
    arrays |= {f"counts_{k}": counts for k, counts in enumerate(tables.counts, start=1)}
    save_file(arrays, folder / WEIGHTS)
    tokenizer.save_pretrained(folder)


def read_ngram(folder: Path) -> NgramTables:
    """Raises LoadError when the directory does not hold whole tables, or other ones than its
    configuration says.
    """
    order, smoothing, vocab_size = stated(folder)
    wanted = [f"{part}_{k}" for k in range(1, order + 1) for part in ("keys", "counts")]
    held = tensors([folder / WEIGHTS])
    if set(held) != set(wanted) or any(
        len(tensor.shape) != 1 or tensor.stored != "I64" for tensor in held.values()
    ):
        raise LoadError(
            f"{folder}: an n-gram model of order {order} has the tables {', '.join(wanted)}, one column of I64 each; {WEIGHTS} holds "
            f"{', '.join(sorted(held))[:80]}."
        )
    arrays = load_file(folder / WEIGHTS)
    keys, counts = (
        [arrays[f"{part}_{k}"] for k in range(1, order + 1)] for part in ("keys", "counts")
    )
    for k, (grams, times) in enumerate(zip(keys, counts, strict=True), start=1):
        inside = not len(grams) or 0 <= grams[0] <= grams[-1] < vocab_size**k
        if (
            not inside
            or len(grams) != len(times)
            or (np.diff(grams) <= 0).any()
            or (times < 1).any()
        ):
            raise LoadError(
                f"{folder}: the table of {k}-grams is none: keys ascend and are below {vocab_size} ** {k}, counts are at least 1."
            )
    return NgramTables(vocab_size, smoothing, tuple(keys), tuple(counts))


def stated(folder: Path) -> tuple[int, str, int]:
    """Order, smoothing and size of the vocabulary, as the configuration says; raises LoadError for
    what cannot be.
    """
    config, file = configuration(folder), folder / CONFIG
    for name in ("order", "vocab_size"):
        value = config.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 2**31:
            raise LoadError(
                f"{file}: {name} is {str(value)[:40]!r}; it must be a whole number of at least 1."
            )
    order, smoothing, vocab_size = config["order"], config.get("smoothing"), config["vocab_size"]
    if smoothing not in SMOOTHINGS:
        near = nearest(smoothing, SMOOTHINGS)
        raise LoadError(
            f"{file}: smoothing is {str(smoothing)[:40]!r}; there are: {', '.join(SMOOTHINGS)}.{near}"
        )
    if order > 63 or vocab_size**order >= 2**63:
        raise LoadError(
            f"{file}: order {order} with {vocab_size:,} token types; types ** order must be below 2 ** 63."
        )
    return order, smoothing, vocab_size


class NgramModel(Model):
    """An n-gram model: causal, with log-probabilities and nothing inside."""

    objective = "causal"
    capabilities = frozenset({"logits", "causal", "generation", "text", "tokenizer"})
    context_length = None

    def __init__(self, path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__(path, tokenizer, [path / WEIGHTS])
        self.tables = read_ngram(path)
        self.vocab_size = self.tables.vocab_size
        if self.vocab_size != len(tokenizer):
            told = f"vocab_size is {self.vocab_size:,}, and the tokenizer has {len(tokenizer):,} tokens"
            raise LoadError(
                f"{path / CONFIG}: {told}; the keys of the tables are numbers in that base."
            )

    def token_scores(
        self,
        sequences: Sequence[Sequence[int]],
        prefix_lengths: Sequence[int] | None = None,
        *,
        sources: Sequence[Sequence[int]] | None = None,
        top1: bool = False,
        batch_size: int | None = None,
    ) -> list[TokenScores]:
        """See Model. `batch_size` has nothing to act on here."""
        if sources is not None:
            raise NotApplicable("an n-gram model has no encoder that could read a source")
        self._check(sequences)
        result = []
        for index, ids in enumerate(sequences):
            start = max(1, prefix_lengths[index]) if prefix_lengths is not None else 1
            logprob = np.log(self.tables.probabilities(np.array(ids, dtype=np.int64)))
            logprob[:start] = np.nan
            best = None
            if top1:
                best = np.zeros(len(ids), dtype=bool)
                for t in range(start, len(ids)):
                    p = self.tables.distribution(ids[:t])
                    best[t] = p.argmax() == ids[t]
            result.append(TokenScores(logprob, best))
        return result

    def set_logprobs(
        self,
        sequences: Sequence[Sequence[int]],
        positions: Sequence[Sequence[int]],
        members: np.ndarray,
        *,
        batch_size: int | None = None,
    ) -> list[np.ndarray]:
        """See Model. `batch_size` has nothing to act on here."""
        self._check(sequences)
        check_positions(sequences, positions)
        known: dict[
            tuple[int, ...], float
        ] = {}  # of the last order - 1 tokens: nothing else counts
        result = []
        for ids, places in zip(sequences, positions, strict=True):
            keys = [tuple(ids[max(0, t + 2 - self.tables.order) : t + 1]) for t in places]
            for key in keys:
                if key not in known:
                    known[key] = float(self.tables.distribution(key)[members].sum())
            with np.errstate(divide="ignore"):  # an empty set has log 0
                result.append(np.log([known[key] for key in keys]))
        return result

    def _decoding(self) -> Decoding:
        tables = self.tables
        return Decoding(
            lambda rows, sources: TableDecoder(
                lambda ids: tables.distribution(ids[max(0, len(ids) + 1 - tables.order) :]), rows
            ),
            lambda length: 8 * self.vocab_size,
            BUDGET,
            lambda size: None,
        )


def _grams(ids: np.ndarray, k: int, base: int) -> np.ndarray:
    """Every run of k tokens as one number in that base, first token first."""
    if len(ids) < k:
        return np.empty(0, dtype=np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(ids, k)
    return windows @ np.array([base**i for i in reversed(range(k))], dtype=np.int64)


def _number(ids: Sequence[int], base: int) -> int:
    return sum(int(token) * base**i for i, token in enumerate(reversed(ids)))


def _find(table: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each wanted number stands in a sorted table, and whether it is there (else the place is
    any valid one).
    """
    at = np.minimum(np.searchsorted(table, wanted), max(0, len(table) - 1))
    return at, table[at] == wanted if len(table) else np.zeros(len(wanted), dtype=bool)
