"""The shared shelf of canonical cases: tiny models, the same on every machine, and their
tokenizers.

path = tiny_model(tmp_path, "gpt_neox")        # a directory in hub layout, for transect.lm.load
"""

from pathlib import Path

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

import transect.lm.lstm  # noqa: F401  makes the architecture known to the Auto classes
from transect.lm.ngram import fit_ngram, save_ngram

SPECIAL = {"bos_token": "<s>", "pad_token": "<pad>", "mask_token": "<mask>", "unk_token": "<unk>"}
WORDS = [
    *"the a this dog dogs cat cats key keys cabinet near behind of sees see runs run sleeps sleep big red .".split()
]
SYLLABLES = [f"syl{i}" for i in range(40)]
SENTENCES = [
    "the dog runs .",
    "the dogs near the cat run .",
    "a big cat behind the red cabinet sleeps",
    "this dog sees the keys of the big cabinet .",
    "cats sleep",
    "the key of the cabinet",
]
PIECES = [
    "[CLS]",
    "[SEP]",
    "[PAD]",
    "[MASK]",
    "[UNK]",
    *WORDS,
    "##s",
    "##ing",
    "cabin",
    "##et",
    "##ry",
    "sleep",
    "'",
    "!",
]
CAUSAL = ("gpt_neox", "gpt2", "llama", "mamba2")

_SIZE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
CONFIGS = {
    "gpt_neox": {**_SIZE, "max_position_embeddings": 64},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "llama": {**_SIZE, "num_key_value_heads": 2, "max_position_embeddings": 64},
    "mamba2": {
        **{
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "state_size": 8,
            "num_heads": 8,
            "head_dim": 8,
            "n_groups": 1,
        },
        **{"expand": 2, "chunk_size": 8},
    },
    "lstm": {"hidden_size": 32, "num_hidden_layers": 2},
    "bert": {**_SIZE, "max_position_embeddings": 64},
}


def word_tokenizer() -> PreTrainedTokenizerFast:
    """One token per whitespace-separated word; a BOS, no EOS."""
    vocabulary = {word: i for i, word in enumerate([*SPECIAL.values(), *WORDS, *SYLLABLES])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL["unk_token"]))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, **SPECIAL)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token per UTF-8 byte, as GPT-2's without merges; an end-of-text token and no BOS."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: i for i, symbol in enumerate([*alphabet, "<|endoftext|>"])}
    letters = Tokenizer(models.BPE(vocabulary, merges=[]))
    letters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=letters, eos_token="<|endoftext|>")


def piece_tokenizer() -> PreTrainedTokenizerFast:
    """BERT's scheme: word pieces ("cabinets" is cabinet ##s), punctuation apart, [CLS] and [SEP]."""
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(PIECES))}
    pieces = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = {
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "mask_token": "[MASK]",
    }
    return PreTrainedTokenizerFast(tokenizer_object=pieces, unk_token="[UNK]", **special)


def tiny_model(
    folder: Path,
    kind: str,
    *,
    tokenizer: PreTrainedTokenizerFast | None = None,
    seed: int = 0,
    **config: object,
) -> Path:
    """A directory folder/<kind> in hub layout. kind: a key of CONFIGS, or "ngram" (order,
    smoothing).

    Weights: 0.25 x standard normal; vectors: 0.1 x noise about their neutral value; by numpy's
    PCG64.
    """
    path = folder / kind
    path.mkdir(parents=True, exist_ok=True)
    if kind == "ngram":
        tokenizer = tokenizer or word_tokenizer()
        documents = [tokenizer.encode(text, add_special_tokens=False) for text in SENTENCES]
        options = {"order": 2, "bos_id": tokenizer.bos_token_id, **config}
        save_ngram(fit_ngram(documents, len(tokenizer), **options), path, tokenizer)
        return path
    tokenizer = tokenizer or (piece_tokenizer() if kind == "bert" else word_tokenizer())
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": None,
    }
    whole = transformers.AutoConfig.for_model(
        kind, **{"vocab_size": len(tokenizer), **ids, **CONFIGS[kind], **config}
    )
    network = (AutoModelForMaskedLM if kind == "bert" else AutoModelForCausalLM).from_config(whole)
    fill(network, seed)
    network.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def fill(network: PreTrainedModel, seed: int) -> None:
    """Set every parameter from the seed; see tiny_model."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, parameter in sorted(network.named_parameters()):
            noise = torch.from_numpy(rng.standard_normal(tuple(parameter.shape)).astype(np.float32))
            if parameter.dim() > 1:
                parameter.copy_(0.25 * noise)
            elif name.endswith(("A_log", ".D")):
                parameter.add_(0.1 * noise)  # these start from fixed numbers
            else:
                parameter.copy_(float(name.endswith("weight")) + 0.1 * noise)
    network.tie_weights()


def random_sequences(
    n: int, vocab_size: int, *, shortest: int = 2, longest: int = 30, seed: int = 1
) -> list[list[int]]:
    """n lists of ids, in no order of length."""
    rng = np.random.default_rng(seed)
    return [
        rng.integers(0, vocab_size, rng.integers(shortest, longest + 1)).tolist() for _ in range(n)
    ]
