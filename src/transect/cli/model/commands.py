"""The commands that work on one model, without a study: `transect measure`, and `transect
measures`, which lists what it can measure.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transect.errors import LONGEST_NAME, brief
from transect.store.project import find_project

if TYPE_CHECKING:
    import pandas as pd

REMOTE_CODE = "run the Python files of a model whose registry entry says `remote_code: true`"


def measure(args: argparse.Namespace) -> int:
    """One or several measures of one model, loaded once, without a study; `transect measures` lists
    them.
    """
    from transect.cli.model.rows_file import check_out, write_rows
    from transect.cli.model.single import Loading, measure_model, parse_options
    from transect.stimuli.readers.own_file import parse_names

    options, stimuli_options = (
        parse_options(args.option),
        parse_options(args.stimuli_option, "--stimuli-option"),
    )
    check_out(args.out)
    budget = None if args.budget is None else int(args.budget * 2**20)
    done = measure_model(
        args.model,
        args.measure,
        find_project(),
        stimuli=args.stimuli,
        revision=args.revision,
        options=options,
        stimuli_options=stimuli_options,
        keep=args.keep,
        named=parse_names(args.columns),
        seed=args.seed,
        loading=Loading(args.device, args.dtype, budget, args.trust_remote_code),
    )
    rows, refused = done.rows, done.refused
    write_rows(args.out, rows)
    metrics = {name: _summary(part) for name, part in _by_metric(rows.dropna(subset="value"))}
    if args.json:
        facts = {"out": str(args.out), "metrics": metrics, "refused": refused.to_dict("records")}
        print(
            json.dumps(
                facts | {"self_check_nats": done.self_check.difference, **done.opening}, indent=1
            )
        )
    else:
        for metric, facts in metrics.items():
            print(f"{metric:28} {facts['size']:8} rows  {_told(facts)}")
        print(f"{len(rows)} rows in {args.out}")
    _tell_refused(rows, refused, args.out)
    if done.opening.get("opening_doubt"):
        print(f"transect: {done.opening['opening_doubt']}.", file=sys.stderr)
    for told in done.untold:
        print(f"transect: {told}", file=sys.stderr)
    if fault := done.self_check.sentence:
        print(f"transect: {fault}.", file=sys.stderr)
    return int(bool(len(refused) or fault or done.untold))


def _tell_refused(rows: "pd.DataFrame", refused: "pd.DataFrame", out: Path) -> None:
    """How many items were refused, and the first three; of several measures and sets, in each of
    them.
    """
    several = [name for name in ("measure", "stimuli") if name in rows]
    parts = rows.groupby(several, sort=False, dropna=False) if several else [((), rows)]
    for key, part in parts:
        here = refused[
            (refused[several].fillna("") == ["" if v != v or v is None else v for v in key]).all(
                axis=1
            )
        ]
        if here.empty:
            continue
        place = (
            f"{' on '.join(str(v) for v in key if v == v and v is not None)}: " if several else ""
        )
        print(
            f"transect: {place}{len(here)} of {part['item'].nunique()} items were refused:",
            file=sys.stderr,
        )
        for row in here.head(3).to_dict("records"):
            print(
                f"  {brief(str(row['item']), LONGEST_NAME)}: {brief(row['error'])}", file=sys.stderr
            )
        if len(here) > 3:
            print(f"  and {len(here) - 3} more (column error of {out})", file=sys.stderr)


def _by_metric(rows: "pd.DataFrame") -> list[tuple[str, "pd.DataFrame"]]:
    """The rows of each metric; of several measures and sets, of each of them, named `measure
    stimuli metric`.
    """
    columns = [name for name in ("measure", "stimuli") if name in rows and rows[name].nunique() > 1]
    parts = rows.groupby([*columns, "metric"], sort=False, dropna=False)
    return [
        (" ".join(str(v) for v in key if v == v and v is not None), part) for key, part in parts
    ]


def _summary(rows: "pd.DataFrame") -> dict[str, Any]:
    """Of one metric: number of rows and mean; of one with a value per layer also the largest value
    and where it is.

    Heads and layers are the same in every item, so that their means over items are compared;
    positions are not.
    """
    facts: dict[str, Any] = {"size": len(rows), "mean": float(rows["value"].mean())}
    if not rows["layer"].notna().any():
        return facts
    if rows["position"].notna().any():
        largest = rows.loc[rows["value"].idxmax()]
        places = {
            "layer": int(largest["layer"]),
            "position": int(largest["position"]),
            "item": largest["item"],
        }
        return facts | {"largest": {"value": float(largest["value"]), **places}}
    means = rows.groupby([name for name in ("layer", "head") if rows[name].notna().any()])[
        "value"
    ].mean()
    where = means.index[means.argmax()]
    places = dict(
        zip(
            means.index.names,
            map(int, where if isinstance(where, tuple) else (where,)),
            strict=True,
        )
    )
    return facts | {
        "largest": {"value": float(means.max()), **places, "items": rows["item"].nunique()}
    }


def _told(facts: dict[str, Any]) -> str:
    if "largest" not in facts:
        return f"mean {facts['mean']:.6g}"
    found = dict(facts["largest"])
    value, items = found.pop("value"), found.pop("items", None)
    where = ", ".join(f"{name} {place}" for name, place in found.items())
    return f"largest {value:.6g} at {where}{f' (mean over {items} items)' if items and items > 1 else ''}"


def measures(args: argparse.Namespace) -> int:
    """The measures: what each is, reads, takes as options and gives."""
    from transect.cli.model.measure_list import described, told

    found = described(args.name, find_project())
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        print("\n\n".join(told(facts, whole=args.name is not None) for facts in found))
    return 0


def add_to(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands; `add(name, function)` makes the parser of one."""
    add("measures", measures).add_argument(
        "name", metavar="NAME", nargs="?", help="one measure, with all that its file says"
    )
    single = add("measure", measure)
    single.add_argument(
        "model", metavar="MODEL", help="a run of the registry, a hub id or a directory"
    )
    single.add_argument(
        "--measure",
        required=True,
        action="append",
        metavar="NAME",
        help="one of `transect measures`; may be repeated: the model is loaded once",
    )
    single.add_argument(
        "--stimuli",
        action="append",
        default=[],
        metavar="FILE_OR_NAME",
        help="JSON lines, CSV or TSV, the name of a stimulus set, or a pattern as 'blimp/*.jsonl'; may be repeated",
    )
    single.add_argument(
        "--columns",
        action="append",
        default=[],
        metavar="NAME=COLUMN",
        help="what a file calls a column that is read, e.g. sentence_good=good",
    )
    single.add_argument("--revision")
    single.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="K=V",
        help="an option of the measure, as YAML; `transect measures NAME` lists them",
    )
    single.add_argument(
        "--stimuli-option",
        action="append",
        default=[],
        metavar="K=V",
        help="an option or factor of the stimulus set",
    )
    single.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="COLUMN",
        help="a column of the stimuli to copy into the rows",
    )
    single.add_argument("--seed", type=int, default=1)
    single.add_argument(
        "--device",
        default="cpu",
        help="cpu, cuda, cuda:1 ..., or auto: spread where it does not fit one",
    )
    single.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    single.add_argument(
        "--budget", type=_megabytes, metavar="MB", help="memory for the activations of one batch"
    )
    single.add_argument(
        "--trust-remote-code", action="store_true", help=f"{REMOTE_CODE}, or of a directory"
    )
    single.add_argument(
        "--out", required=True, type=Path, metavar="FILE", help="FILE.parquet or FILE.csv"
    )


def _megabytes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value < 1e9:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no memory budget; it must be a number of megabytes, at least 1."
        )
    return value
