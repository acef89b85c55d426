"""Reading YAML that people write: fast, checked against a JSON Schema, with the line of a fault."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import yaml

from transect.errors import InputError, nearest
from transect.store.files import yaml_bounds
from transect.store.hub import addresses

FAST: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
CORE = "tag:yaml.org,2002:"
DATE = f"{CORE}timestamp"
PLAIN = {
    None,
    *(CORE + name for name in ("null", "bool", "int", "float", "str", "seq", "map")),
}  # what JSON has
DIGITS = 100  # characters of a number
SHOWN = 200  # characters of a text that an error repeats


class LOADER(FAST):  # type: ignore[misc, valid-type]
    """Safe YAML of JSON's types, a date being a text, in which a key stands once in a mapping (else
    the last would silently win).
    """

    yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in known if tag != DATE]
        for first, known in FAST.yaml_implicit_resolvers.items()
    }

    yaml_constructors = {tag: make for tag, make in FAST.yaml_constructors.items() if tag in PLAIN}

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        number = isinstance(node, yaml.ScalarNode) and node.tag in (f"{CORE}int", f"{CORE}float")
        if number and len(node.value) > DIGITS:
            problem = f"a number has {len(node.value):,} characters; at most {DIGITS} are read"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        try:
            return super().construct_object(node, deep)
        except (ValueError, ArithmeticError, LookupError):
            problem = f"{str(node.value)[:40]!r} is no {node.tag.removeprefix(CORE)}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None

    def flatten_mapping(self, node: Any) -> None:
        # a mapping that is merged comes again, with what was merged into it
        if not hasattr(node, "was_read"):
            node.was_read = True
            seen = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in seen:
                    problem = f"the key {key.value!r} stands twice in one mapping"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        super().flatten_mapping(node)


def read(path: Path) -> Any:
    """The content of a YAML file; InputError with the line where it is malformed or goes beyond a
    limit (yaml_bounds.py), or absent.
    """
    try:
        text = text_of(path)
        _check_addresses(text, path)
        return _content(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise InputError(f"{place}: this is not valid YAML ({_problem(error)}).") from None


def text_of(path: Path) -> str:
    """The text of a YAML file. Raises InputError where it is absent, no file, too large or not
    UTF-8.
    """
    if not path.exists():
        raise InputError(f"{path}: there is no such file.")
    if not path.is_file():  # a pipe would be waited for
        raise InputError(f"{path}: this is no file.")
    if (size := path.stat().st_size) > yaml_bounds.LARGEST:
        raise InputError(
            f"{path}: it has {size:,} bytes; of YAML at most {yaml_bounds.LARGEST:,} are read."
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(f"{path}, line {line}: this is not UTF-8 text.") from None


def _check_addresses(text: str, path: Path) -> None:
    """Refuse a secret in an address, also in a comment: the file is shared, archived and told in
    errors.
    """
    if secret := addresses.secret_in(text):
        position, sentence = secret
        raise InputError(
            f"{path}, line {text[:position].count(chr(10)) + 1}: an address {sentence}. An interface's key is read from the environment variable "
            "TRANSECT_API_KEY, the hub's token from HF_TOKEN."
        )


def parse(text: str, place: str) -> Any:
    """A value that was written as YAML, on the command line for example."""
    try:
        return _content(text)
    except (yaml.YAMLError, UnicodeEncodeError) as error:  # a lone surrogate is no text
        raise InputError(
            f"{place}: {_shown(text)} is not valid YAML ({_problem(error)})."
        ) from None


def _content(text: str) -> Any:
    yaml_bounds.check(text, LOADER)
    return yaml.load(text, Loader=LOADER)


def _problem(error: Exception) -> str:
    return " ".join(str(getattr(error, "problem", None) or error).split())


def inline(value: Any) -> str:
    """A value on one line, as it is written in a study or on the command line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
    return text.split("\n")[0]


def line(path: Path, keys: Sequence[str | int]) -> int:
    """The line (from 1) of the value under a path of keys; of its nearest existing ancestor where
    it is absent.
    """
    node = _nodes(path, path.stat().st_mtime_ns)
    if node is None:  # an empty file
        return 1
    for key in keys:
        inner = _inner(node, key)
        if inner is None:
            break
        node = inner
    return int(node.start_mark.line) + 1


@lru_cache(maxsize=4)
def _nodes(path: Path, modified: int) -> Any:
    """The nodes of a file, which know their lines; kept, since one fault is often looked for in
    several places of one file.
    """
    return yaml.compose(text_of(path), Loader=LOADER)


def _inner(node: Any, key: str | int) -> Any:
    """The value under a key of a mapping or a place in a sequence; None where there is none."""
    if isinstance(node, yaml.MappingNode):
        return next((value for name, value in node.value if name.value == str(key)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key]
    return None


class Place:
    """``FILE, line N`` of the value under a path of keys. The file is read for it only when the
    place is written, which is in an error.
    """

    def __init__(self, path: Path, *keys: str | int):
        self.path, self.keys = path, keys

    def __str__(self) -> str:
        return f"{self.path}, line {line(self.path, self.keys)}"


class Validator:
    """A JSON Schema 2020-12, for data that was read from YAML.

    Data are first asked to be valid as a whole, by a validator that is fast (jsonschema-rs); only
    where they are not, the fault is looked for, by one that knows where it stands (jsonschema).
    """

    def __init__(self, schema: Mapping[str, Any]):
        self._schema = schema
        self._quick = jsonschema_rs.Draft202012Validator(dict(schema))

    def error(self, data: Any) -> Any:
        """The first fault of the data, as jsonschema describes it; None where they are valid."""
        try:
            if self._quick.is_valid(data):
                return None
        except ValueError:  # it takes no keys but texts
            pass
        from jsonschema.exceptions import best_match  # here: half of the time of a start

        return best_match(_explaining()(self._schema).iter_errors(data))


@cache
def _explaining() -> Any:
    """The class of jsonschema's validator, but that `$` is the end of the text, as JSON Schema has
    it (ECMA 262); to Python's `re` it is the place before a last newline, too.
    """
    import jsonschema

    def pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
        if isinstance(instance, str) and not re.search(END.sub(r"\\Z", pattern), instance):
            yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")

    return jsonschema.validators.extend(jsonschema.Draft202012Validator, {"pattern": pattern})


END = re.compile(r"(?<!\\)\$")


def check(data: Any, validator: Validator, path: Path) -> None:
    """Raise one InputError for the first fault: file, line, field, what was given, what is allowed."""
    error = validator.error(data)
    if error is None:
        return
    keys = list(error.absolute_path)
    field = ".".join(str(k) for k in keys) or "the file"
    raise InputError(f"{Place(path, *keys)}: {field} {fault(error)}")


def fault(error: Any) -> str:
    """What a fault against a JSON Schema is, as the end of a sentence about the field."""
    value, allowed = error.instance, error.validator_value
    describe = FAULTS.get(error.validator)
    sentence = describe(value, allowed, error.schema) if describe else ""
    return sentence or f"is not allowed: {_cut(error.message)}."


def _no_choice(value: Any, allowed: Any, schema: Mapping[str, Any]) -> str:
    called = schema.get("called", {}).get(str(value).lower().replace("_", "-"))
    guess = f" Did you mean {called!r}?" if called else nearest(value, allowed)
    return f"is {_shown(value)}; allowed are {', '.join(map(str, allowed))}.{guess}"


def _other_type(value: Any, allowed: Any, schema: Mapping[str, Any]) -> str:
    types = allowed if isinstance(allowed, str) else " or ".join(allowed)
    return f"is {_shown(value)}; it must be of type {types}."


def _incomplete(value: Any, allowed: Any, schema: Mapping[str, Any]) -> str:
    missing = [name for name in allowed if name not in value]
    return f"lacks {', '.join(missing)}; required are {', '.join(allowed)}."


def _unknown_field(value: Any, allowed: Any, schema: Mapping[str, Any]) -> str:
    known = schema.get("properties", {})
    extra = next(name for name in value if name not in known)
    return f"holds the unknown field {_shown(extra)}; allowed are {', '.join(known)}.{nearest(extra, known)}"


def _other_form(value: Any, allowed: Any, schema: Mapping[str, Any]) -> str:
    return f"is {_shown(value)}; it must be {schema.get('description', f'of the form {allowed}')}."


def _no_single_form(value: Any, allowed: Any, schema: Mapping[str, Any]) -> str:
    return f"is wrong: {schema['description']}." if "description" in schema else ""


def _none_of(value: Any, allowed: Any, schema: Mapping[str, Any]) -> str:
    forms = schema.get("description", " or ".join(map(str, allowed)))
    return f"is {_shown(value)}; allowed is {forms}."


# keyword of JSON Schema -> the sentence about a value, what the keyword allows, and the schema
FAULTS: dict[str, Callable[[Any, Any, Mapping[str, Any]], str]] = {
    "enum": _no_choice,
    "type": _other_type,
    "required": _incomplete,
    "additionalProperties": _unknown_field,
    "pattern": _other_form,
    "oneOf": _no_single_form,
    "anyOf": _none_of,
}


def _shown(value: Any) -> str:
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
