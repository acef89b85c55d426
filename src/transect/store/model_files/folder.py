"""The small files of a model's folder, which come from outside: regular files of a stated size, and
JSON of the shape that readers expect.

Every file that a reader of ours or of transformers may open is looked at before any of them is
opened: a pipe would be waited for, a device read without end. JSON is refused that holds NaN, a
name twice with two values, or more than DEPTH levels: readers differ in what they make of those.
What a configuration's numbers may be is in lm/checkpoint/plausible.py.
"""

import json
import os
import stat
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from transect.errors import LoadError

CONFIG, INDEX, TOKENIZER = "config.json", "model.safetensors.index.json", "tokenizer.json"
MB = 2**20
# name or pattern -> bytes that a file of it may have at most; the largest that are known have a
# fifth of that
SETTINGS = {
    INDEX: 64 * MB,
    **dict.fromkeys(
        ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"), 64 * MB
    ),
    **dict.fromkeys(("*config.json", "chat_template.json"), 16 * MB),
}
TABLES = dict.fromkeys(
    (
        TOKENIZER,
        "tekken.json",
        "vocab.json",
        "vocab.txt",
        "merges.txt",
        "*.model",
        "*.spm",
        "*.tiktoken",
        "*.jinja",
    ),
    128 * MB,
)
DEPTH = 64  # levels of JSON
LONGEST = 255  # bytes of a file's name

NUMBER, FLAG, TEXT, LIST, OBJECT = "a number", "true or false", "a text", "a list", "an object"
KINDS: dict[str, type | tuple[type, ...]] = {
    NUMBER: (int, float),
    FLAG: bool,
    TEXT: str,
    LIST: list,
    OBJECT: dict,
}
TOKEN, IDS = (TEXT, OBJECT, FLAG), "a whole number or a list of them"  # add_bos_token is a flag
# file -> field -> what it may be; null is allowed everywhere
FIELDS: dict[str, dict[str, tuple[str, ...]]] = {
    CONFIG: {
        **{
            "model_type": (TEXT,),
            "architectures": (LIST,),
            "auto_map": (OBJECT,),
            "quantization_config": (OBJECT,),
        },
        **{
            "dtype": (TEXT, OBJECT),
            "torch_dtype": (TEXT, OBJECT),
            "id2label": (OBJECT,),
            "label2id": (OBJECT,),
        },
        **{
            "rope_parameters": (OBJECT,),
            "rope_scaling": (OBJECT,),
            "layer_types": (LIST,),
            "pruned_heads": (OBJECT,),
        },
        **dict.fromkeys(
            ("text_config", "decoder", "encoder", "vision_config", "audio_config"), (OBJECT,)
        ),
        **dict.fromkeys(
            ("tie_word_embeddings", "is_decoder", "is_encoder_decoder", "use_cache"), (FLAG,)
        ),
        **dict.fromkeys(
            ("return_dict", "output_attentions", "output_hidden_states", "torchscript"), (FLAG,)
        ),
    },
    "tokenizer_config.json": {
        **{
            "model_max_length": (NUMBER,),
            "tokenizer_class": (TEXT,),
            "added_tokens_decoder": (OBJECT,),
        },
        **{
            "chat_template": (TEXT, LIST, OBJECT),
            "auto_map": (OBJECT, LIST),
            "do_lower_case": (FLAG,),
        },
        **{
            "padding_side": (TEXT,),
            "truncation_side": (TEXT,),
            "clean_up_tokenization_spaces": (FLAG,),
        },
    },
    INDEX: {"metadata": (OBJECT,), "weight_map": (OBJECT,)},
}


def check_files(path: Path) -> None:
    """Raise LoadError for a file that readers would open and that is none, cannot be read, or is
    larger than its limit.
    """
    try:
        names = sorted(os.listdir(path))
    except OSError as error:
        raise LoadError(f"{path}: this folder cannot be read ({error.strerror}).") from None
    for name in names:
        if (limit := _limit(name)) is not None:
            _check_file(path / name, limit)


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises LoadError, with the file and what is wrong, for anything
    else.
    """
    _check_file(file, _limit(file.name) or min(SETTINGS.values()))
    try:
        found = json.loads(
            file.read_bytes().decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant
        )
    except RecursionError:
        raise LoadError(
            f"{file}: its JSON is nested too deeply; at most {DEPTH} levels are read."
        ) from None
    except (OSError, ValueError) as error:
        raise LoadError(f"{file}: this is no readable JSON ({error}).") from None
    if not isinstance(found, dict):
        raise LoadError(f"{file}: this must be a JSON object, and is {_kind(found)}.")
    _check_depth(file, found)
    return found


def settings(path: Path, name: str) -> dict[str, Any]:
    """The object in a file of a folder, its fields of the right kinds; empty where there is no such
    file.
    """
    if not os.path.lexists(path / name):
        return {}
    found = read_object(path / name)
    _check_fields(path / name, found)
    return found


def configuration(path: Path) -> dict[str, Any]:
    """What config.json of a directory says; raises LoadError where there is none, or not what one
    must be.
    """
    if not os.path.lexists(path / CONFIG):
        raise LoadError(f"{path}: there is no config.json, so this is no model's folder.")
    return settings(path, CONFIG)


def check_settings(path: Path) -> None:
    """Raise LoadError for a file of settings beside the configuration that is no object, or has a
    field of a wrong kind.
    """
    for name in sorted(os.listdir(path)):
        if name != CONFIG and any(fnmatch(name, pattern) for pattern in SETTINGS):
            settings(path, name)


def places(auto_map: Mapping[str, Any]) -> list[str]:
    """The classes of a folder's own code, as file.Class; of tokenizers a list names the slow and
    the fast one.
    """
    named = (place if isinstance(place, list) else [place] for place in auto_map.values())
    return [place for several in named for place in several if place]


def weight_files(path: Path) -> list[Path]:
    """model.safetensors, or the files that its index names, in name order. Raises LoadError for
    what is not there.
    """
    if os.path.lexists(path / "model.safetensors"):
        _check_file(path / "model.safetensors")
        return [path / "model.safetensors"]
    if os.path.lexists(path / INDEX):
        named = shards(path)
        missing = [name for name in named if not (path / name).exists()]
        if missing:
            raise LoadError(
                f"{path}: {len(missing)} of {len(named)} weight files that the index names are not there, e.g. {missing[0]}."
            )
        for name in named:
            _check_file(path / name)
        if "metadata" not in read_object(path / INDEX):  # transformers reads it
            raise LoadError(
                f"{path / INDEX}: this is no index of weights: it has no object 'metadata'."
            )
        return [path / name for name in named]
    stray = sorted(file.name for file in path.glob("*.safetensors"))
    if stray:
        raise LoadError(
            f"{path}: neither model.safetensors nor its index, so nothing says what {stray[0]} is a part of."
        )
    raise LoadError(
        f"{path}: no *.safetensors file; weights in other formats are not loaded, they can run code."
    )


def shards(path: Path) -> list[str]:
    """The names of the files that the index of a folder names, in order. Raises LoadError where it
    is no such index.
    """
    index = settings(path, INDEX)
    if not isinstance(index.get("weight_map"), dict):
        raise LoadError(
            f"{path / INDEX}: this is no index of weights: it has no object 'weight_map'."
        )
    names = list(index["weight_map"].values())
    wrong = [name for name in names if not _is_plain(name)]
    if wrong or not names:
        told = f"{wrong[0]!r:.60} is no name of a file beside it" if wrong else "it names no file"
        raise LoadError(
            f"{path / INDEX}: this is no index of weights: {told}, so that file is not there."
        )
    return sorted(set(names))


def _is_plain(name: object) -> bool:
    """Whether a value names a file of the same folder."""
    if (
        not isinstance(name, str)
        or name in ("", ".", "..")
        or "/" in name
        or "\0" in name
        or "\\" in name
    ):
        return False
    return len(os.fsencode(name.encode("utf-8", "replace"))) <= LONGEST


def _limit(name: str) -> int | None:
    """Bytes that a file of this name may have; None for one that no reader opens."""
    return next(
        (limit for pattern, limit in (SETTINGS | TABLES).items() if fnmatch(name, pattern)), None
    )


def _check_file(file: Path, limit: int | None = None) -> None:
    try:
        found = file.stat()
    except FileNotFoundError:
        raise LoadError(f"{file}: this is a link to a file that is not there.") from None
    except OSError as error:
        raise LoadError(f"{file}: this cannot be read ({error.strerror}).") from None
    if not stat.S_ISREG(found.st_mode):
        raise LoadError(
            f"{file}: this is no file but {'a folder' if stat.S_ISDIR(found.st_mode) else 'a pipe, device or socket'}."
        )
    if limit is not None and found.st_size > limit:
        raise LoadError(
            f"{file}: this has {found.st_size:,} bytes; a file of this name may have {limit:,} at most."
        )
    if not os.access(file, os.R_OK):
        raise LoadError(f"{file}: this may not be read (its permissions).")


def _check_fields(file: Path, found: Mapping[str, Any]) -> None:
    for name, value in found.items():
        allowed = FIELDS.get(file.name, {}).get(name, ())
        if name.endswith("_token_id") or file.name == "added_tokens.json":
            right, told = _are_ids(value), IDS
        else:
            allowed = allowed or (TOKEN if name.endswith("_token") and "token" in file.name else ())
            right, told = (
                not allowed or any(_is(value, kind) for kind in allowed),
                " or ".join(allowed),
            )
        if value is not None and not right:
            raise LoadError(
                f"{file}: {name} is {_kind(value)} ({str(value)[:40]!r}); it must be {told}."
            )
    if file.name == CONFIG:
        _check_texts(file, found)


def _check_texts(file: Path, config: Mapping[str, Any]) -> None:
    """Of the fields that hold texts, those that hold something else."""
    for name in ("architectures", "layer_types"):
        wrong = [value for value in config.get(name) or () if not isinstance(value, str)]
        if wrong:
            raise LoadError(
                f"{file}: {name} holds {_kind(wrong[0])} ({str(wrong[0])[:40]!r}); it must hold texts."
            )
    for name, place in (config.get("auto_map") or {}).items():
        wrong = [
            one
            for one in (place if isinstance(place, list) else [place])
            if not isinstance(one, str | None)
        ]
        if wrong:
            raise LoadError(f"{file}: auto_map: {name} is {_kind(place)}; it must be a text.")


def _is(value: object, kind: str) -> bool:
    return isinstance(value, KINDS[kind]) and (kind == FLAG or not isinstance(value, bool))


def _are_ids(value: object) -> bool:
    values: Iterable[object] = value if isinstance(value, list) else [value]
    return all(
        isinstance(one, int) and not isinstance(one, bool) and abs(one) < 2**31 for one in values
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found and found[name] != value:
            raise ValueError(f"the name {name[:40]!r} stands twice, with different values")
        found[name] = value
    return found


def _constant(text: str) -> float:
    if text == "NaN":
        raise ValueError("it holds NaN, which is no number")
    return float(text)


def _check_depth(file: Path, found: Any) -> None:
    level = [found]
    for _ in range(DEPTH):
        inner = (value.values() if isinstance(value, dict) else value for value in level)
        level = [value for values in inner for value in values if isinstance(value, dict | list)]
        if not level:
            return
    raise LoadError(f"{file}: its JSON is nested too deeply; at most {DEPTH} levels are read.")


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return next(
        (kind for kind in (FLAG, NUMBER, TEXT, LIST, OBJECT) if _is(value, kind)),
        type(value).__name__,
    )
