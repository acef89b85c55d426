"""The tokenizer of a directory, always a fast one: only those give the offsets that scoring needs.

tokenizer.json is read as it stands. Where there is none, transformers' own conversion makes one
from a SentencePiece model or from vocabulary files (vocab.json and merges.txt, vocab.txt), for the
class that tokenizer_config.json or config.json names. What is made of a SentencePiece model must
cut a fixed text as sentencepiece itself does: with the wrong class it does not, and nothing says
so. A tokenizer of bytes (ByT5, Perceiver) has no such files: it is made from its class, and must
give that class's ids of a fixed text. A vocab.txt whose words have capital letters is cased, where
no tokenizer_config.json says otherwise: transformers would lower-case it.
"""

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from transect.errors import LoadError
from transect.lm.text.byte_letters import BYTES as LETTERS
from transect.lm.text.control import MARKUP
from transect.lm.text.cutting import ids_of
from transect.lm.text.opening import around
from transect.lm.text.pipeline import settle
from transect.store.model_files.folder import TOKENIZER, read_object, settings

ENGINE_PART = "tokenizer"  # its name in the keys of cells: it stays when the file moves
VERSION = 2  # raise it when values change

CONVERTERS = (
    "sentencepiece",
    "google.protobuf",
)  # what transformers reads a SentencePiece model with
# lower case: some classes make it so
PROBE = "the keys, to the cabinet are here: near the river, where no one sees them."

BYTES = ("ByT5Tokenizer", "PerceiverTokenizer")  # classes whose tokens are bytes, without a file
ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")

# Cases, digits, accents, whitespace, scripts. Another text would change every canary.
CANARY_TEXT = (
    'The keys to the cabinet aren\'t "here":\n\t1,234 naïve syl7 words; Ωmega 語 words.  Ça va?'
)


def canary(tokenizer: PreTrainedTokenizerFast) -> str:
    """sha256 of the ids of a fixed text, without special tokens: another one where a tokenizer, or
    a version of its library, cuts otherwise.

    Of a tokenizer that gives up on the text it is that of its words, one by one; a word that it
    gives up on has no ids.
    """
    ids = ids_of(tokenizer, CANARY_TEXT)
    if ids is None:
        ids = [i for word in CANARY_TEXT.split() for i in ids_of(tokenizer, word) or []]
    return hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()


def read_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    """Raises LoadError where there is none, it cannot be read, or a library for its conversion is
    not installed.
    """
    try:
        if (path / TOKENIZER).is_file():
            # The serialised pipeline itself: the class that AutoTokenizer picks by model_type may
            # rebuild another one.
            found: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(
                path, local_files_only=True
            )
        else:
            found = _converted(path)
        settle(path, found)
        return found
    except LoadError:
        raise
    except Exception as error:  # the tokenizers library raises bare Exception
        raise LoadError(
            _unread(path, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        ) from error


def _unread(path: Path, told: str) -> str:
    """The sentence for a tokenizer that cannot be read, with the file to blame; raises LoadError
    where that is no JSON.
    """
    if not (path / TOKENIZER).is_file():
        return f"{path}: the tokenizer cannot be read ({told})."
    read_object(path / TOKENIZER)
    try:
        Tokenizer.from_file(str(path / TOKENIZER))
    except Exception:
        return f"{path / TOKENIZER}: this is no tokenizer of the tokenizers library ({told})."
    return f"{path}: the tokenizer cannot be read with what tokenizer_config.json and special_tokens_map.json say of it ({told})."


def _converted(path: Path) -> PreTrainedTokenizerFast:
    pieces = sorted(path.glob("*.model"))
    words = [path / name for name in ("vocab.json", "vocab.txt") if (path / name).is_file()]
    named = (
        settings(path, name).get("tokenizer_class")
        for name in ("tokenizer_config.json", "config.json")
    )
    if not pieces and not words and any(name in BYTES for name in named):
        return _of_bytes(path)
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
        tokenizer = AutoTokenizer.from_pretrained(
            path, local_files_only=True, trust_remote_code=False, **_casing(path)
        )
    except ValueError as error:
        if "backend tokenizer" not in str(error):
            raise
        raise LoadError(
            f"{path}: no tokenizer.json, and no class is named that could be made from {(pieces or words)[0].name}."
        ) from None
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise LoadError(
            f"{path}: transformers has no fast tokenizer for {type(tokenizer).__name__}; save a tokenizer.json beside it."
        )
    if not tokenizer(PROBE, add_special_tokens=False)["input_ids"] or len(tokenizer) < 2:
        # from files that it does not expect, transformers makes an empty tokenizer and says nothing
        raise LoadError(
            f"{path}: the tokenizer made of {(pieces or words)[0].name} gives no tokens; save a tokenizer.json beside it."
        )
    if pieces:
        _compare(path, pieces[0], tokenizer)
    return tokenizer


def casing(path: Path) -> str:
    """How the casing of a vocab.txt was found, where no file says it; else empty."""
    file = path / "vocab.txt"
    if (
        not file.is_file()
        or (path / "tokenizer.json").is_file()
        or "do_lower_case" in settings(path, "tokenizer_config.json")
    ):
        return ""
    entries = (line.rstrip("\n") for line in file.open(encoding="utf-8"))
    capital = next((e for e in entries if e != e.lower() and not MARKUP.fullmatch(e)), "")
    if capital:
        return (
            f"no file says whether its text is lower-cased; it is not, as vocab.txt has {capital!r}"
        )
    return "no file says whether its text is lower-cased; it is, as vocab.txt has no capital letter"


def _casing(path: Path) -> dict[str, bool]:
    """What the class is told of it."""
    found = casing(path)
    return {"do_lower_case": "it is not" not in found} if found else {}


def _of_bytes(path: Path) -> PreTrainedTokenizerFast:
    """The fast tokenizer that gives the ids of a class which reads bytes; raises LoadError where it
    does not.
    """
    own: Any = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    alphabet = {letter: own.convert_tokens_to_ids(chr(byte)) for letter, byte in LETTERS.items()}
    special: dict[str, int] = {token.content: i for i, token in own.added_tokens_decoder.items()}
    pipeline = Tokenizer(models.BPE(alphabet | special, merges=[]))
    pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    pipeline.decoder = decoders.ByteLevel()
    before, after = around(own)
    names = {i: own.convert_ids_to_tokens(i) for i in (*before, *after)}
    template = " ".join([*(names[i] for i in before), "$A", *(names[i] for i in after)])
    pipeline.post_processor = processors.TemplateProcessing(
        template, None, [(name, i) for i, name in names.items()]
    )
    roles = {f"{role}_token": token for role in ROLES if (token := getattr(own, f"{role}_token"))}
    made = PreTrainedTokenizerFast(tokenizer_object=pipeline, **roles)
    others: list[str] = sorted(
        special.keys() - roles.values(), key=lambda token: special[str(token)]
    )
    made.add_special_tokens({"additional_special_tokens": [*others]})
    if made(CANARY_TEXT)["input_ids"] != own(CANARY_TEXT)["input_ids"] or len(made) != len(own):
        raise LoadError(
            f"{path}: {type(own).__name__} gives other ids than its bytes; save a tokenizer.json beside it."
        )
    return made


def _compare(path: Path, model: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """Raise LoadError where the converted tokenizer does not give sentencepiece's own pieces."""
    from sentencepiece import SentencePieceProcessor

    original = SentencePieceProcessor(model_file=str(model))
    theirs = [
        None if i == original.unk_id() else original.id_to_piece(i) for i in original.encode(PROBE)
    ]
    ids = tokenizer(PROBE, add_special_tokens=False)["input_ids"]
    ours = [
        None if i == tokenizer.unk_token_id else tokenizer.convert_ids_to_tokens(i) for i in ids
    ]
    if ours != theirs:
        at = next(
            (t for t, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b),
            min(len(ours), len(theirs)),
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
