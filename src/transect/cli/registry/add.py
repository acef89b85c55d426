"""A model becomes an entry of the registry: what `transect registry add` does.

What the files say is read (lm/describe/description.py), what --set says is checked against the schema, what
only a person can know is written as unknown. The suite file is replaced only when the result is a
valid one that leaves every other run as it was.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from transect.lm.describe.description import Description
    from transect.store.model_files.headers import Tensor

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
    training = _curve(model, checkpoints, tokens_per_step)
    where, described = _described(model, revision, project, training)
    data = yaml_file.read(file) if before else {}
    rule, rules = _rule(data, given, revision, None if training is None else training.rule)
    weights = model if training is None else str(training.last)
    sentences = [*described.told, *_openings(weights, given, try_openings)]
    facts = {
        "id": name,
        **where,
        "architecture": described.facts["model_type"],
        **described.facts,
        "checkpoints": rule,
        **given,
    }
    facts["tokenizer"] = _with_key(facts["tokenizer"], name, loaded)
    defaults = data.get("defaults", {})
    unknown, missing = _left_to_a_person(facts, defaults)
    facts |= dict.fromkeys(unknown, UNKNOWN)
    facts |= _grounds(facts, given, described.how)
    _check_required(facts, defaults)
    sources = SOURCE | (PERSON_SOURCE if _of_a_person(given) else {})
    additions = {"sources": sources, "checkpoints": rules}
    if before and content:
        text = append.append(content.decode("utf-8"), facts, additions, unknown)
    else:
        text = append.new_file(suite, facts, additions, unknown)
    _check_result(text, file, before, name)
    _replace(file, content, text)
    return Added(file, facts, unknown, missing, sentences)


def _grounds(
    facts: Mapping[str, Any], given: Mapping[str, Any], how: Mapping[str, str]
) -> dict[str, Any]:
    """The fields that say where the facts come from: sources, verified."""
    of_a_person = {name: ["person"] for name in _of_a_person(given)}
    verified = {name: way for name, way in how.items() if name in facts and name not in given}
    return {"sources": {"all": ["files"], **of_a_person}, "verified": verified}


def _of_a_person(given: Mapping[str, Any]) -> list[str]:
    """The given facts about the model, which a person vouches for; not those that name it."""
    shared = factors.shared_fields()
    return [name for name in given if name in shared and shared[name].group != "identity"]


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
    """The training whose checkpoints a folder holds; None where it holds one model."""
    folder = Path(model).expanduser()
    training = curve(folder.resolve(), template, tokens_per_step) if folder.is_dir() else None
    if training is None:
        for flag, value in (("--checkpoints", template), ("--tokens-per-step", tokens_per_step)):
            if value is not None:
                raise InputError(f"{flag} {value}: {model} is no folder that holds checkpoints.")
    return training


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
        if fault := factors.fault(name, value):
            raise InputError(f"--set {name}: {fault}")
    if "checkpoints" in given and before is None:
        raise InputError(
            f"--set checkpoints: a new suite has no rule {given['checkpoints']!r}; leave it out for the last weights."
        )
    parent = given.get("parent")
    if "parent" in given and parent not in loaded.runs:
        raise InputError(
            f"--set parent: there is no run {parent!r} in the registry.{nearest(parent, loaded.runs)}"
        )


def _described(
    model: str, revision: str | None, project: Project, training: Curve | None
) -> "tuple[dict[str, Any], Description]":
    """Where the model lies, as fields of its entry, and what its files say; of a training, those of
    its last checkpoint.
    """
    from transect.lm.describe import description

    folder = Path(model).expanduser()
    if folder.is_dir():
        if revision:
            raise InputError(
                f"--revision {revision!r}: {model} is a directory and has no revisions."
            )
        folder = folder.resolve()
        files = folder if training is None else training.last
        return {"path": _place(folder, project)}, description.describe(files)
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise InputError(f"{model!r} is no directory and no hub id (organisation/name).")
    path, elsewhere = _fetched(model, revision)
    return {"hub_id": model, "commit": path.name}, description.describe(path, elsewhere)


def _fetched(model: str, revision: str | None) -> "tuple[Path, Mapping[str, Tensor] | None]":
    """The small files of a hub id, and the tensors of its weights, which stay on the hub."""
    from transect.store.hub import small_files

    try:
        return small_files.fetch(model, revision or "main")
    except (LoadError, ResourceError) as error:
        raise type(error)(
            f"{str(error).rstrip('.')}; and there is no folder {model} here."
        ) from error


def _openings(model: str, given: Mapping[str, Any], tried: bool) -> list[str]:
    """What is reported of the opening; raises InputError for one that the tokenizer does not have."""
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
    only_one_disk = shared in (Path(shared.anchor), Path.home())
    if project.root == SHIPPED or only_one_disk:
        return str(folder)
    return Path(os.path.relpath(folder, root)).as_posix()


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
    rules = data.get("checkpoints", {})
    for name, spec in rules.items():
        # of one revision, what a rule says beyond it is of no account
        compared = spec if own else {key: spec.get(key) for key in form}
        if compared == form:
            return name, {}
    name = _name_of_rule(revision, own)
    while name in rules:
        name += "_"
    return name, {name: form}


def _name_of_rule(revision: str | None, own: Mapping[str, Any] | None) -> str:
    if own:
        return "curve"
    if revision is None:
        return "last"
    return re.sub(r"\W+", "_", revision, flags=re.ASCII)


def _with_key(tokenizer: Mapping[str, Any], name: str, loaded: suites.Registry) -> dict[str, Any]:
    """With the key of a run whose tokenizer cuts alike, else with one of its own: equal keys say
    that a tokenizer is shared.
    """
    canary = tokenizer.get("canary", "")
    for run in loaded.runs.values():
        other = run.get("tokenizer") or {}
        if "key" in other and other.get("canary") == canary:
            return {"key": other["key"], **tokenizer}
    return {"key": name, **tokenizer}


def _left_to_a_person(
    facts: Mapping[str, Any], defaults: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    """The fields that only a person can know and nobody gave: those that may be unknown, and those
    that may not.
    """
    known = {*facts, *defaults}
    if "languages" in known:
        known.add("language")
    unknown: list[str] = []
    missing: list[str] = []
    for name in PERSON:
        if name not in known:
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
    after = {run.id: run for run in _trial(text, file).runs}
    for run in before.runs if before else ():
        if run.id not in after or after[run.id].facts != run.facts:
            raise _would_change(file, run.id)
    if name not in after:
        raise _would_change(file, "the file")
    _check_counts(after[name], file)


def _trial(text: str, file: Path) -> Suite:
    """The suite that the text would be, read beside the tables of the file. Raises InputError."""
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / file.name
        trial.write_bytes(text.encode("utf-8"))
        for table in file.parent.glob("*.csv"):
            shutil.copy(table, folder)
        try:
            return reading.read(trial)
        except InputError as error:
            raise InputError(
                f"{str(error).replace(str(trial), str(file))} {file} was left as it was."
            ) from None


def _would_change(file: Path, changed: str) -> InputError:
    return InputError(
        f"{file}: the entry could not be added without changing {changed}; it was left as it was."
    )


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
