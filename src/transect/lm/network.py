"""A transformers network as a Model: token log-probabilities, pseudo-log-likelihoods, attention
patterns.

log p(token_t | context) = logit[t] - logsumexp(logits), from the model's own forward in eval mode.
Sequences are sorted by length and padded on the right, where a causal model cannot look; masked
models get a mask. Where it is exact, sequences share the rows in which they share prefixes
(lm/score/packing.py), and only at the positions that are asked for does the unembedding run
(lm/score/forward.py).
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from transect.errors import InputError, NotApplicable, nearest
from transect.lm import decoding
from transect.lm.anatomy import attention
from transect.lm.anatomy.anatomy import Anatomy, nothing
from transect.lm.anatomy.identities import checked
from transect.lm.batching import context_length, plan, run_halving
from transect.lm.checkpoint.surplus import HEADLESS
from transect.lm.model import Model, TokenScores, check_positions
from transect.lm.score import alone, reduced_patterns
from transect.lm.score.forward import looks_ahead
from transect.lm.score.log_sums import Read, log_probabilities, log_shares
from transect.lm.score.masked_rows import VARIANTS, masked_rows
from transect.lm.score.packing import Packing
from transect.lm.score.padding import SHORTEST

ENGINE_PART = "network"  # its name in the keys of cells: it stays when the file moves
VERSION = 3  # raise it when values change

BUDGET = 256 * 2**20  # bytes of activations per batch: measured no slower than larger ones on a CPU
AHEAD = "the network looks ahead: earlier logits change with later tokens; it is no causal model"


class NetworkModel(Model):
    """A causal or masked language model of transformers, in eval mode on one device."""

    def __init__(
        self,
        path: Path,
        tokenizer: PreTrainedTokenizerFast,
        weights: Sequence[Path],
        network: PreTrainedModel,
        objective: Literal["causal", "masked", "seq2seq"],
        budget: int = BUDGET,
        headless: bool = False,
    ) -> None:
        super().__init__(path, tokenizer, weights)
        self.network = network.eval()
        self.objective = objective
        self.budget = budget
        self.halvings: list[int] = []  # batch sizes that did not fit in memory: provenance
        config = network.config
        config.use_cache = False
        self.vocab_size = int(cast(torch.Tensor, network.get_input_embeddings().weight).shape[0])
        self.context_length = context_length(network)
        self.n_layers = getattr(config, "num_hidden_layers", None)
        self.d_model = getattr(config, "hidden_size", None)
        self._headless = headless
        offers = {"hidden", "gradients", "tokenizer"} | (
            set() if headless else {"logits", objective}
        )
        if objective != "masked" and not headless:
            offers |= {"generation", "text"}
        if objective == "seq2seq":
            starts = (
                getattr(c, "decoder_start_token_id", None)
                for c in (config, network.generation_config)
            )
            self.decoder_start_id = next(
                (start for start in starts if start is not None), self.bos_id
            )
        # None for state-space models; that the heads are really found, the anatomy checks at its
        # first use
        self.n_heads = getattr(config, "num_attention_heads", None)
        if self.n_heads is not None and objective != "seq2seq":
            offers |= {"attention", "heads"}
        self.capabilities = frozenset(offers)
        self._packing = Packing(
            network, objective, budget, self._row_bytes, self.context_length, self.halvings.append
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
        """See Model. The last token of a sequence is predicted, not read; a prefix that occurs
        twice is run once.

        sources: what the encoder reads for each sequence, whose first token is then the decoder's
        start.
        """
        self._expect("causal" if sources is None else "seq2seq")
        self._check(sequences)
        starts = np.maximum(
            1, 1 if prefix_lengths is None else np.array(prefix_lengths, dtype=np.int64)
        )
        starts = np.broadcast_to(starts, len(sequences)).tolist()
        scored = [i for i, ids in enumerate(sequences) if len(ids) > starts[i]]
        targets = np.array(
            [token for i in scored for token in sequences[i][starts[i] :]], dtype=np.int64
        )
        found, best = np.full(len(targets), np.nan), np.zeros(len(targets), dtype=bool)
        self._check(sources or ())
        read = None if sources is None else [tuple(sources[i]) for i in scored]
        told = self._read(
            [tuple(sequences[i][:-1]) for i in scored],
            [np.arange(starts[i] - 1, len(sequences[i]) - 1) for i in scored],
            log_probabilities(targets, found, best if top1 else None),
            found,
            batch_size,
            read,
        )
        self._note([sequences[scored[i]] for i in told], told.values())
        result = [
            TokenScores(np.full(len(ids), np.nan), np.zeros(len(ids), dtype=bool) if top1 else None)
            for ids in sequences
        ]
        at = 0
        for i in scored:
            n = len(sequences[i]) - starts[i]
            result[i].logprob[starts[i] :] = found[at : at + n]
            if top1:
                cast(np.ndarray, result[i].top1)[starts[i] :] = best[at : at + n]
            at += n
        return result

    def set_logprobs(
        self,
        sequences: Sequence[Sequence[int]],
        positions: Sequence[Sequence[int]],
        members: np.ndarray,
        *,
        batch_size: int | None = None,
    ) -> list[np.ndarray]:
        """See Model. The sums are taken in float64."""
        self._expect("causal")
        self._check(sequences)
        check_positions(sequences, positions)
        asked = [i for i, places in enumerate(positions) if len(places)]
        places = [np.array(positions[i], dtype=np.int64) for i in asked]
        found = np.full(sum(map(len, places)), np.nan)
        read = [tuple(sequences[i][: max(at) + 1]) for i, at in zip(asked, places, strict=True)]
        told = self._read(read, places, log_shares(members, found), found, batch_size)
        self._note([sequences[asked[i]] for i in told], told.values())
        values = iter(np.split(found, np.cumsum([len(p) for p in places])[:-1]))
        return [next(values) if len(p) else np.empty(0) for p in positions]

    def pll(
        self,
        sequences: Sequence[Sequence[int]],
        words: Sequence[Sequence[int]],
        *,
        variant: str = "within_word",
        batch_size: int | None = None,
    ) -> list[np.ndarray]:
        """Pseudo-log-likelihood of each token: log p(token_t | all tokens but t),  variant "original";
        log p(token_t | all tokens but t and the later ones of its word),  "within_word" left-to-right.

        words[i][t] is the number of the word that token t belongs to, negative where it is not
        scored (special tokens, context): such positions are read and hold NaN in the result. Nats,
        float64. Raises NotApplicable for a model that is not masked, InputError for another
        variant. Sources: Salazar et al. (2020), "Masked language model scoring", ACL; Kauf &
        Ivanova (2023), "A better way to do masked language model scoring", ACL.
        """
        self._needs_head()
        if self.objective != "masked" or self.mask_id is None:
            raise NotApplicable(
                "a pseudo-log-likelihood needs a masked model whose tokenizer has a mask token"
            )
        if variant not in VARIANTS:
            raise InputError(
                f"pll: {variant!r}; allowed are {', '.join(VARIANTS)}.{nearest(variant, VARIANTS)}"
            )
        self._check(sequences)
        rows, owners = masked_rows(sequences, words, self.mask_id, variant)
        targets = np.array([sequences[index][t] for index, t in owners], dtype=np.int64)
        found = np.full(len(owners), np.nan)
        # one masked row may serve several targets: the two members of a minimal pair often differ
        # in the masked word
        positions = [np.array([t]) for _, t in owners]
        told = self._read(rows, positions, log_probabilities(targets, found), found, batch_size)
        result = [np.full(len(ids), np.nan) for ids in sequences]
        for (index, t), value in zip(owners, found.tolist(), strict=True):
            result[index][t] = value
        self._note([sequences[owners[i][0]] for i in told], told.values())
        return result

    @property
    def n_logits(self) -> int:
        """See Model: some unembeddings have fewer rows than the table of embeddings."""
        rows = getattr(
            getattr(self.network.get_output_embeddings(), "weight", None),
            "shape",
            (self.vocab_size,),
        )[0]
        return min(self.vocab_size, int(rows))

    @property
    def packing(self) -> bool:
        """Whether some scores came from rows that share prefixes (lm/score/packing.py): provenance."""
        return self._packing.used

    @property
    def lacks(self) -> str:
        """What the whole of the model lacks, in words; empty where it lacks nothing."""
        return (
            f"{'an encoder' if self.objective == 'masked' else 'a decoder'} {HEADLESS}"
            if self._headless
            else ""
        )

    def _needs_head(self) -> None:
        """Raise NotApplicable where the unembedding is not the model's own."""
        if self._headless:
            raise NotApplicable(f"{self.path.name} is {self.lacks}")

    def _expect(self, objective: str) -> None:
        self._needs_head()
        if self.objective == objective:
            if objective == "causal" and self._looks_ahead:
                raise NotApplicable(AHEAD)
            return
        raise NotApplicable(
            {
                "causal": "log p(token | earlier tokens) needs a causal model; a masked model has pseudo-log-likelihoods, "
                "an encoder-decoder needs a source",
                "seq2seq": "log p(token | source, earlier tokens) needs an encoder-decoder model",
            }[objective]
        )

    def _read(
        self,
        sequences: Sequence[tuple[int, ...]],
        positions: Sequence[np.ndarray],
        read: Read,
        found: np.ndarray,
        batch_size: int | None,
        sources: Sequence[tuple[int, ...]] | None = None,
    ) -> dict[int, str]:
        """`read` the logits after the given positions of each sequence, see lm/score/alone.py; it puts
        them into `found`.
        """
        return alone.read(
            self._packing, sequences, positions, read, found, batch_size, sources, self._said
        )

    @cached_property
    def _looks_ahead(self) -> bool:
        found: list[bool] = []
        # nothing is halved: out of memory is told as everywhere
        run_halving(
            [0],
            lambda _: found.append(looks_ahead(self.network, self.context_length)),
            self.halvings.append,
        )
        return found[0]

    @cached_property
    def _cache_is_right(self) -> bool:
        return decoding.cache_is_right(self.network)

    def _decoding(self) -> decoding.Decoding:
        self._needs_head()
        if self.objective == "masked":
            return super()._decoding()
        if self.objective == "causal":
            self._expect("causal")
        return decoding.Decoding(
            lambda rows, sources: decoding.NetworkDecoder(
                self.network, rows, sources, self._cache_is_right
            ),
            lambda length: decoding.row_bytes(self.network, length),
            0 if self._rows_touch(SHORTEST) else self.budget,
            self.halvings.append,
        )

    @cached_property
    def anatomy(self) -> Anatomy:
        """The network's parts under one vocabulary, found and checked at first use; see
        lm/anatomy/anatomy.py.
        """
        if self.objective == "seq2seq":
            return nothing(
                self.network,
                "activations are read of one sequence; an encoder-decoder model reads two",
            )
        return checked(self.network)

    def attention(
        self,
        ids: np.ndarray,
        reduce: Callable[[torch.Tensor], torch.Tensor],
        *,
        batch_size: int | None = None,
    ) -> np.ndarray:
        """reduce(A) of every layer, float64 [layer, batch, head]. ids: [batch, position], all of
        one length.

        `reduce` takes a pattern [batch, head, query, key] to [batch, head]; it runs inside the
        attention call. NaN, in all layers, of a sequence that has no numbers: see lm/score/reduced_patterns.py
        and `no_number`. Raises NotApplicable where the attention cannot be read, or is not in every
        layer.
        """
        self._check(ids.tolist())
        try:
            self.anatomy.require("pattern")
        except NotApplicable:
            if self.objective == "seq2seq" or not self._diverged(ids[:1]):
                raise
            self._note(ids.tolist(), [reduced_patterns.NOT_NUMBERS] * len(ids))
            return np.full((self.n_layers or 0, len(ids), self.n_heads or 0), np.nan)
        batch_size = 1 if len(ids) > 1 and self._rows_touch(ids.shape[1]) else batch_size
        batches = plan([ids.shape[1]] * len(ids), self._row_bytes, self.budget, batch_size)
        found, told = reduced_patterns.reduced(
            self.network, self.anatomy, ids, reduce, batches, self.halvings.append
        )
        self._note([ids[i].tolist() for i in told], told.values())
        return found

    def _rows_touch(self, length: int) -> bool:
        """Whether rows of so many tokens change each other's numbers (lm/score/padding.py). To be asked
        while nothing is hooked.
        """
        return self._packing.padding.together(length) == "alone"

    def _diverged(self, ids: np.ndarray) -> bool:
        """Whether the network gives no numbers at all, so that its parts could not be found either:
        a run that diverged.
        """
        with torch.inference_mode():
            logits = self.network(input_ids=torch.as_tensor(ids, device=self.network.device)).logits
        return bool(logits.isnan().any(-1).all())

    def attention_patterns(self, ids: np.ndarray) -> Iterator[tuple[int, torch.Tensor]]:
        """(layer, pattern [batch, head, query, key]), all kept in memory (`attention` keeps none):
        few sequences.
        """
        found: list[tuple[int, torch.Tensor]] = []
        read_ids = torch.as_tensor(ids, device=self.network.device)
        attention.read(
            self.network,
            self.anatomy,
            read_ids,
            lambda layer, pattern: found.append((layer, pattern)),
        )
        yield from sorted(found, key=lambda pair: pair[0])

    def _row_bytes(self, length: int) -> int:
        """Rough bytes of activations of one row: hidden states, attention patterns, masks,
        state-space chunks.
        """
        config = self.network.config
        per_token = 12 * (self.d_model or 1024) + (2 * (self.n_heads or 0) + 2) * length
        if hasattr(config, "chunk_size") and hasattr(config, "state_size"):
            per_token += (
                2 * config.chunk_size * config.num_heads * max(config.state_size, config.head_dim)
            )
            length = (
                -(-length // config.chunk_size) * config.chunk_size
            )  # short sequences are padded to a chunk
        return 4 * length * per_token
