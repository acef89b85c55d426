"""The tokenizer of a directory, always a fast one: only those give the offsets that scoring needs.

tokenizer.json is read as it stands. Where there is none, transformers' own conversion makes one from a SentencePiece model or from
vocabulary files (vocab.json and merges.txt, vocab.txt), for the class that tokenizer_config.json or config.json names. What is made of
a SentencePiece model must cut a fixed text as sentencepiece itself does: with the wrong class it does not, and nothing says so.
"""

import hashlib
import importlib.util
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from transect.errors import LoadError

VERSION = 1  # part of the key of every cell that rests on this file: raise it when values change

CONVERTERS = ("sentencepiece", "google.protobuf")  # what transformers reads a SentencePiece model with
PROBE = (
    "the keys, to the cabinet are here: near the river, where no one sees them."  # lower case: some classes make it so
)

# Cases, digits, accents, whitespace, scripts. Another text would change every canary.
CANARY_TEXT = 'The keys to the cabinet aren\'t "here":\n\t1,234 naïve syl7 words; Ωmega 語 words.  Ça va?'


def canary(tokenizer: PreTrainedTokenizerFast) -> str:
    """sha256 of the ids of a fixed text, without special tokens: another one where a tokenizer, or a version of its library, cuts otherwise."""
    ids = tokenizer(CANARY_TEXT, add_special_tokens=False)["input_ids"]
    return hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()


def read_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    """Raises LoadError where there is none, it cannot be read, or a library for its conversion is not installed."""
    try:
        if (path / "tokenizer.json").is_file():
            # The serialised pipeline itself: the class that AutoTokenizer picks by model_type may rebuild another one.
            return PreTrainedTokenizerFast.from_pretrained(path, local_files_only=True)
        return _converted(path)
    except LoadError:
        raise
    except Exception as error:  # the tokenizers library raises bare Exception
        told = " ".join(str(error).split())[:300]
        raise LoadError(f"{path}: the tokenizer cannot be read ({type(error).__name__}: {told}).") from error


def _converted(path: Path) -> PreTrainedTokenizerFast:
    pieces = sorted(path.glob("*.model"))
    words = [path / name for name in ("vocab.json", "vocab.txt") if (path / name).is_file()]
    if not pieces and not words:
        raise LoadError(
            f"{path}: no tokenizer.json, and no SentencePiece model or vocabulary from which one could be made."
        )
    if pieces and not words and not all(map(_installed, CONVERTERS)):
        raise LoadError(
            f"{path}: no tokenizer.json, only {pieces[0].name}; to convert it, install sentencepiece and protobuf "
            "(`pip install sentencepiece protobuf`), or save the fast tokenizer (tokenizer.json) beside it."
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except ValueError as error:
        if "backend tokenizer" not in str(error):
            raise
        raise LoadError(f"{path}: no tokenizer.json, and no class is named that could be made from {(pieces or words)[0].name}.") from None  # fmt: skip
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise LoadError(
            f"{path}: transformers has no fast tokenizer for {type(tokenizer).__name__}; save a tokenizer.json beside it."
        )
    if not tokenizer(PROBE, add_special_tokens=False)["input_ids"] or len(tokenizer) < 2:
        # from files that it does not expect, transformers makes an empty tokenizer and says nothing
        raise LoadError(f"{path}: the tokenizer made of {(pieces or words)[0].name} gives no tokens; save a tokenizer.json beside it.")  # fmt: skip
    if pieces:
        _compare(path, pieces[0], tokenizer)
    return tokenizer


def _compare(path: Path, model: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """Raise LoadError where the converted tokenizer does not give sentencepiece's own pieces."""
    from sentencepiece import SentencePieceProcessor

    original = SentencePieceProcessor(model_file=str(model))
    theirs = [None if i == original.unk_id() else original.id_to_piece(i) for i in original.encode(PROBE)]
    ids = tokenizer(PROBE, add_special_tokens=False)["input_ids"]
    ours = [None if i == tokenizer.unk_token_id else tokenizer.convert_ids_to_tokens(i) for i in ids]
    if ours != theirs:
        at = next(
            (t for t, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs))
        )
        raise LoadError(
            f"{path}: as a {type(tokenizer).__name__}, {model.name} cuts a text into {ours[at : at + 3]} where sentencepiece gives "
            f"{theirs[at : at + 3]}; name the right tokenizer_class in tokenizer_config.json, or save a tokenizer.json beside it."
        )


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of the package that it lies in
        return False
