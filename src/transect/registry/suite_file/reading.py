"""Reading a suite file: its entries expanded to runs, joined with their tables, every name checked."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from transect.errors import InputError, nearest
from transect.registry import factors, languages
from transect.registry.run import Rule, Run, Suite
from transect.registry.suite_file import bounds, templates
from transect.registry.suite_file import table as suite_table
from transect.store import names
from transect.store.files import yaml_file
from transect.store.files.yaml_file import Place
from transect.store.hub import addresses

REQUIRED = ("id", "model_type", "objective", "mixer", "architecture", "checkpoints")
ENTRY = {"each", "table"}  # of an entry, besides fields
GROUPS = (
    "all",
    "identity",
    "size",
    "architecture",
    "training",
    "tokenizer",
    "seed",
    "language",
    "release",
)
TEMPLATED = (str, dict)  # types of values that may hold templates
OF_STEP = {"step", "tokens", "billions"}
WITHOUT_WEIGHTS = ("api", "closed", "elsewhere")  # access of runs that nothing can be loaded of


@lru_cache(maxsize=1)
def _validator() -> yaml_file.Validator:
    return yaml_file.Validator(factors.schema())


def read(path: Path) -> Suite:
    """The suite of one file. Raises InputError that names file, line, field and the allowed values."""
    data = yaml_file.read(path)
    yaml_file.check(data, _validator(), path)
    if data["suite"] != path.stem:
        raise InputError(
            f"{path}: field suite is {data['suite']!r}; it must be the file's name, {path.stem!r}."
        )
    names.check(data["suite"], f"{path}: the suite")
    own = data.get("fields", {})
    _check_values_of_each(data, path)
    _check_fields(data, set(factors.shared_fields()) | set(own), path)
    for name in own:
        if name in factors.shared_fields():
            raise InputError(
                f"{Place(path, 'fields', name)}: {name!r} is a field of model_registry/schema.yaml already."
            )
    _check_cited(data, path)
    rules = {name: _rule(spec, path, name) for name, spec in data["checkpoints"].items()}
    every = (
        _run(facts, data, rules, path, index)
        for index, entry in enumerate(data["runs"])
        for facts in expand(entry, data, path, index)
    )
    try:
        runs = tuple(bounds.counted(every, data.get("tables", [])))
    except bounds.TooMany as error:
        raise InputError(f"{path}: the suite {error}.") from None
    return Suite(
        data["suite"],
        data["title"],
        data["description"],
        path,
        runs,
        data["sources"],
        tuple(data.get("notes", [])),
        own,
        tuple(data.get("contrasts", [])),
    )


def _check_values_of_each(data: dict[str, Any], path: Path) -> None:
    """The values of `each` are allowed ones; templates are filled in later."""
    for i, entry in enumerate(data["runs"]):
        for name, values in entry.get("each", {}).items():
            for j, value in enumerate(values):
                if "{" in str(value):
                    continue
                if fault := factors.fault(name, value):
                    raise InputError(f"{Place(path, 'runs', i, 'each', name, j)}: {name} {fault}")


def _check_fields(data: dict[str, Any], known: set[str], path: Path) -> None:
    """Every field is one that schema.yaml or the suite's own `fields` declare: a misspelt one would
    silently be unknown.
    """
    for keys, fields in _named_fields(data):
        for name in fields:
            if name not in known:
                raise InputError(
                    f"{Place(path, *keys, name)}: unknown field {name!r}; the fields are those of "
                    f"model_registry/schema.yaml and those that the suite declares under `fields`.{nearest(name, known)}"
                )


def _named_fields(data: dict[str, Any]) -> Iterator[tuple[list[str | int], Iterable[str]]]:
    """Keys to every part of a file that names fields, and the names."""
    yield ["defaults"], data.get("defaults", {})
    for i, table in enumerate(data.get("tables", [])):
        for j, row in enumerate(table["rows"]):
            yield ["tables", i, "rows", j], row
    for i, entry in enumerate(data["runs"]):
        yield ["runs", i], [name for name in entry if name not in ENTRY]
        yield ["runs", i, "each"], entry.get("each", {})
    for i, table in enumerate(data.get("tables", [])):
        yield ["tables", i, "by"], table["by"]


def _check_cited(data: dict[str, Any], path: Path) -> None:
    """The sources of rules and contrasts are sources of the file."""
    rules = [("checkpoints", name, spec) for name, spec in data["checkpoints"].items()]
    contrasts = [("contrasts", i, spec) for i, spec in enumerate(data.get("contrasts", []))]
    sources = data["sources"]
    for part, key, spec in [*rules, *contrasts]:
        for source in spec.get("source", []):
            if source not in sources:
                raise InputError(
                    f"{Place(path, part, key, 'source')}: there is no source {source!r}; "
                    f"the file has {', '.join(sources)}.{nearest(source, sources)}"
                )


def _rule(spec: dict[str, Any], path: Path, name: str) -> Rule:
    steps = _steps(spec, path, name)
    tokens = tuple(spec.get("tokens", ()))
    if tokens and len(tokens) != len(steps):
        raise InputError(
            f"{Place(path, 'checkpoints', name, 'tokens')}: the rule {name!r} has "
            f"{len(tokens)} tokens for {len(steps)} steps."
        )
    own_names = tuple(spec.get("names", {}).items())
    for step, _ in own_names:
        if step not in steps:
            raise InputError(
                f"{Place(path, 'checkpoints', name, 'names')}: the rule {name!r} names step "
                f"{step}, which is none of its steps."
            )
    texts = [("revision", spec["revision"]), ("hub_id", spec.get("hub_id", ""))]
    for key, text in [*texts, *(("names", revision) for _, revision in own_names)]:
        _check_template(text, None not in steps, Place(path, "checkpoints", name, key))
    return Rule(
        spec["revision"],
        tuple(steps),
        spec.get("tokens_per_step"),
        spec.get("billions", "ceil"),
        tokens,
        spec.get("tokens_before", 0),
        own_names,
        spec.get("hub_id", ""),
    )


def _steps(spec: dict[str, Any], path: Path, name: str) -> list[int | None]:
    """The steps of a rule, rising; None for the last weights."""
    place = Place(path, "checkpoints", name, "steps")
    try:
        steps = bounds.steps(spec["steps"])
    except bounds.TooMany as error:
        raise InputError(f"{place}: the rule {name!r} {error}.") from None
    numbers = [step for step in steps if step is not None]
    if numbers != sorted(set(numbers)) or min(numbers, default=0) < 0:
        raise InputError(
            f"{place}: the steps of the rule {name!r} do not "
            "rise from 0 or more, each of them once."
        )
    return steps


def _check_template(text: str, numbered: bool, place: Place) -> None:
    """Fields in braces, and nothing else in braces; numbered: whether every step has a number, as a
    width needs it.
    """
    try:
        facts = dict.fromkeys(templates.fields(text), 1) | {"step": 1 if numbered else None}
        templates.filled(text, facts)
    except ValueError as error:
        raise InputError(
            f"{place}: {text[:100]!r} is no template ({error}); braces hold the name of a field or one of "
            f"{', '.join(sorted(OF_STEP))}."
        ) from None


def expand(
    entry: dict[str, Any], data: dict[str, Any], path: Path, index: int
) -> Iterable[dict[str, Any]]:
    """The runs of one entry: rows of its CSV file x the product of its `each`, templates filled in.

    An entry's own fact wins over that of a joined table, a table's over the defaults'.
    """
    each = entry.get("each", {})
    shared = {name: value for name, value in entry.items() if name not in ENTRY}
    for row in _rows(entry, data, path, index):
        for combination in itertools.product(*each.values()):
            own = {**shared, **row, **dict(zip(each, combination, strict=True))}
            yield _filled({**_general(own, data), **own}, entry, path, index)


def _general(own: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """The defaults of a suite and the rows of its tables that are joined to a run."""
    general = data.get("defaults", {})
    for table in data.get("tables", []):
        facts = {**general, **own}
        for row in table["rows"]:
            if all(facts.get(name) == row.get(name) for name in table["by"]):
                general = {**general, **row}
    return general


def _filled(facts: dict[str, Any], entry: dict[str, Any], path: Path, index: int) -> dict[str, Any]:
    try:
        return {
            name: _template(value, facts) if isinstance(value, TEMPLATED) else value
            for name, value in facts.items()
        }
    except KeyError as error:
        raise InputError(
            f"{Place(path, 'runs', index)}: a template of run {entry['id']!r} names the field {error}, which it lacks."
            f"{nearest(error.args[0], facts)}"
        ) from None
    except ValueError as error:
        raise InputError(
            f"{Place(path, 'runs', index)}: a text of run {entry['id']!r} is no template ({error}); "
            "braces hold the name of a field, and {{ and }} stand for braces."
        ) from None


def _template(value: Any, facts: dict[str, Any]) -> Any:
    if isinstance(value, str) and "{" in value:
        return templates.filled(value, facts)
    if isinstance(value, dict) and any(isinstance(v, str) and "{" in v for v in value.values()):
        return {k: _template(v, facts) for k, v in value.items()}
    return value


def _rows(
    entry: dict[str, Any], data: dict[str, Any], path: Path, index: int
) -> list[dict[str, Any]]:
    """The rows of an entry's CSV file; one empty row without one."""
    if "table" not in entry:
        return [{}]
    place = Place(path, "runs", index, "table")
    if fault := names.fault(entry["table"]):
        raise InputError(
            f"{place}: the table {names.short(entry['table'])} {fault}; it lies beside this file."
        )
    return suite_table.rows(path.parent / entry["table"], data.get("fields", {}), place)


def _run(
    facts: dict[str, Any], data: dict[str, Any], rules: dict[str, Rule], path: Path, index: int
) -> Run:
    """A run of an entry, whose facts are checked here."""
    _add_implied(facts, data["suite"])
    place = Place(path, "runs", index)
    _check_identity(facts, rules, place)
    _check_weights(facts, place)
    _check_sources(facts, data, place)
    _check_languages(facts, place)
    rule = _of_run(rules[facts["checkpoints"]], facts, path)
    if fault := _revision_fault(rule):
        of_rule = Place(path, "checkpoints", facts["checkpoints"])
        raise InputError(f"{of_rule}: of run {facts['id']!r} {fault}.")
    return Run(facts["id"], data["suite"], rule, facts)


def _add_implied(facts: dict[str, Any], suite: str) -> None:
    """Family, languages and seeds where other facts imply them and the run does not state them."""
    facts.setdefault("family", suite)
    if "language" in facts and "languages" not in facts:
        if languages.is_named_by(str(facts["language"])):
            facts["languages"] = [{"iso": facts["language"]}]
    varies = facts.get("seed_varies")
    if varies in (None, "unknown") or facts.get("seed") is None:
        return
    for name, other in (("init_seed", "order"), ("order_seed", "init")):
        if varies != other:
            facts.setdefault(name, facts["seed"])


def _check_identity(facts: dict[str, Any], rules: dict[str, Rule], place: Place) -> None:
    """What every run must have: the required fields, an id, a rule of checkpoints."""
    for name in REQUIRED:
        if name not in facts:
            raise InputError(
                f"{place}: run {facts.get('id')!r} lacks the field {name!r}; required are {', '.join(REQUIRED)}."
            )
    if fault := names.fault(facts["id"]):
        raise InputError(f"{place}: the id {names.short(facts['id'])} {fault}.")
    if facts["checkpoints"] not in rules:
        raise InputError(
            f"{place}: run {facts['id']!r} names the checkpoint rule {facts['checkpoints']!r}; "
            f"there are: {', '.join(rules)}.{nearest(facts['checkpoints'], rules)}"
        )


def _check_weights(facts: dict[str, Any], place: Place) -> None:
    """Where a run is asked or loaded from: its endpoint, or its weights, unless it has none."""
    if "endpoint" in facts and (missing := _unaskable(facts)):
        raise InputError(
            f"{place}: run {facts['id']!r} has an endpoint, where a model is asked "
            f"for text, {missing}."
        )
    _check_addresses(facts, place)
    if not _weights(facts) and facts.get("access") not in WITHOUT_WEIGHTS:
        raise InputError(
            f"{place}: run {facts['id']!r} has neither hub_id nor path nor trained_here, so nothing "
            f"can be loaded; if that is so, its access is one of {', '.join(WITHOUT_WEIGHTS)}."
        )


def _weights(facts: dict[str, Any]) -> list[str]:
    """The fields that say where a run's weights are."""
    return [name for name in ("hub_id", "path", "trained_here") if name in facts]


@lru_cache(maxsize=4096)
def _revision_fault(rule: Rule) -> str:
    """What is wrong with the names of a rule's checkpoints: each is a folder, of the weights and of
    what was measured.
    """
    revisions = list(rule.revisions)
    for revision in revisions:
        if fault := names.revision_fault(revision):
            return f"the revision {names.short(revision)} {fault}"
    if alike := names.one_folder(revisions):
        return f"the revisions {alike[0]!r} and {alike[1]!r} differ in capitals only, which is one folder on some systems"
    return ""


def _unaskable(facts: dict[str, Any]) -> str:
    """Why a run with an endpoint cannot be asked there; empty where it can."""
    if weights := _weights(facts):
        return f"and {weights[0]}, where its weights are: it is one or the other"
    if "api_model" not in facts:
        return "and no api_model, its name there"
    access = facts.get("access")
    return "" if access == "api" else f"so its access is api, not {access}"


def _check_addresses(facts: dict[str, Any], place: Place) -> None:
    """The endpoint can be called, and no address carries a secret: what is written in a table or a
    template too.
    """
    for name, value in facts.items():
        fault = addresses.fault(str(value)) if name == "endpoint" else ""
        if not fault and isinstance(value, str) and "://" in value:
            fault = addresses.secret(value)
        if fault:
            raise InputError(
                f"{place}: the {name} of run {facts['id']!r} {fault}; the key is read from "
                "the environment variable TRANSECT_API_KEY."
            )


def _check_languages(facts: dict[str, Any], place: Place) -> None:
    for spoken in facts.get("languages", []):
        try:
            languages.find(spoken["iso"])
        except InputError as error:
            raise InputError(f"{place}: run {facts['id']!r}, languages: {error}") from None


def _check_sources(facts: dict[str, Any], data: dict[str, Any], place: Place) -> None:
    known = set(factors.shared_fields()) | set(data.get("fields", {}))
    sources = data["sources"]
    for kind in ("sources", "verified"):
        for name in facts.get(kind, {}):
            if name not in GROUPS and name not in known:
                raise InputError(
                    f"{place}: run {facts['id']!r}, {kind}: {name!r} is neither a field "
                    f"nor a group of fields ({', '.join(GROUPS)}).{nearest(name, {*GROUPS, *known})}"
                )
    for keys in facts.get("sources", {}).values():
        for key in keys:
            if key not in sources:
                raise InputError(
                    f"{place}: run {facts['id']!r} names the source {key!r}; "
                    f"the file has {', '.join(sources)}.{nearest(key, sources)}"
                )


def _of_run(rule: Rule, facts: dict[str, Any], path: Path) -> Rule:
    """The rule with the run's own fields filled into its revisions."""
    texts = [rule.revision, rule.hub_id, *(name for _, name in rule.names)]
    wanted = {name for text in texts for name in templates.fields(text)} - OF_STEP
    if not wanted:
        return rule
    for name in wanted - set(facts):
        raise InputError(
            f"{path}: the checkpoint rule of run {facts['id']!r} names the field {name!r}, which it lacks.{nearest(name, facts)}"
        )
    try:
        revision, hub_id, *called = (templates.filled(text, facts, OF_STEP) for text in texts)
    except ValueError as error:
        raise InputError(
            f"{path}: the checkpoint rule of run {facts['id']!r} cannot be filled in ({error})."
        ) from None
    steps = (step for step, _ in rule.names)
    return replace(
        rule, revision=revision, hub_id=hub_id, names=tuple(zip(steps, called, strict=True))
    )
