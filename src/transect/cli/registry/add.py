"""A model becomes an entry of the registry: what `transect registry add` does.

What the files say is read (lm/describe/description.py), what --set says is checked against the schema, what
only a person can know is written as unknown. The suite file is replaced only when the result is a
valid one that leaves every other run as it was.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import SoftFileLock

from transect.errors import InputError, LoadError, ResourceError, nearest
from transect.registry import factors, suites
from transect.registry.audit.checkpoint_folders import Curve, curve
from transect.registry.run import UNKNOWN, Run, Suite
from transect.registry.suite_file import append, reading
from transect.store import names
from transect.store.files import yaml_file
from transect.store.files.whole_files import write_text
from transect.store.project import SHIPPED, Project

PERSON = (
    "stage",
    "corpus",
    "corpus_variant",
    "language",
    "train_tokens",
    "unique_tokens",
    "seed_varies",
    "initialisation",
    "norm_placement",
    "licence",
    "access",
    "release_date",
)
SOURCE = {
    "files": "configuration, tokenizer and headers of the weights, read by `transect registry add`"
}
PERSON_SOURCE = {"person": "said by whoever added the model"}
# fields that no --set gives
OF_THE_COMMAND = {
    "id": "give the run's id with --id",
    **dict.fromkeys(("hub_id", "path"), "where the model lies is what is added, DIR_OR_HUB_ID"),
    **dict.fromkeys(("commit", "sources", "verified"), "this is filled in"),
}
SUITE = re.compile(r"[a-z0-9_]+")


@dataclass(frozen=True)
class Added:
    """entry: what was written; unknown: its fields that only a person can know; missing: such
    fields that have no word for unknown.
    """

    path: Path
    entry: dict[str, Any]
    unknown: list[str]
    missing: list[str]
    told: list[str]


def add(
    model: str,
    suite: str,
    project: Project,
    *,
    given: Mapping[str, Any] | None = None,
    run: str | None = None,
    revision: str | None = None,
    try_openings: bool = False,
    checkpoints: str | None = None,
    tokens_per_step: int | None = None,
) -> Added:
    """Describe a directory or a hub id and write it into model_registry/SUITE.yaml of the project.

    given: field -> value, as --set. try_openings: load a directory's weights and tell which opening
    of a text they predict best (lm/score/opening_loss.py). checkpoints: names of the folders of a
    training with {step} (registry/audit/checkpoint_folders.py). Raises InputError for an unknown field or a
    value that the schema refuses, an id that there is already, or a fact that must be known and is
    not; LoadError and ResourceError where the model cannot be had.
    """
    given = {name: _as_text(name, value) for name, value in (given or {}).items()}
    file = project.root / "model_registry" / f"{suite}.yaml"
    content = _content(file)
    loaded = suites.load(project)
    before = _suite_before(file, suite, loaded)
    _check_given(given, before, loaded)
    if try_openings and not Path(model).expanduser().is_dir():
        raise InputError(f"--try-openings: it needs the weights; {model} is no directory.")
    name = _free_id(run, model, loaded)
    found = _curve(model, checkpoints, tokens_per_step)
    where, described = _described(model, revision, project, found)
    data = yaml_file.read(file) if before else {}
    rule, rules = _rule(data, given, revision, None if found is None else found.rule)
    told = [
        *described.told,
        *_openings(model if found is None else str(found.last), given, try_openings),
    ]
    facts = {
        "id": name,
        **where,
        "architecture": described.facts["model_type"],
        **described.facts,
        "checkpoints": rule,
        **given,
    }
    facts["tokenizer"] = _with_key(facts["tokenizer"], name, loaded)
    unknown, missing = _left_to_a_person(facts, data.get("defaults", {}))
    facts |= dict.fromkeys(unknown, UNKNOWN)
    said = [
        n
        for n in given
        if n in factors.shared_fields() and factors.shared_fields()[n].group != "identity"
    ]
    facts["sources"] = {"all": ["files"], **{n: ["person"] for n in said}}
    facts["verified"] = {
        n: how for n, how in described.how.items() if n in facts and n not in given
    }
    _check_required(facts, data.get("defaults", {}))
    more = {"sources": SOURCE | (PERSON_SOURCE if said else {}), "checkpoints": rules}
    text = (
        append.append(content.decode("utf-8"), facts, more, unknown)
        if before and content
        else append.new_file(suite, facts, more, unknown)
    )
    _check_result(text, file, before, name)
    _replace(file, content, text)
    return Added(file, facts, unknown, missing, told)


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def _replace(file: Path, content: bytes | None, text: str) -> None:
    """Write the text where this content stood. Raises InputError where it is another by now: what
    somebody else added would be lost.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with SoftFileLock(file.with_name(f".{file.name}.lock")):
        if _content(file) != content:
            raise InputError(
                f"{file} was changed while the model was read, and was left as it is now; run the same command again."
            )
        write_text(file, text)


def _free_id(run: str | None, model: str, loaded: suites.Registry) -> str:
    """The id of the run, by default its folder's or repository's name; told at once where it is
    taken.
    """
    folder = Path(model).expanduser()
    last = folder.resolve().name if folder.is_dir() else model.rstrip("/").split("/")[-1]
    if run is None and not names.nearest_name(last.lower()):
        raise InputError(f"{model}: no id can be made of this name; give one with --id.")
    name = names.nearest_name(last.lower()) if run is None else names.check(run, "--id: the id")
    if name in loaded.runs:
        taken = loaded.runs[name].suite
        raise InputError(
            f"There is a run {name!r} already (suite {taken}); give this one another id with --id."
        )
    return name


def _curve(model: str, template: str | None, tokens_per_step: int | None) -> Curve | None:
    folder = Path(model).expanduser()
    found = curve(folder.resolve(), template, tokens_per_step) if folder.is_dir() else None
    for flag, value in (("--checkpoints", template), ("--tokens-per-step", tokens_per_step)):
        if found is None and value is not None:
            raise InputError(f"{flag} {value}: {model} is no folder that holds checkpoints.")
    return found


def _suite_before(file: Path, suite: str, loaded: suites.Registry) -> Suite | None:
    if not SUITE.fullmatch(suite):
        raise InputError(
            f"--suite {suite!r}: a suite's name is made of lower-case letters, digits and underscores."
        )
    names.check(suite, "--suite")
    here = next((s for s in loaded.suites if s.name == suite), None)
    if here and here.path != file:
        raise InputError(
            f"--suite {suite!r}: that is a shipped suite ({here.path}), which this project cannot extend; give another name."
        )
    return here


def _as_text(name: str, value: Any) -> Any:
    """A number that was given for a text is that text: ``release_date=2024``, ``label=70``."""
    wanted = factors.schema()["$defs"]["fields"]["properties"].get(name, {}).get("type")
    return str(value) if wanted == "string" and type(value) in (int, float) else value


def _check_given(given: Mapping[str, Any], before: Suite | None, loaded: suites.Registry) -> None:
    own = dict(before.fields) if before else {}
    shared = factors.schema()["$defs"]["fields"]["properties"]
    for name, value in given.items():
        if name not in shared and name not in own:
            raise InputError(
                f"--set {name}: there is no such factor; model_registry/schema.yaml has {', '.join(shared)}.{nearest(name, [*shared, *own])}"
            )
        if name in OF_THE_COMMAND:
            raise InputError(f"--set {name}: {OF_THE_COMMAND[name]}.")
        if told := factors.fault(name, value):
            raise InputError(f"--set {name}: {told}")
    if "checkpoints" in given and before is None:
        raise InputError(
            f"--set checkpoints: a new suite has no rule {given['checkpoints']!r}; leave it out for the last weights."
        )
    if "parent" in given and given["parent"] not in loaded.runs:
        raise InputError(
            f"--set parent: there is no run {given['parent']!r} in the registry.{nearest(given['parent'], loaded.runs)}"
        )


def _described(model: str, revision: str | None, project: Project, found: Curve | None):  # type: ignore[no-untyped-def]
    """Where the model lies, as fields of its entry, and what its files say; of a training, those of
    its last checkpoint.
    """
    from transect.lm.describe import description
    from transect.store.hub import small_files

    folder = Path(model).expanduser()
    if folder.is_dir():
        if revision:
            raise InputError(
                f"--revision {revision!r}: {model} is a directory and has no revisions."
            )
        folder = folder.resolve()
        return {"path": _place(folder, project)}, description.describe(
            folder if found is None else found.last
        )
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise InputError(f"{model!r} is no directory and no hub id (organisation/name).")
    try:
        path, elsewhere = small_files.fetch(model, revision or "main")
    except (LoadError, ResourceError) as error:
        raise type(error)(
            f"{str(error).rstrip('.')}; and there is no folder {model} here."
        ) from error
    return {"hub_id": model, "commit": path.name}, description.describe(path, elsewhere)


def _openings(model: str, given: Mapping[str, Any], tried: bool) -> list[str]:
    """What is told of the opening; raises InputError for one that the tokenizer does not have."""
    folder = Path(model).expanduser()
    if "opening" in given and folder.is_dir():
        from transect.lm.text.opening import token_id
        from transect.lm.text.tokenizer import read_tokenizer

        token_id(read_tokenizer(folder), given["opening"], "--set opening")
    if not tried:
        return []
    from transect.lm import load
    from transect.lm.score.opening_loss import proposals

    loaded = load(folder)
    loaded.opening_token = given.get("opening")
    return proposals(loaded)


def _place(folder: Path, project: Project) -> str:
    """Relative to the project where the two lie in one folder (not only on one disk): a colleague
    has them side by side, too.
    """
    root = project.root.resolve()
    shared = Path(os.path.commonpath([root, folder]))
    apart = project.root == SHIPPED or shared in (Path(shared.anchor), Path.home())
    return str(folder) if apart else Path(os.path.relpath(folder, root)).as_posix()


def _rule(
    data: Mapping[str, Any],
    given: Mapping[str, Any],
    revision: str | None,
    own: Mapping[str, Any] | None,
) -> tuple[str, dict[str, Any]]:
    """The name of the rule of checkpoints, and the rules that the file lacks for it: `own`, or one
    revision, the last weights.
    """
    if "checkpoints" in given:
        return given["checkpoints"], {}
    form = own or {"revision": revision or "main", "steps": [None]}
    for name, spec in data.get("checkpoints", {}).items():
        if spec == form or own is None and {k: spec.get(k) for k in form} == form:
            return name, {}
    name = (
        "curve"
        if own
        else "last"
        if revision is None
        else re.sub(r"\W+", "_", revision, flags=re.ASCII)
    )
    while name in data.get("checkpoints", {}):
        name += "_"
    return name, {name: form}


def _with_key(tokenizer: Mapping[str, Any], name: str, loaded: suites.Registry) -> dict[str, Any]:
    """With the key of a run whose tokenizer cuts alike, else with one of its own: equal keys say
    that a tokenizer is shared.
    """
    others = (run.get("tokenizer") or {} for run in loaded.runs.values())
    alike = next(
        (o["key"] for o in others if "key" in o and o.get("canary") == tokenizer.get("canary", "")),
        name,
    )
    return {"key": alike, **tokenizer}


def _left_to_a_person(
    facts: Mapping[str, Any], defaults: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    unknown: list[str] = []
    missing: list[str] = []
    for name in PERSON:
        if (
            name in facts
            or name in defaults
            or name == "language"
            and "languages" in {*facts, *defaults}
        ):
            continue
        (missing if factors.fault(name, UNKNOWN) else unknown).append(name)
    return unknown, missing


def _check_required(facts: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    for name in reading.REQUIRED:
        if name not in facts and name not in defaults:
            allowed = factors.schema()["$defs"]["fields"]["properties"][name].get("enum", [])
            choice = f" ({', '.join(allowed)})" if allowed else ""
            raise InputError(
                f"The files of {facts['id']} do not tell its {name}; add --set {name}=...{choice}."
            )


def _check_result(text: str, file: Path, before: Suite | None, name: str) -> None:
    """Raise InputError unless the text is a valid suite file with the run and with every other one
    as it was.
    """
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / file.name
        trial.write_bytes(text.encode("utf-8"))
        for table in file.parent.glob("*.csv"):
            shutil.copy(table, folder)
        try:
            after = reading.read(trial)
        except InputError as error:
            raise InputError(
                f"{str(error).replace(str(trial), str(file))} {file} was left as it was."
            ) from None
    changed = [r.id for r in before.runs if _facts(after, r.id) != r.facts] if before else []
    if changed or _facts(after, name) is None:
        raise InputError(
            f"{file}: the entry could not be added without changing {changed[0] if changed else 'the file'}; it was left as it was."
        )
    _check_counts(next(r for r in after.runs if r.id == name), file)


def _check_counts(run: Run, file: Path) -> None:
    """Raise InputError where a count that was given is another than that of the run's dimensions."""
    from transect.lm.checkpoint import counting

    try:
        wrong = counting.contradictions(run, counting.of_run(run))
    except counting.Uncountable:
        return
    for field, (stated, computed) in wrong.items():
        raise InputError(
            f"{file}: run {run.id!r} states {field} {stated:,}, but its configuration has {computed:,}; the file was left as it was."
        )


def _facts(suite: Suite, name: str) -> Mapping[str, Any] | None:
    found: Sequence[Run] = [r for r in suite.runs if r.id == name]
    return found[0].facts if found else None
