"""English and Spanish novels, 1840-1920, as a training corpus: 52 and 56 novels of ELTeC, about 5.4
million words each.

A document is a passage of whole paragraphs of one novel: paragraphs are added until it has
PASSAGE_CHARACTERS characters; every paragraph ends in a line break. Passages, not whole novels, so
that the document separator, after which every test sentence is scored, is seen some 17,000 times
and not 50 times. They are shuffled once, so that whatever a run reads first is a sample of all
novels. Source: ELTeC (see transect/eltec.py).
"""

import random
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from transect.errors import InputError, nearest
from transect.stimuli import novels_heldout
from transect.stimuli.readers import eltec

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

VERSION = 1
BY = ["language"]
# byte-level BPE; 8192 was better by 0.08 bits per byte at 0.5 M tokens for 20 to 50 % more time
VOCABULARY = 4096
SEPARATOR = "<|endoftext|>"  # token 0: begins and ends a document
PASSAGE_CHARACTERS = 1500
ORDER_SEED = 1840  # of the passages, the same for every run
SOURCE = [
    {
        "language": "eng",
        "split": "train",
        "url": "https://github.com/COST-ELTeC/ELTeC-eng/archive/3db3b6738a836f0e1b276b6c9703e42f4297f978.zip",
        "sha256": "7aaeb8646eb99c466121cf0b55afdf5585b4bdcb39efa7c5af6fed4280d7477b",
        "licence": "texts: public domain; markup: CC BY 4.0",
        "mirror": "eltec_novels/dev/eng_train.jsonl.xz",
    },
    {
        "language": "spa",
        "split": "train",
        "url": "https://github.com/COST-ELTeC/ELTeC-spa/archive/83e2a22d5ef66f96e59f47f7ef810358c4236322.zip",
        "sha256": "496de83ba6c2601dc6c6bd3b7323d0e64835dfb386612940120884a84bba31b6",
        "licence": "texts: public domain; markup: CC BY 4.0",
        "mirror": "eltec_novels/dev/spa_train.jsonl.xz",
    },
]


def train_documents(*, language: str) -> list[str]:
    """The passages of the training novels of a language, shuffled."""
    found = [d for novel in novels(language) for d in passages(novel.text)]
    random.Random(ORDER_SEED).shuffle(found)
    return found


def held_out_documents(*, language: str) -> list[str]:
    """The passages of the six held-out novels of a language, in the order of the books."""
    return [d for novel in novels_heldout.novels(language) for d in passages(novel.text)]


def tokenizer(*, language: str) -> "PreTrainedTokenizerFast":
    """Byte-level BPE with VOCABULARY tokens, trained on all training novels of the language; adds
    no special tokens by itself.
    """
    return train_tokenizer((novel.text for novel in novels(language)), VOCABULARY)


def novels(language: str) -> list[eltec.Novel]:
    """The training novels of a language, whole."""
    declared = {str(source["language"]): source for source in SOURCE}
    if language not in declared:
        raise InputError(
            f"corpus novels: language is {language!r}; there are: {', '.join(declared)}.{nearest(language, declared)}"
        )
    return eltec.novels(declared[language])


def passages(text: str) -> Iterator[str]:
    """The text in pieces of whole paragraphs: each of at least PASSAGE_CHARACTERS characters,
    except the last.
    """
    piece: list[str] = []
    size = 0
    for paragraph in text.split("\n"):
        piece.append(paragraph + "\n")
        size += len(piece[-1])
        if size >= PASSAGE_CHARACTERS:
            yield "".join(piece)
            piece, size = [], 0
    if piece:
        yield "".join(piece)


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> "PreTrainedTokenizerFast":
    """Byte-level BPE without a prefix space; SEPARATOR is token 0 and serves as beginning, end and
    padding.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[SEPARATOR],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator((p + "\n" for text in texts for p in text.split("\n")), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=SEPARATOR, eos_token=SEPARATOR, pad_token=SEPARATOR
    )
