"""A transformers network as a Model: token log-probabilities, pseudo-log-likelihoods, attention patterns.

log p(token_t | context) = logit[t] - logsumexp(logits), from the model's own forward in eval mode.
Sequences are sorted by length and padded on the right, where a causal model cannot look; masked models get a mask.
The unembedding runs at the positions that are asked for only: the output of the body is cut down on its way into the
model's own tail, so that whatever a tail does (norms, soft caps, scaling) is kept. Checked once per model against the
whole forward.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from transect.errors import NotApplicable
from transect.lm import attention
from transect.lm.batching import plan, run_halving
from transect.lm.model import Model, TokenScores

VERSION = 1  # part of the key of every cell that rests on this file: raise it when values change

BUDGET = 256 * 2**20  # bytes of activations per batch: measured no slower than larger ones on a CPU
# units of rounding: more than another shape of the same product costs, less than another function would
TAIL_TOLERANCE = 64


class NetworkModel(Model):
    """A causal or masked language model of transformers, in eval mode on one device."""

    def __init__(
        self,
        path: Path,
        tokenizer: PreTrainedTokenizerFast,
        weights: Sequence[Path],
        network: PreTrainedModel,
        objective: Literal["causal", "masked"],
        budget: int = BUDGET,
    ) -> None:
        super().__init__(path, tokenizer, weights)
        self.network = network.eval()
        self.objective = objective
        self.budget = budget
        self.halvings: list[int] = []  # batch sizes that did not fit in memory: provenance
        config = network.config
        config.use_cache = False
        self.vocab_size = int(cast(torch.nn.Embedding, network.get_input_embeddings()).num_embeddings)
        self.context_length = _context_length(network)
        self.n_layers = getattr(config, "num_hidden_layers", None)
        self.d_model = getattr(config, "hidden_size", None)
        offers = {"logits", "hidden", "gradients", objective}
        if objective == "causal":
            offers.add("generation")
        if attention.readable(network):
            # only here: the state-space models' configs call something else a head
            self.n_heads = getattr(config, "num_attention_heads", None)
            offers |= {"attention", "heads"}
        self.capabilities = frozenset(offers)
        self._tail_is_split: bool | None = None

    def token_scores(
        self,
        sequences: Sequence[Sequence[int]],
        prefix_lengths: Sequence[int] | None = None,
        *,
        top1: bool = False,
        batch_size: int | None = None,
    ) -> list[TokenScores]:
        """See Model. The last token of a sequence is predicted, not read; a sequence that occurs twice is run once."""
        if self.objective != "causal":
            raise NotApplicable(
                "log p(token | earlier tokens) needs a causal model; a masked model has pseudo-log-likelihoods"
            )
        self._check(sequences)
        starts = [max(1, p) for p in prefix_lengths] if prefix_lengths is not None else [1] * len(sequences)
        keys = [(tuple(ids), start) for ids, start in zip(sequences, starts, strict=True)]
        distinct = [key for key in dict.fromkeys(keys) if len(key[0]) > key[1]]
        rows = [(ids[:-1], list(range(start - 1, len(ids) - 1)), ids[start:]) for ids, start in distinct]
        scored = dict(zip(distinct, self._score(rows, top1, batch_size), strict=True))
        result = []
        for ids, start in keys:
            logprob, best = np.full(len(ids), np.nan), np.zeros(len(ids), dtype=bool)
            if (ids, start) in scored:
                logprob[start:], best[start:] = scored[ids, start]
            result.append(TokenScores(logprob, best if top1 else None))
        return result

    def pll(
        self, sequences: Sequence[Sequence[int]], words: Sequence[Sequence[int]], *, batch_size: int | None = None
    ) -> list[np.ndarray]:
        """Pseudo-log-likelihood, within-word left-to-right: log p(token_t | all tokens but t and the later ones of its
        word).

        words[i][t] is the number of the word that token t belongs to, negative where it is not scored (special tokens,
        context):
        such positions are read and hold NaN in the result. Nats, float64. Raises NotApplicable for a causal model.
        Source: Kauf & Ivanova (2023), "A better way to do masked language model scoring", ACL.
        """
        if self.objective != "masked" or self.mask_id is None:
            raise NotApplicable("a pseudo-log-likelihood needs a masked model whose tokenizer has a mask token")
        self._check(sequences)
        # one masked row may serve several targets: the two members of a minimal pair often differ in the masked word
        # only
        targets: dict[tuple[tuple[int, ...], int], list[tuple[int, int]]] = {}
        for index, (ids, numbers) in enumerate(zip(sequences, words, strict=True)):
            for position, word in enumerate(numbers):
                if word >= 0:
                    row = tuple(
                        self.mask_id if s >= position and numbers[s] == word else token for s, token in enumerate(ids)
                    )
                    targets.setdefault((row, position), []).append((index, position))
        rows = [
            (row, [position] * len(where), [sequences[i][p] for i, p in where])
            for (row, position), where in targets.items()
        ]
        result = [np.full(len(ids), np.nan) for ids in sequences]
        for where, (logprobs, _) in zip(targets.values(), self._score(rows, False, batch_size), strict=True):
            for (index, position), value in zip(where, logprobs, strict=True):
                result[index][position] = value
        return result

    def attention(
        self, ids: np.ndarray, reduce: Callable[[torch.Tensor], torch.Tensor], *, batch_size: int | None = None
    ) -> np.ndarray:
        """reduce(A) of every layer, float64 [layer, batch, head]. ids: [batch, position], all of one length.

        `reduce` takes a pattern [batch, head, query, key] to [batch, head]; it runs inside the attention call.
        Raises NotApplicable where the attention cannot be read, or is not in every layer.
        """
        self._check(ids.tolist())
        found: dict[int, list[np.ndarray]] = {}

        def keep(layer: int, pattern: torch.Tensor) -> None:
            found.setdefault(layer, []).append(reduce(pattern).double().cpu().numpy())

        for batch in plan([ids.shape[1]] * len(ids), self._row_bytes, self.budget, batch_size):
            attention.read(self.network, torch.as_tensor(ids[batch], device=self.network.device), keep)
        if sorted(found) != list(range(self.n_layers or 0)):
            raise NotApplicable(f"attention was read in layers {sorted(found)} of {self.n_layers}")
        return np.stack([np.concatenate(found[layer]) for layer in range(len(found))])

    def attention_patterns(self, ids: np.ndarray) -> Iterator[tuple[int, torch.Tensor]]:
        """(layer, pattern [batch, head, query, key]), all kept in memory (`attention` keeps none): few sequences."""
        found: list[tuple[int, torch.Tensor]] = []
        attention.read(
            self.network,
            torch.as_tensor(ids, device=self.network.device),
            lambda layer, pattern: found.append((layer, pattern)),
        )
        yield from sorted(found, key=lambda pair: pair[0])

    def _score(
        self, rows: Sequence[tuple[Sequence[int], list[int], Sequence[int]]], top1: bool, batch_size: int | None
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each row (ids, positions, targets): log p(target) at each position, whether it is the most probable."""
        result: list[tuple[np.ndarray, np.ndarray]] = [(np.empty(0), np.empty(0, dtype=bool))] * len(rows)

        def forward(batch: Sequence[int]) -> None:
            counts = [len(rows[i][1]) for i in batch]
            columns = torch.tensor([p for i in batch for p in rows[i][1]], device=self.network.device)
            line = torch.repeat_interleave(torch.tensor(counts)).to(self.network.device)
            target = torch.tensor([t for i in batch for t in rows[i][2]], device=self.network.device)[:, None]
            logits = self._logits([rows[i][0] for i in batch], line, columns)  # [target, vocabulary]
            chosen = logits.gather(1, target)
            best = (chosen >= logits.amax(1, keepdim=True)) if top1 else torch.zeros_like(chosen, dtype=torch.bool)
            logprob = (chosen.double() - torch.logsumexp(logits, 1, keepdim=True).double()).squeeze(1).cpu().numpy()
            ends = np.cumsum(counts)[:-1]
            for i, values, flags in zip(
                batch, np.split(logprob, ends), np.split(best.squeeze(1).cpu().numpy(), ends), strict=True
            ):
                result[i] = (values, flags)

        with torch.inference_mode():
            for batch in plan([len(row[0]) for row in rows], self._row_bytes, self.budget, batch_size):
                run_halving(batch, forward, self.halvings.append)
        return result

    def _logits(self, sequences: Sequence[Sequence[int]], line: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """Float logits [n, vocabulary] at (line, column) of the padded batch."""
        lengths = torch.tensor([len(ids) for ids in sequences])
        longest = int(lengths.max())
        # what the padding holds does not matter: causal models do not look right, masked ones are given the mask
        ids = torch.tensor([[*s, *[0] * (longest - len(s))] for s in sequences], device=self.network.device)
        inputs = {"input_ids": ids}
        if self.objective == "masked" and int(lengths.min()) < longest:
            inputs["attention_mask"] = (torch.arange(longest) < lengths[:, None]).long().to(self.network.device)
        if self._tail_is_split is None:
            self._tail_is_split = self._check_tail()
        if self._tail_is_split:
            return self._tail_at(inputs, line, columns).float()
        return self.network(**inputs).logits[line, columns].float()

    def _tail_at(self, inputs: dict[str, torch.Tensor], line: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """Logits [n, vocabulary] by the model's own forward, whose tail is given only the n hidden states asked for."""

        def cut(module: torch.nn.Module, args: Any, output: Any) -> Any:
            output.last_hidden_state = output.last_hidden_state[line, columns][None]
            return output

        hook = self.network.base_model.register_forward_hook(cut)
        try:
            return self.network(**inputs).logits[0]
        finally:
            hook.remove()

    def _check_tail(self) -> bool:
        """Whether the tail gives the same logits on chosen positions as the whole forward does."""
        ids = torch.arange(8, device=self.network.device).reshape(2, 4) % self.vocab_size
        line, columns = torch.tensor([0, 1, 1]), torch.tensor([2, 0, 3])
        whole = self.network(input_ids=ids).logits[line, columns]
        try:
            cut = self._tail_at({"input_ids": ids}, line, columns)
        except (AttributeError, IndexError, RuntimeError):
            return False  # a body that returns something else, or a tail that needs whole sequences
        rounding = torch.finfo(whole.dtype).eps * max(1.0, float(whole.abs().max()))
        return cut.shape == whole.shape and float((cut - whole).abs().max()) <= TAIL_TOLERANCE * rounding

    def _row_bytes(self, length: int) -> int:
        """Rough bytes of activations of one sequence: hidden states, logits, attention patterns, state-space chunks."""
        config = self.network.config
        per_token = 12 * (self.d_model or 1024) + 2 * self.vocab_size + 2 * (self.n_heads or 0) * length
        if hasattr(config, "chunk_size") and hasattr(config, "state_size"):
            per_token += 2 * config.chunk_size * config.num_heads * max(config.state_size, config.head_dim)
            length = -(-length // config.chunk_size) * config.chunk_size  # short sequences are padded to a chunk
        return 4 * length * per_token


def _context_length(network: PreTrainedModel) -> int | None:
    """The longest sequence the model has positions for; None where nothing limits it (state-space models)."""
    for name, module in network.named_modules():
        # RoBERTa counts its positions from padding_idx + 1: the table is that much longer than the context
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return int(module.num_embeddings) - int(module.padding_idx) - 1
    return getattr(network.config, "max_position_embeddings", None)
