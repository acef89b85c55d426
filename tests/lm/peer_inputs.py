"""What the references by other programs were computed on: sentences, pairs, tiny models, all the
same on every machine.

bench/references.py has other programs read these directories; tests/lm/test_peers.py compares the
engine with them.
"""

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors.numpy import load_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from tests import shelf
from tests.shelf import piece_tokenizer, tiny_model
from transect.lm import Model

CAUSAL = ("gpt_neox", "gpt2", "llama")
SEQ2SEQ = ("t5", "bart")  # of tests/architectures.py
END = "<|endoftext|>"
SENTENCES = [
    "The keys to the cabinet are on the table.",
    "The keys to the cabinet is on the table.",
    "The key to the cabinets is on the table.",
    "The key to the cabinets are on the table.",
    "Katherine can't help herself.",
    "Katherine can't help himself.",
    "These patients do respect themselves.",
    "These patients do respect himself.",
    "Paula references Robert.",
    "Paula reference Robert.",
    "Even these trucks have often slowed.",
    "Even these trucks have ever slowed.",
    "Who should Derek hug after shocking Richard?",
    "Who should Derek hug Richard after shocking?",
    "Aaron broke the unicycle.",
    "Aaron appeared the unicycle.",
    "Yes",
    "Yes, no, perhaps: all three.",
    "A dog that the cat which the mouse feared chased barked.",
    "Naïve café owners — über-cautious ones — pay 1,234.50 € a day.",
    "どの犬も走る。",
    "the the the the the the the the",
    "cats",
    "It is the keys to the cabinet that are missing, not the cabinet itself, nor the table on which it stood.",
    "Dogs sleep. Cats run!",
    "Words  with   blanks between them",
    "She said that they knew that he thought that we slept.",
    "He said that they knew that he thought that we slept.",
    "A",
    "There is soon a cat annoying Kristin.",
]
PIECE_SENTENCES = [
    "the dog runs .",
    "the dogs near the cat run .",
    "a big cat behind the red cabinet sleeps",
    "this dog sees the keys of the big cabinets .",
    "cats sleep",
    "the cabinetry of the cabinet",
    "sleeping dogs ! see the key",
    "key",
    "the unicorn's keys",
    "seeing the cats' cabinetry , the dogs run",
]
# for tokenizers of whole words; SOURCE is what an encoder reads
SOURCE = "a big cat behind the red cabinet"
WORD_SENTENCES = [*shelf.SENTENCES, "key", "the the the", "syl1 syl5 syl9 syl5"]
# clean, corrupted, answer, foil: one token per word
PAIRS = [
    (
        "the key of the cabinets near the dog",
        "the keys of the cabinets near the dog",
        "runs",
        "run",
    ),
    ("this dog sees the big red cat .", "this cat sees the big red cat .", "sleeps", "sees"),
    ("a cat behind the dogs", "a dog behind the dogs", "runs", "run"),
    (
        "the dogs of the cat see the red keys near the cabinet",
        "the dog of the cat see the big keys near the cat",
        "a",
        ".",
    ),
]
INDUCTION: dict[str, Any] = {
    "conditions": [{"length": 12}, {"length": 8, "gap": 5}],
    "n": 6,
    "seed": 11,
}


def bpe_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE as GPT-2's and GPT-NeoX's, trained on SENTENCES; one special token, which
    opens and ends texts.
    """
    letters = Tokenizer(models.BPE())
    letters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=360, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    letters.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=letters, bos_token=END, eos_token=END, unk_token=END
    )


def causal_model(folder: Path, kind: str) -> Path:
    """A tiny model with the BPE tokenizer, for texts."""
    return tiny_model(folder / "bpe", kind, tokenizer=bpe_tokenizer(), max_position_embeddings=256)


def endless_model(folder: Path) -> Path:
    """A GPT-NeoX that never ends a text or a line: log p is below -40 for the special token and
    blanks other than " ".

    minicons lets a word end before a token that begins with " " only, the engine also before other
    blanks and the end of the text: here the two agree.
    """
    tokenizer = bpe_tokenizer()
    path = tiny_model(
        folder / "endless", "gpt_neox", tokenizer=tokenizer, max_position_embeddings=256
    )
    never = [
        tokenizer.eos_token_id,
        *tokenizer.encode("\t\n\v\f\r\x1c\x1d\x1e\x1f", add_special_tokens=False),
    ]
    network: Any = AutoModelForCausalLM.from_pretrained(path)
    with torch.no_grad():
        network.gpt_neox.final_layer_norm.weight[0] = 0
        network.gpt_neox.final_layer_norm.bias[0] = 1
        network.get_output_embeddings().weight[never, 0] = -60
    network.save_pretrained(path)
    return path


def masked_model(folder: Path) -> Path:
    """A tiny BERT whose tokenizer adds [CLS] and [SEP] by itself, as BERT's does: other programs
    rely on it.
    """
    tokenizer = piece_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[
            (name, tokenizer.convert_tokens_to_ids(name)) for name in ("[CLS]", "[SEP]")
        ],
    )
    return tiny_model(folder, "bert", tokenizer=tokenizer)


def word_model(folder: Path, kind: str) -> Path:
    """A tiny model with one token per word, for what is patched and for random sequences."""
    return tiny_model(folder / "words", kind, num_hidden_layers=3)


def pair_ids(model: Model) -> list[list[Any]]:
    """PAIRS as [clean ids, corrupted ids, answer id, foil id], texts opened by the BOS."""
    head = [model.bos_id]
    return [
        [
            head + model.encode(clean),
            head + model.encode(corrupted),
            model.encode(answer)[0],
            model.encode(foil)[0],
        ]
        for clean, corrupted, answer, foil in PAIRS
    ]


def ids_of(given: dict[str, Any]) -> Any:
    """The ids in what a program was given: those of its sentences, pairs or conditions."""
    if "sentences" in given:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(given["path"])
        return tokenizer(given["sentences"], add_special_tokens=False)["input_ids"]
    return given.get("pairs") or given["conditions"]


def digest(path: Path, ids: Any) -> str:
    """sha256 of a model's weights, in the order of their names, and of the ids that it was given."""
    found = hashlib.sha256()
    for _, weights in sorted(load_file(path / "model.safetensors").items()):
        found.update(weights.tobytes())
    found.update(repr(ids).encode())
    return found.hexdigest()
