"""Reading a suite file: its entries expanded to runs, joined with their tables, every name checked."""

import itertools
from collections.abc import Iterable, Mapping
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
OF_STEP = {"step", "tokens", "billions"}
WITHOUT_WEIGHTS = ("api", "closed", "elsewhere")  # access of runs that nothing can be loaded of


@lru_cache(maxsize=1)
def _validator() -> Any:
    return yaml_file.validator(factors.schema())


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
    _check_fields(data, set(factors.shared_fields()) | set(own), path)
    for name in own:
        if name in factors.shared_fields():
            raise InputError(
                f"{path}, line {yaml_file.line(path, ['fields', name])}: {name!r} is a field of model_registry/schema.yaml already."
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


def _check_fields(data: dict[str, Any], known: set[str], path: Path) -> None:
    """Every field is one that schema.yaml or the suite's own `fields` declare: a misspelt one would
    silently be unknown.
    """
    places: list[tuple[list[str | int], Mapping[str, Any]]] = [
        (["defaults"], data.get("defaults", {}))
    ]
    for i, table in enumerate(data.get("tables", [])):
        places += [(["tables", i, "rows", j], row) for j, row in enumerate(table["rows"])]
    for i, entry in enumerate(data["runs"]):
        places += [
            (["runs", i], {k: v for k, v in entry.items() if k not in ENTRY}),
            (["runs", i, "each"], entry.get("each", {})),
        ]
    for i, entry in enumerate(data["runs"]):
        for name, values in entry.get("each", {}).items():
            for j, value in enumerate(values):
                if "{" not in str(value) and (told := factors.fault(name, value)):
                    raise InputError(
                        f"{path}, line {yaml_file.line(path, ['runs', i, 'each', name, j])}: {name} {told}"
                    )
    for i, table in enumerate(data.get("tables", [])):
        places.append((["tables", i, "by"], dict.fromkeys(table["by"])))
    for keys, fields in places:
        for name in fields:
            if name not in known:
                raise InputError(
                    f"{path}, line {yaml_file.line(path, [*keys, name])}: unknown field {name!r}; the fields are those of "
                    f"model_registry/schema.yaml and those that the suite declares under `fields`.{nearest(name, known)}"
                )


def _check_cited(data: dict[str, Any], path: Path) -> None:
    """The sources of rules and contrasts are sources of the file."""
    cited = [(["checkpoints", name], spec) for name, spec in data["checkpoints"].items()]
    for keys, spec in [
        *cited,
        *((["contrasts", i], spec) for i, spec in enumerate(data.get("contrasts", []))),
    ]:
        for key in spec.get("source", []):
            if key not in data["sources"]:
                raise InputError(
                    f"{path}, line {yaml_file.line(path, [*keys, 'source'])}: there is no source {key!r}; "
                    f"the file has {', '.join(data['sources'])}.{nearest(key, data['sources'])}"
                )


def _rule(spec: dict[str, Any], path: Path, name: str) -> Rule:
    try:
        steps = bounds.steps(spec["steps"])
    except bounds.TooMany as error:
        raise InputError(
            f"{path}, line {yaml_file.line(path, ['checkpoints', name, 'steps'])}: the rule {name!r} {error}."
        ) from None
    numbers = [step for step in steps if step is not None]
    if numbers != sorted(set(numbers)) or min(numbers, default=0) < 0:
        raise InputError(
            f"{path}, line {yaml_file.line(path, ['checkpoints', name, 'steps'])}: the steps of the rule {name!r} do not "
            "rise from 0 or more, each of them once."
        )
    tokens = tuple(spec.get("tokens", ()))
    if tokens and len(tokens) != len(steps):
        raise InputError(
            f"{path}, line {yaml_file.line(path, ['checkpoints', name, 'tokens'])}: the rule {name!r} has "
            f"{len(tokens)} tokens for {len(steps)} steps."
        )
    called = tuple(spec.get("names", {}).items())
    if missing := [step for step, _ in called if step not in steps]:
        raise InputError(
            f"{path}, line {yaml_file.line(path, ['checkpoints', name, 'names'])}: the rule {name!r} names step "
            f"{missing[0]}, which is none of its steps."
        )
    for key, text in (
        ("revision", spec["revision"]),
        ("hub_id", spec.get("hub_id", "")),
        *(("names", n) for _, n in called),
    ):
        _check_template(
            text,
            None not in steps,
            f"{path}, line {yaml_file.line(path, ['checkpoints', name, key])}",
        )
    return Rule(
        spec["revision"],
        tuple(steps),
        spec.get("tokens_per_step"),
        spec.get("billions", "ceil"),
        tokens,
        spec.get("tokens_before", 0),
        called,
        spec.get("hub_id", ""),
    )


def _check_template(text: str, numbered: bool, place: str) -> None:
    """Fields in braces, and nothing else in braces; numbered: whether every step has a number, as a
    width needs it.
    """
    try:
        templates.filled(
            text, dict.fromkeys(templates.fields(text), 1) | {"step": 1 if numbered else None}
        )
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
    shared = {k: v for k, v in entry.items() if k not in ENTRY}
    for row in _rows(entry, data, path, index):
        for combination in itertools.product(*each.values()):
            own = {**shared, **row, **dict(zip(each, combination, strict=True))}
            general = data.get("defaults", {})
            for table in data.get("tables", []):
                facts = {**general, **own}
                for joined in table["rows"]:
                    if all(facts.get(k) == joined.get(k) for k in table["by"]):
                        general = {**general, **joined}
            yield _filled({**general, **own}, entry, path, index)


def _filled(facts: dict[str, Any], entry: dict[str, Any], path: Path, index: int) -> dict[str, Any]:
    try:
        return {k: _template(v, facts) for k, v in facts.items()}
    except KeyError as error:
        line = yaml_file.line(path, ["runs", index])
        raise InputError(
            f"{path}, line {line}: a template of run {entry['id']!r} names the field {error}, which it lacks."
            f"{nearest(error.args[0], facts)}"
        ) from None
    except ValueError as error:
        line = yaml_file.line(path, ["runs", index])
        raise InputError(
            f"{path}, line {line}: a text of run {entry['id']!r} is no template ({error}); "
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
    named_at = f"{path}, line {yaml_file.line(path, ['runs', index, 'table'])}"
    if told := names.fault(entry["table"]):
        raise InputError(
            f"{named_at}: the table {names.short(entry['table'])} {told}; it lies beside this file."
        )
    return suite_table.rows(path.parent / entry["table"], data.get("fields", {}), named_at)


def _run(
    facts: dict[str, Any], data: dict[str, Any], rules: dict[str, Rule], path: Path, index: int
) -> Run:
    facts.setdefault("family", data["suite"])
    if (
        "language" in facts
        and "languages" not in facts
        and languages.is_named_by(str(facts["language"]))
    ):
        facts["languages"] = [{"iso": facts["language"]}]
    for name, other in (("init_seed", "order"), ("order_seed", "init")):
        if (
            facts.get("seed_varies") not in (None, "unknown", other)
            and facts.get("seed") is not None
        ):
            facts.setdefault(name, facts["seed"])
    for name in REQUIRED:
        if name not in facts:
            raise InputError(
                f"{path}, line {yaml_file.line(path, ['runs', index])}: run {facts.get('id')!r} lacks the field {name!r}; required are {', '.join(REQUIRED)}."
            )
    if told := names.fault(facts["id"]):
        raise InputError(
            f"{path}, line {yaml_file.line(path, ['runs', index])}: the id {names.short(facts['id'])} {told}."
        )
    if facts["checkpoints"] not in rules:
        raise InputError(
            f"{path}, line {yaml_file.line(path, ['runs', index])}: run {facts['id']!r} names the checkpoint rule {facts['checkpoints']!r}; "
            f"there are: {', '.join(rules)}.{nearest(facts['checkpoints'], rules)}"
        )
    if "endpoint" in facts and (missing := _unaskable(facts)):
        raise InputError(
            f"{path}, line {yaml_file.line(path, ['runs', index])}: run {facts['id']!r} has an endpoint, where a model is asked "
            f"for text, {missing}."
        )
    _check_addresses(facts, path, index)
    if (
        not any(name in facts for name in ("hub_id", "path", "trained_here"))
        and facts.get("access") not in WITHOUT_WEIGHTS
    ):
        raise InputError(
            f"{path}, line {yaml_file.line(path, ['runs', index])}: run {facts['id']!r} has neither hub_id nor path nor trained_here, so nothing "
            f"can be loaded; if that is so, its access is one of {', '.join(WITHOUT_WEIGHTS)}."
        )
    _check_sources(facts, data, path, index)
    _check_languages(facts, path, index)
    rule = _of_run(rules[facts["checkpoints"]], facts, path)
    if told := _revision_fault(rule):
        place = yaml_file.line(path, ["checkpoints", facts["checkpoints"]])
        raise InputError(f"{path}, line {place}: of run {facts['id']!r} {told}.")
    return Run(facts["id"], data["suite"], rule, facts)


@lru_cache(maxsize=4096)
def _revision_fault(rule: Rule) -> str:
    """What is wrong with the names of a rule's checkpoints: each is a folder, of the weights and of
    what was measured.
    """
    revisions = list(map(rule.revision_of, rule.steps))
    for revision in revisions:
        if told := names.revision_fault(revision):
            return f"the revision {names.short(revision)} {told}"
    alike = names.one_folder(revisions)
    return (
        f"the revisions {alike[0]!r} and {alike[1]!r} differ in capitals only, which is one folder on some systems"
        if alike
        else ""
    )


def _unaskable(facts: dict[str, Any]) -> str:
    """Why a run with an endpoint cannot be asked there; empty where it can."""
    weights = [name for name in ("hub_id", "path", "trained_here") if name in facts]
    if weights:
        return f"and {weights[0]}, where its weights are: it is one or the other"
    if "api_model" not in facts:
        return "and no api_model, its name there"
    return (
        "" if facts.get("access") == "api" else f"so its access is api, not {facts.get('access')}"
    )


def _check_addresses(facts: dict[str, Any], path: Path, index: int) -> None:
    """The endpoint can be called, and no address carries a secret: what is written in a table or a
    template too.
    """
    for name, value in facts.items():
        told = addresses.fault(str(value)) if name == "endpoint" else ""
        if not told and isinstance(value, str) and "://" in value:
            told = addresses.secret(value)
        if told:
            raise InputError(
                f"{path}, line {yaml_file.line(path, ['runs', index])}: the {name} of run {facts['id']!r} {told}; the key is read from "
                "the environment variable TRANSECT_API_KEY."
            )


def _check_languages(facts: dict[str, Any], path: Path, index: int) -> None:
    for spoken in facts.get("languages", []):
        try:
            languages.find(spoken["iso"])
        except InputError as error:
            line = yaml_file.line(path, ["runs", index])
            raise InputError(
                f"{path}, line {line}: run {facts['id']!r}, languages: {error}"
            ) from None


def _check_sources(facts: dict[str, Any], data: dict[str, Any], path: Path, index: int) -> None:
    known = set(factors.shared_fields()) | set(data.get("fields", {}))
    sources = data["sources"]
    for kind in ("sources", "verified"):
        for name in facts.get(kind, {}):
            if name not in GROUPS and name not in known:
                raise InputError(
                    f"{path}, line {yaml_file.line(path, ['runs', index])}: run {facts['id']!r}, {kind}: {name!r} is neither a field "
                    f"nor a group of fields ({', '.join(GROUPS)}).{nearest(name, {*GROUPS, *known})}"
                )
    for keys in facts.get("sources", {}).values():
        for key in keys:
            if key not in sources:
                raise InputError(
                    f"{path}, line {yaml_file.line(path, ['runs', index])}: run {facts['id']!r} names the source {key!r}; "
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
