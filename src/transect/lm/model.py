"""What every loaded model offers to measures, whatever computes it (a network, a table of counts).

A model is a tokenizer plus a distribution over tokens. Log-probabilities are in nats, float64;
positions are 0-based; a position that is not scored holds NaN. No method adds special tokens:
sequences say all that the model reads (lm/score/scoring.py adds the BOS).
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from transformers import BatchEncoding, PreTrainedTokenizerFast

from transect.errors import InputError, NotApplicable
from transect.lm.decoding import Decoding
from transect.lm.text import control
from transect.lm.text.cutting import cut
from transect.lm.text.tokenizer import canary

if TYPE_CHECKING:
    from transect.lm.anatomy.anatomy import Anatomy

ABSTRACT = True  # what a model offers is computed in the files of its subclasses (engine_parts.py)
NOT_NUMBERS = "the model's logits are not numbers (NaN)"
# of a configuration: what says where it came from, who wrote it and how it is run, and changes no
# number
UNCOUNTED = ("_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache")


class TokenScores(NamedTuple):
    """Of one sequence, by position: ``logprob`` [position] in nats (NaN where not scored) and
    ``top1`` [position], True where the token is the most probable one, the first of equals (None
    unless asked for)."""

    logprob: np.ndarray
    top1: np.ndarray | None


class Answer(NamedTuple):
    """What a model wrote after a prompt; error: why it wrote nothing, else empty."""

    text: str
    error: str


class Model(ABC):
    """A tokenizer and a distribution over tokens. ``None`` stands for what a model does not have."""

    objective: Literal["causal", "masked", "seq2seq"]
    capabilities: frozenset[str]
    vocab_size: int
    context_length: int | None  # longest sequence in tokens, special tokens included
    n_layers: int | None = None
    n_heads: int | None = None
    d_model: int | None = None
    _said: Callable[[int, int], None] | None = None  # see `watch`
    _own_code = False  # whether Python files of the directory compute it
    decoder_start_id: int | None = None  # of an encoder-decoder model: what its decoder reads first
    opening_token: str | None = (
        None  # what the registry says that a text is opened with, where it says so (lm/text/opening.py)
    )
    opened: tuple[str, ...] | None = (
        None  # the tokens that texts were opened with, the last time that it was asked
    )

    def __init__(
        self, path: Path, tokenizer: PreTrainedTokenizerFast, weights: Sequence[Path]
    ) -> None:
        self.path = path
        self.tokenizer = tokenizer
        self._weights = tuple(weights)
        self._uncut: dict[str, str] = {}  # texts that the tokenizer gave up on, and why
        self._told: dict[
            tuple[int, ...], str
        ] = {}  # sequences that the network could not be run on, and why

    @property
    def bos_id(self) -> int | None:
        """The token that a tokenizer declares for an opening (lm/text/opening.py): its BOS or, as
        GPT-NeoX models use it, its EOS.
        """
        bos = self.tokenizer.bos_token_id
        return self.tokenizer.eos_token_id if bos is None else bos

    @property
    def mask_id(self) -> int | None:
        return self.tokenizer.mask_token_id

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """sha256: ``weights`` of the weight files' bytes, in name order; ``tokenizer`` of the ids
        of a fixed text (lm/text/tokenizer.py: canary); ``special`` of the ids of the special tokens by
        role; ``config`` of what the configuration says of the computation, and of the Python files
        where they do it."""
        digest = hashlib.sha256()
        for path in self._weights:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        roles = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
        special = " ".join(
            f"{role}={getattr(self.tokenizer, f'{role}_token_id')}" for role in roles
        )
        return {
            "weights": digest.hexdigest(),
            "tokenizer": canary(self.tokenizer),
            "special": _sha256(special),
            **self._config(),
        }

    def _config(self) -> dict[str, str]:
        file = self.path / "config.json"
        if not file.is_file():  # a model that was put together in memory
            return {}
        digest = hashlib.sha256(
            json.dumps(_numbers(json.loads(file.read_text("utf-8"))), sort_keys=True).encode()
        )
        for code in sorted(self.path.glob("*.py")) if self._own_code else ():
            digest.update(code.name.encode() + code.read_bytes())
        return {"config": digest.hexdigest()}

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without special tokens."""
        return self.encodings([text])["input_ids"][0]

    def encodings(self, texts: Sequence[str]) -> BatchEncoding:
        """Ids, character offsets and word numbers of many texts, without special tokens; none of
        what is unreadable.
        """
        found, told = cut(self.tokenizer, texts)
        self._uncut |= told
        return found

    def illegible(self, text: str, ids: Sequence[int]) -> str:
        """Why a text cannot be read, or not as text; empty where it can. ids: as `encode` or
        `encodings` gave them before.
        """
        return self._uncut.get(text, "") or self.spelled(text, list(ids))

    def spelled(self, text: str, ids: list[int]) -> str:
        """The sentence for a text that spells a control token (lm/text/control.py); ids: as `encode`
        gives them.
        """
        return control.spelled(self._control, self.tokenizer.unk_token_id, text, ids)

    @cached_property
    def _control(self) -> dict[int, str]:
        return control.control_tokens(self.tokenizer)

    def watch(self, said: Callable[[int, int], None] | None) -> None:
        """Have `said` told, while a network scores sequences, how many tokens of this pass are
        read, and of how many.
        """
        self._said = said

    @abstractmethod
    def token_scores(
        self,
        sequences: Sequence[Sequence[int]],
        prefix_lengths: Sequence[int] | None = None,
        *,
        sources: Sequence[Sequence[int]] | None = None,
        top1: bool = False,
        batch_size: int | None = None,
    ) -> list[TokenScores]:
        """log p(token_t | tokens_<t) of every position t >= prefix_length (at least 1: nothing
        predicts the first token).

        The result is the same, to 1e-5 nats per token, for every batch size and order.
        ``batch_size`` None: from the memory budget. sources: what the encoder of an encoder-decoder
        model reads, for each sequence. Raises NotApplicable for a masked model, and for sources
        without an encoder or the other way round; InputError for an id outside the vocabulary or a
        sequence beyond the context. NaN where the model gives no number.
        """

    def token_logprobs(
        self,
        sequences: Sequence[Sequence[int]],
        prefix_lengths: Sequence[int] | None = None,
        *,
        batch_size: int | None = None,
    ) -> list[np.ndarray]:
        """The ``logprob`` part of `token_scores`."""
        return [
            s.logprob for s in self.token_scores(sequences, prefix_lengths, batch_size=batch_size)
        ]

    def set_logprobs(
        self,
        sequences: Sequence[Sequence[int]],
        positions: Sequence[Sequence[int]],
        members: np.ndarray,
        *,
        batch_size: int | None = None,
    ) -> list[np.ndarray]:
        """log of the sum of p(w | tokens up to and with position t) over the tokens w of a set, for
        chosen t: nats [t].

        members: bool [vocabulary]. positions[i] are 0-based places of sequence i: the last one asks
        what follows the whole sequence. Causal models only; errors as `token_scores`, and
        InputError for a position out of range.
        """
        raise NotApplicable("the probability of a set of next tokens needs a causal model")

    def pll(
        self,
        sequences: Sequence[Sequence[int]],
        words: Sequence[Sequence[int]],
        *,
        variant: str = "within_word",
        batch_size: int | None = None,
    ) -> list[np.ndarray]:
        """Pseudo-log-likelihood of each token, by the variant; see lm/network.py. Masked models
        only.
        """
        raise NotApplicable("a pseudo-log-likelihood needs a masked model")

    @property
    def packing(self) -> bool:
        """Whether some scores came from rows that share prefixes: provenance."""
        return False

    def write(self, prompts: Sequence[str], *, max_new_tokens: int) -> list[Answer] | None:
        """What a model behind an interface writes after each prompt, which is all that it offers
        (lm/api.py). None of a model with probabilities: its text is drawn from them
        (lm/generate/generation.py: answers).
        """
        return None

    def _decoding(self) -> Decoding:
        raise NotApplicable("a masked model has no next token to generate")

    @property
    def anatomy(self) -> "Anatomy":
        """The parts of a network; see lm/anatomy/anatomy.py. Raises NotApplicable for what is not a
        network.
        """
        raise NotApplicable(
            "this model is not a network: it has no blocks, heads or residual stream"
        )

    def attention(
        self,
        ids: np.ndarray,
        reduce: Callable[[torch.Tensor], torch.Tensor],
        *,
        batch_size: int | None = None,
    ) -> np.ndarray:
        """`reduce` of every layer's attention pattern; see lm/network.py. Models with attention
        heads only.
        """
        raise NotApplicable("this model has no attention heads that can be read")

    def attention_patterns(self, ids: np.ndarray) -> Iterator[tuple[int, torch.Tensor]]:
        """(layer, pattern [batch, head, query, key]) of every layer; see lm/network.py. Models with
        heads only.
        """
        raise NotApplicable("this model has no attention heads that can be read")

    @property
    def lacks(self) -> str:
        """What the whole of the model lacks, in words; empty where it lacks nothing."""
        return ""

    @property
    def n_logits(self) -> int:
        """How many tokens have a logit, those with the lowest ids; `vocab_size` have an embedding."""
        return self.vocab_size

    def no_number(self, ids: Sequence[int]) -> str:
        """Why a sequence has no scores."""
        return self._told.get(tuple(ids), NOT_NUMBERS)

    def _note(self, sequences: Iterable[Sequence[int]], reasons: Iterable[str]) -> None:
        self._told |= {tuple(ids): reason for ids, reason in zip(sequences, reasons, strict=True)}

    def _check(self, sequences: Sequence[Sequence[int]]) -> None:
        """Refuse what the model would cut, or look up beyond its table."""
        for index, ids in enumerate(sequences):
            if self.context_length is not None and len(ids) > self.context_length:
                raise InputError(
                    f"Sequence {index} has {len(ids)} tokens; the context of {self.path.name} is {self.context_length}."
                )
            if ids and not 0 <= min(ids) <= max(ids) < self.vocab_size:
                raise InputError(
                    f"Sequence {index} has the token id {max(ids) if min(ids) >= 0 else min(ids)}; "
                    f"the vocabulary of {self.path.name} is 0 to {self.vocab_size - 1}."
                )


def check_positions(sequences: Sequence[Sequence[int]], positions: Sequence[Sequence[int]]) -> None:
    """Refuse a position that its sequence does not have."""
    for index, (ids, places) in enumerate(zip(sequences, positions, strict=True)):
        if len(places) and not 0 <= min(places) <= max(places) < len(ids):
            wrong = next(t for t in places if not 0 <= t < len(ids))
            raise InputError(
                f"Sequence {index}: there is no position {wrong}; it has 0 to {len(ids) - 1}."
            )


def _numbers(config: Any) -> Any:
    """A configuration, and those within it, without what changes no number."""
    if isinstance(config, dict):
        return {name: _numbers(value) for name, value in config.items() if name not in UNCOUNTED}
    return config


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
