"""The commands that show and check the registry: `transect registry list | show | tree | contrasts
| check | audit`.
"""

import argparse
import csv
import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transect.errors import InputError, nearest
from transect.store.files import whole_files
from transect.store.project import find_project

if TYPE_CHECKING:
    from transect.registry.run import Run
    from transect.registry.suites import Registry

COLUMNS = ("run", "suite", "architecture", "objective", "params_total", "language", "checkpoints")


def list_runs(args: argparse.Namespace) -> int:
    """Runs by property."""
    loaded = _load()
    runs = _selected(loaded, args.where)
    rows = [loaded.values[run.id] for run in runs]
    if args.json:
        print(json.dumps(rows, indent=1))
    elif args.csv:
        names = list(dict.fromkeys(["run", "suite", *(name for row in rows for name in row)]))
        writer = csv.DictWriter(sys.stdout, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        _print_table([[_cell(row.get(c)) for c in COLUMNS] for row in rows], COLUMNS)
        print(f"{len(runs)} runs in {len({r.suite for r in runs})} suites")
    return 0


def show(args: argparse.Namespace) -> int:
    """Everything that is known of one run, and where it was read."""
    loaded = _load()
    if args.run not in loaded.runs:
        raise InputError(
            f"There is no run {args.run!r} in the registry.{nearest(args.run, loaded.runs)}"
        )
    run = loaded.runs[args.run]
    facts = dict(run.facts) | {
        "suite": run.suite,
        "configuration": loaded.configurations[run.id],
        "model_class": run.model_class,
    }
    points = run.checkpoints
    if args.json:
        print(
            json.dumps(facts | {"revisions": [c.revision for c in points]}, indent=1, default=str)
        )
        return 0
    for name, value in facts.items():
        if name not in ("sources", "verified", "exclude_revisions"):
            print(f"{name:22}  {_cell(value):40}  {_evidence(run, name, loaded)}".rstrip())
    told = f"{len(points)}: {points[0].revision} ... {points[-1].revision}" if points else "none"
    print(f"{'revisions':22}  {told}")
    for revision, reason in run.excluded.items():
        print(f"{'excluded':22}  {revision}: {reason}")
    for note in loaded.suite_of(run).notes:
        print(f"{'note':22}  {note}")
    return 0


def tree(args: argparse.Namespace) -> int:
    """The tree of models: class, family, suite."""
    from transect.registry import kinship

    loaded = _load()
    runs = _selected(loaded, args.where)
    if args.json:
        print(json.dumps(kinship.levels(runs, loaded).to_dict("records"), indent=1))
        return 0
    for line in kinship.printed(runs, loaded):
        print(line)
    return 0


def show_contrasts(args: argparse.Namespace) -> int:
    """Comparisons that the suites allow: what differs, and what else differs with it."""
    from transect.registry.contrasts import contrasts

    found = list(contrasts(_load()).values())
    if args.json:
        told = [
            {
                "contrast": c.name,
                "suite": c.suite,
                "factor": c.factor,
                "kind": c.kind,
                "notes": c.notes,
                "also": c.also,
                "runs": [[r.id for r in runs] for runs in c.sets],
            }
            for c in found
        ]
        print(json.dumps(told, indent=1))
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
        for c in found
    ]
    _print_table(rows, ("contrast", "factor", "kind", "sets", "runs", "differs as well"))
    return 0


def show_languages(args: argparse.Namespace) -> int:
    """Languages of the registry's runs: family, morphological type, what URIEL knows, how far apart
    they are.
    """
    from transect.registry.languages import find

    runs = _selected(_load(), args.where)
    counts = Counter(spoken["iso"] for run in runs for spoken in run.get("languages", []))
    found = [find(code) for code in sorted(counts)]
    if args.distances:
        from transect.registry import typology

        if not Path(args.distances).absolute().parent.is_dir():
            raise InputError(f"--distances {args.distances}: there is no such folder.")
        codes = [language.iso for language in found]
        whole_files.write_whole(
            Path(args.distances), typology.distances(codes, args.features).rename_axis("iso").to_csv
        )
        lacking = typology.imputed(codes)
        print(
            f"{args.distances}: {len(codes)} languages; {int((lacking == 1).sum())} have no observed feature of syntax, "
            f"{int((lacking > 0.5).sum())} fewer than half of them."
        )
    elif args.json:
        print(
            json.dumps(
                [asdict(language) | {"runs": counts[language.iso]} for language in found], indent=1
            )
        )
    else:
        _print_table(
            [
                [
                    a.iso,
                    a.name,
                    _cell(a.family),
                    _cell(a.morphology),
                    _cell(a.uriel),
                    str(counts[a.iso]),
                ]
                for a in found
            ],
            ("iso", "name", "family", "morphology", "uriel", "runs"),
        )
    return 0


def check(args: argparse.Namespace) -> int:
    """Read every suite file against the schema; sources, contrasts and stated operations too."""
    from transect.registry import check as registry_check

    loaded = _load()
    findings = registry_check.findings(loaded)
    if args.counts:
        from transect.cli.registry.counts import check_counts

        findings = [*findings, *check_counts(loaded)]
    if args.json:
        print(
            json.dumps(
                {"suites": len(loaded.suites), "runs": len(loaded.runs), "findings": findings},
                indent=1,
            )
        )
        return 0
    points = sum(len(r.checkpoints) for r in loaded.runs.values())
    for sentence in findings:
        print(f"note     {sentence}")
    print(
        f"{len(loaded.suites)} suites, {len(loaded.runs)} runs, {points} checkpoints: no errors, {len(findings)} notes."
    )
    return 0


def audit(args: argparse.Namespace) -> int:
    """Whether the checkpoints of a suite are what their names say: by the hashes of their files, or
    by measured values.
    """
    from transect.cli.registry import audit as job

    project = find_project()
    if args.measured:
        report = job.audit_values(project, args.suite, args.measured, runs=args.run)
    else:
        report = job.audit_files(
            project, args.suite, runs=args.run, source=args.listing, save=args.save
        )
    print(job.as_json(report) if args.json else job.summary(report))
    return report.exit_code


def add_model(args: argparse.Namespace) -> int:
    """Describe a model, a directory or one of the hub, and write it into a suite of this project."""
    from transect.cli.model.single import parse_options
    from transect.cli.registry.add import add

    project = find_project()
    if project.plain:
        raise InputError(
            f"{project.root} is no project, so a suite in it would not be read; make it one: `transect init {project.root}`."
        )
    added = add(
        args.model,
        args.suite,
        project,
        given=parse_options(args.set, "--set"),
        run=args.id,
        revision=args.revision,
        try_openings=args.try_openings,
        checkpoints=args.checkpoints,
        tokens_per_step=args.tokens_per_step,
    )
    if args.json:
        print(
            json.dumps(
                {
                    "file": str(added.path),
                    "entry": added.entry,
                    "unknown": [*added.unknown, *added.missing],
                    "told": added.told,
                },
                indent=1,
            )
        )
        return 0
    print(f"{added.path}: run {added.entry['id']}")
    for name, value in added.entry.items():
        if name not in added.unknown and name not in ("sources", "verified"):
            print(f"found    {name:22}  {_cell(value)}")
    for sentence in added.told:
        print(f"note     {sentence}")
    if added.unknown or added.missing:
        told = ", ".join([*added.unknown, *added.missing])
        print(f"unknown  {told}: only a person can know; --set them, or write them into the file")
    print(
        f"next     a study with `population: {{where: \"run == '{added.entry['id']}'\"}}` measures it: transect run STUDY"
    )
    return 0


def add_to(add: Callable[..., argparse.ArgumentParser], entries: Any) -> None:
    """Add the commands to the group `entries`; `add(name, function, group)` makes the parser of
    one.
    """
    listing = add("list", list_runs, entries)
    listing.add_argument(
        "--where", help="a query, e.g. \"objective == 'causal' and params_total < 2e9\""
    )
    listing.add_argument(
        "--csv", action="store_true", help="every factor as a column of a CSV table"
    )
    add("show", show, entries).add_argument("run", metavar="RUN")
    add("tree", tree, entries).add_argument("--where", help="a query, as in list")
    add("contrasts", show_contrasts, entries)
    spoken = add("languages", show_languages, entries)
    spoken.add_argument("--where", help="a query, as in list")
    spoken.add_argument(
        "--distances",
        metavar="FILE.csv",
        help="write typological distances (needs transect[languages])",
    )
    spoken.add_argument(
        "--features", default="syntax_knn", help="the features of distances (syntax_knn)"
    )
    adding = add("add", add_model, entries)
    adding.add_argument(
        "model",
        metavar="DIR_OR_HUB_ID",
        help="a folder that holds config.json, tokenizer and *.safetensors, or organisation/name",
    )
    adding.add_argument(
        "--suite",
        required=True,
        metavar="NAME",
        help="model_registry/NAME.yaml of this project, new or not",
    )
    adding.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FACTOR=VALUE",
        help="a fact that the files do not tell, as YAML",
    )
    adding.add_argument("--id", help="the run's id (default: the model's name)")
    adding.add_argument("--revision", help="of a hub id (default main)")
    adding.add_argument(
        "--try-openings",
        action="store_true",
        help="load a folder's weights and tell which token a text is best opened with",
    )
    adding.add_argument(
        "--checkpoints",
        metavar="'step{step}'",
        help="names of the folders of a training (found where all are called alike)",
    )
    adding.add_argument(
        "--tokens-per-step", type=int, metavar="N", help="of that training: batch x length"
    )
    checking = add("check", check, entries)
    checking.add_argument(
        "--counts",
        action="store_true",
        help="count every run's weights anew, from its configuration",
    )
    audits = add("audit", audit, entries)
    audits.add_argument("suite", metavar="SUITE")
    audits.add_argument(
        "--run", action="append", default=[], metavar="RUN", help="only this run (may be repeated)"
    )
    audits.add_argument(
        "--save", type=Path, metavar="FILE", help="write what was listed, for --listing"
    )
    sources = audits.add_mutually_exclusive_group()
    sources.add_argument(
        "--listing", type=Path, metavar="FILE|DIR", help="what --save wrote, or a folder of weights"
    )
    sources.add_argument(
        "--measured", metavar="STUDY", help="judge the values that a study has measured instead"
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
