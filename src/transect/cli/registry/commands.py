"""The commands that show and check the registry: `transect registry list | show | tree | contrasts
| languages | add | check | audit`.
"""

import json
import sys
from collections import Counter
from csv import DictWriter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from transect.cli.arguments import File, Json, Query, Whole, at_most_one
from transect.errors import InputError, nearest
from transect.store.project import find_project

if TYPE_CHECKING:
    from transect.cli.registry.add import Added
    from transect.registry.run import Run
    from transect.registry.suites import Registry

COLUMNS = ("run", "suite", "architecture", "objective", "params_total", "language", "checkpoints")


@Parameter(name="*", group=Group("Entry", sort_key=1))
@dataclass(frozen=True)
class Entry:
    """What is written of a model.

    Parameters
    ----------
    suite
        write the entry to model_registry/NAME.yaml of this project; the file is made where it is
        missing
    id
        id of the run
    facts
        set a field that cannot be read from the files, as YAML, e.g. language=eng; may be repeated
    """

    suite: Annotated[str, Parameter(metavar="NAME")]
    id: Annotated[str | None, Parameter(metavar="ID", show_default="the name of the model")] = None
    facts: Annotated[tuple[str, ...], Parameter(name="--set", metavar="FIELD=VALUE")] = ()


@Parameter(name="*", group=Group("Checkpoints of a training", sort_key=2))
@dataclass(frozen=True)
class Training:
    """The training whose checkpoints lie in a folder.

    Parameters
    ----------
    checkpoints
        name the folders of the checkpoints by a pattern, e.g. 'step{step}'
    tokens_per_step
        number of tokens in one step: batch size x length of a sequence
    """

    checkpoints: Annotated[
        str | None, Parameter(metavar="PATTERN", show_default="found where all are named alike")
    ] = None
    tokens_per_step: Annotated[Whole | None, Parameter(show_default="unknown")] = None


DEFAULT_TRAINING = Training()


def list_runs(*, where: Query = None, csv: bool = False, as_json: Json = False) -> int:
    """List runs, optionally those that satisfy a query.

    For example:

      transect registry list
      transect registry list --where "suite == 'pythia' and d_model == 512"
      transect registry list --csv

    Parameters
    ----------
    csv
        print a CSV table with every factor as a column
    """
    loaded = _load()
    runs = _selected(loaded, where)
    rows = [loaded.values[run.id] for run in runs]
    if as_json:
        print(json.dumps(rows, indent=1))
    elif csv:
        names = list(dict.fromkeys(["run", "suite", *(name for row in rows for name in row)]))
        writer = DictWriter(sys.stdout, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        _print_table([[_cell(row.get(c)) for c in COLUMNS] for row in rows], COLUMNS)
        print(f"{len(runs)} runs in {len({r.suite for r in runs})} suites")
    return 0


def show_run(run: str, /, *, as_json: Json = False) -> int:
    """Show all recorded facts about a run with their sources.

    Each line holds a field, its value, and in brackets how the value is known and where it was
    read. Revisions that are excluded follow with their reasons, and the notes of the suite.

    For example:

      transect registry show pythia-70m

    Parameters
    ----------
    run
        id of a run (`transect registry list` lists them)
    """
    loaded = _load()
    if run not in loaded.runs:
        raise InputError(f"There is no run {run!r} in the registry.{nearest(run, loaded.runs)}")
    shown = loaded.runs[run]
    facts = dict(shown.facts) | {
        "suite": shown.suite,
        "configuration": loaded.configurations[shown.id],
        "model_class": shown.model_class,
    }
    points = shown.checkpoints
    if as_json:
        revisions = {"revisions": [c.revision for c in points]}
        print(json.dumps(facts | revisions, indent=1, default=str))
        return 0
    for name, value in facts.items():
        if name not in ("sources", "verified", "exclude_revisions"):
            print(f"{name:22}  {_cell(value):40}  {_evidence(shown, name, loaded)}".rstrip())
    ends = f"{len(points)}: {points[0].revision} ... {points[-1].revision}" if points else "none"
    print(f"{'revisions':22}  {ends}")
    for revision, reason in shown.excluded.items():
        print(f"{'excluded':22}  {revision}: {reason}")
    for note in loaded.suite_of(shown).notes:
        print(f"{'note':22}  {note}")
    return 0


def show_tree(*, where: Query = None, as_json: Json = False) -> int:
    """Show runs as a tree: class, family and suite.

    For example:

      transect registry tree
      transect registry tree --where "objective == 'causal'"
    """
    from transect.registry import kinship

    loaded = _load()
    runs = _selected(loaded, where)
    if as_json:
        print(json.dumps(kinship.levels(runs, loaded).to_dict("records"), indent=1))
        return 0
    for line in kinship.printed(runs, loaded):
        print(line)
    return 0


def show_contrasts(*, as_json: Json = False) -> int:
    """List the comparisons that the suites allow, with the factors that differ as well.

    Columns: the contrast, the factor that it varies, its kind, the number of sets of runs that are
    alike otherwise, the number of runs in them, and the other factors that differ within a set.

    For example:

      transect registry contrasts
    """
    from transect.registry.contrasts import contrasts

    listed = list(contrasts(_load()).values())
    if as_json:
        records = [
            {
                "contrast": c.name,
                "suite": c.suite,
                "factor": c.factor,
                "kind": c.kind,
                "notes": c.notes,
                "also": c.also,
                "runs": [[r.id for r in runs] for runs in c.sets],
            }
            for c in listed
        ]
        print(json.dumps(records, indent=1))
        return 0
    rows = [
        [
            c.name,
            c.factor,
            c.kind,
            str(len(c.sets)),
            str(len({r.id for s in c.sets for r in s})),
            ", ".join(c.also),
        ]
        for c in listed
    ]
    _print_table(rows, ("contrast", "factor", "kind", "sets", "runs", "differs as well"))
    return 0


def show_languages(
    *,
    where: Query = None,
    distances: Annotated[
        str | None, Parameter(metavar="FILE.csv", show_default="no file is written")
    ] = None,
    features: Annotated[str, Parameter(metavar="SET")] = "syntax_knn",
    as_json: Json = False,
) -> int:
    """List the languages of the runs: family, morphological type and code in URIEL.

    For example:

      transect registry languages
      transect registry languages --distances distances.csv

    Parameters
    ----------
    distances
        write the typological distances between the languages to a file (needs
        transect[languages])
    features
        set of features of URIEL that the distances compare
    """
    from transect.registry.languages import find

    runs = _selected(_load(), where)
    counts = Counter(spoken["iso"] for run in runs for spoken in run.get("languages", []))
    languages = [find(code) for code in sorted(counts)]
    if distances:
        _write_distances(Path(distances), [language.iso for language in languages], features)
    elif as_json:
        records = [asdict(language) | {"runs": counts[language.iso]} for language in languages]
        print(json.dumps(records, indent=1))
    else:
        rows = [
            [a.iso, a.name, *map(_cell, (a.family, a.morphology, a.uriel)), str(counts[a.iso])]
            for a in languages
        ]
        _print_table(rows, ("iso", "name", "family", "morphology", "uriel", "runs"))
    return 0


def _write_distances(path: Path, codes: list[str], features: str) -> None:
    """Write the typological distances of languages, and print how many lack features."""
    from transect.registry import typology
    from transect.store.files.whole_files import write_whole

    if not path.absolute().parent.is_dir():
        raise InputError(f"--distances {path}: there is no such folder.")
    table = typology.distances(codes, features).rename_axis("iso")
    write_whole(path, table.to_csv)
    lacking = typology.imputed(codes)
    print(
        f"{path}: {len(codes)} languages; {int((lacking == 1).sum())} have no observed feature of syntax, "
        f"{int((lacking > 0.5).sum())} fewer than half of them."
    )


def check_suites(*, counts: bool = False, as_json: Json = False) -> int:
    """Check every suite file against the schema, with its sources, contrasts and operations.

    For example:

      transect registry check
      transect registry check --counts

    Parameters
    ----------
    counts
        count the weights of every run anew, from its configuration
    """
    from transect.registry import check

    loaded = _load()
    findings = check.findings(loaded)
    if counts:
        from transect.cli.registry.counts import check_counts

        findings = [*findings, *check_counts(loaded)]
    if as_json:
        facts = {"suites": len(loaded.suites), "runs": len(loaded.runs), "findings": findings}
        print(json.dumps(facts, indent=1))
        return 0
    points = sum(len(r.checkpoints) for r in loaded.runs.values())
    for sentence in findings:
        print(f"note     {sentence}")
    print(
        f"{len(loaded.suites)} suites, {len(loaded.runs)} runs, {points} checkpoints: no errors, {len(findings)} notes."
    )
    return 0


def audit_suite(
    suite: str,
    /,
    *,
    run: Annotated[tuple[str, ...], Parameter(metavar="RUN", show_default="all runs")] = (),
    save: File | None = None,
    listing: Annotated[
        Path | None, Parameter(metavar="FILE_OR_FOLDER", show_default="the listings of the hub")
    ] = None,
    measured: Annotated[str | None, Parameter(metavar="STUDY")] = None,
    as_json: Json = False,
) -> int:
    """Audit whether the checkpoints of a suite are what their names say.

    They are judged by the hashes of their files, or by values that a study has measured. The exit
    code is 1 where something is wrong that the suite does not state, or could not be listed.

    For example:

      transect registry audit pythia --save pythia.json
      transect registry audit pythia --listing pythia.json
      transect registry audit miniature --measured miniature

    Parameters
    ----------
    suite
        name of the suite
    run
        audit this run only; may be repeated
    save
        write what was listed to FILE, for --listing
    listing
        read what --save wrote, or a folder of weights
    measured
        judge the values that a study has measured instead of files
    """
    from transect.cli.registry import audit as job

    at_most_one(listing=listing, measured=measured)
    project = find_project()
    if measured:
        report = job.audit_values(project, suite, measured, runs=run)
    else:
        report = job.audit_files(project, suite, runs=run, source=listing, save=save)
    print(job.as_json(report) if as_json else job.summary(report))
    return report.exit_code


def add_model(
    model: str,
    /,
    *,
    entry: Entry,
    revision: Annotated[str | None, Parameter(metavar="REVISION", show_default="main")] = None,
    training: Training = DEFAULT_TRAINING,
    try_openings: bool = False,
    as_json: Json = False,
) -> int:
    """Describe a model and write it into a suite of this project.

    For example:

      transect registry add ./my-model --suite mine --set language=eng
      transect registry add EleutherAI/pythia-70m --suite mine --revision step3000
      transect registry add ./runs --suite mine --checkpoints 'step{step}'

    Parameters
    ----------
    model
        folder with config.json, tokenizer and *.safetensors, or hub id (organisation/name)
    revision
        revision of a hub id: a branch, tag or commit
    try_openings
        load the weights of a folder and report with which token a text is best opened
    """
    from transect.cli.model.single import parse_options
    from transect.cli.registry.add import add

    project = find_project()
    if project.plain:
        raise InputError(
            f"{project.root} is no project, so a suite in it would not be read; make it one: `transect init {project.root}`."
        )
    added = add(
        model,
        entry.suite,
        project,
        given=parse_options(list(entry.facts), "--set"),
        run=entry.id,
        revision=revision,
        try_openings=try_openings,
        checkpoints=training.checkpoints,
        tokens_per_step=training.tokens_per_step,
    )
    if as_json:
        facts = {
            "file": str(added.path),
            "entry": added.entry,
            "unknown": [*added.unknown, *added.missing],
            "told": added.told,
        }
        print(json.dumps(facts, indent=1))
    else:
        _print_added(added)
    return 0


def _print_added(added: "Added") -> None:
    """Print what is known of a model that was added, what is not, and what to do next."""
    print(f"{added.path}: run {added.entry['id']}")
    for name, value in added.entry.items():
        if name not in added.unknown and name not in ("sources", "verified"):
            print(f"found    {name:22}  {_cell(value)}")
    for sentence in added.told:
        print(f"note     {sentence}")
    if unknown := [*added.unknown, *added.missing]:
        print(
            f"unknown  {', '.join(unknown)}: only a person can know; --set them, or write them into the file"
        )
    print(
        f"next     a study with `population: {{where: \"run == '{added.entry['id']}'\"}}` measures it: transect run STUDY"
    )


def _load() -> "Registry":
    from transect.registry import suites

    return suites.load(find_project())


def _selected(loaded: "Registry", where: str | None) -> list["Run"]:
    return list(loaded.runs.values()) if where is None else loaded.select(where, "--where")


def _evidence(run: "Run", name: str, loaded: "Registry") -> str:
    """How a fact is known and where it was read; nothing for what the registry derives."""
    if name not in run.facts or name not in loaded.fields:
        return ""
    keys = run.sources_of(loaded.fields[name])
    return f"[{run.known_by(loaded.fields[name])}: {', '.join(keys)}]" if keys else ""


def _print_table(rows: list[list[str]], header: tuple[str, ...]) -> None:
    widths = [max([len(name), *(len(row[i]) for row in rows)]) for i, name in enumerate(header)]
    for row in [list(header), *rows]:
        print("  ".join(v.ljust(w) for v, w in zip(row, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "unknown"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
