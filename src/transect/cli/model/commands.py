"""The commands that work on one model, without a study: `transect measure`, and `transect
measures`, which lists what it can measure.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from transect.cli.arguments import REMOTE_CODE, File, Json, Megabytes, Seed
from transect.errors import LONGEST_NAME, brief
from transect.store.project import find_project

if TYPE_CHECKING:
    import pandas as pd

    from transect.cli.model.single import Measured

EXAMPLES = 3  # refused items that are printed


@Parameter(name="*", group=Group("Measures", sort_key=1))
@dataclass(frozen=True)
class What:
    """What is measured.

    Parameters
    ----------
    measure
        name of a measure (`transect measures` lists them); may be repeated: the model is loaded
        once
    option
        set an option of the measure, as YAML (`transect measures NAME` lists them); may be repeated
    """

    measure: Annotated[tuple[str, ...], Parameter(metavar="NAME")]
    option: Annotated[
        tuple[str, ...], Parameter(metavar="KEY=VALUE", show_default="those of the measure")
    ] = ()
    seed: Seed = 1


@Parameter(name="*", group=Group("Stimuli", sort_key=2))
@dataclass(frozen=True)
class Stimuli:
    """On what it is measured.

    Parameters
    ----------
    stimuli
        file of stimuli (JSON lines, CSV or TSV), name of a stimulus set, or pattern such as
        'blimp/*.jsonl'; may be repeated
    columns
        name the column of the file that holds a needed column, e.g. sentence_good=good; may be
        repeated
    stimuli_option
        set an option or factor of the stimulus set, as YAML; may be repeated
    keep
        copy a column of the stimuli into the rows; may be repeated
    """

    stimuli: Annotated[
        tuple[str, ...],
        Parameter(metavar="FILE_OR_NAME", show_default="none, for measures that bring their own"),
    ] = ()
    columns: Annotated[
        tuple[str, ...],
        Parameter(
            metavar="NAME=COLUMN", show_default="columns are called as the measure calls them"
        ),
    ] = ()
    stimuli_option: Annotated[
        tuple[str, ...], Parameter(metavar="KEY=VALUE", show_default="those of the stimulus set")
    ] = ()
    keep: Annotated[tuple[str, ...], Parameter(metavar="COLUMN")] = ()


@Parameter(name="*", group=Group("Loading the model", sort_key=3))
@dataclass(frozen=True)
class Load:
    """How the model is loaded.

    Parameters
    ----------
    revision
        revision of the model: a branch, tag or commit of a hub id, a checkpoint of a run
    device
        device to compute on: cpu, cuda, cuda:1 ..., or auto, which spreads a model over several
        devices where it does not fit on one
    dtype
        number format of weights and activations
    budget
        memory in MB for the activations of one batch
    """

    revision: Annotated[
        str | None,
        Parameter(metavar="REVISION", show_default="main; of a run, its last checkpoint"),
    ] = None
    device: Annotated[str, Parameter(metavar="DEVICE")] = "cpu"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    budget: Annotated[Megabytes | None, Parameter(show_default="chosen by the engine")] = None
    trust_remote_code: Annotated[bool, Parameter(help=f"{REMOTE_CODE}, or of a directory")] = False


DEFAULT_STIMULI = Stimuli()
DEFAULT_LOAD = Load()


def measure(
    model: str,
    /,
    *,
    what: What,
    stimuli: Stimuli = DEFAULT_STIMULI,
    load: Load = DEFAULT_LOAD,
    out: File,
    as_json: Json = False,
) -> int:
    """Measure one model, loaded once, by one or several measures, without a study.

    The exit code is 1 where items were refused or a check of the model failed.

    For example:

      transect measure pythia-70m --measure induction --out rows.parquet
      transect measure ./model --measure surprisal --stimuli t.csv --out r.csv

    Parameters
    ----------
    model
        run of the registry, hub id, or directory
    out
        write the rows to FILE.parquet or FILE.csv
    """
    from transect.cli.model.rows_file import check_out, write_rows
    from transect.cli.model.single import Loading, measure_model, parse_options
    from transect.stimuli.readers.own_file import parse_names

    options = parse_options(list(what.option))
    stimuli_options = parse_options(list(stimuli.stimuli_option), "--stimuli-option")
    check_out(out)
    budget = None if load.budget is None else int(load.budget * 2**20)
    done = measure_model(
        model,
        what.measure,
        find_project(),
        stimuli=stimuli.stimuli,
        revision=load.revision,
        options=options,
        stimuli_options=stimuli_options,
        keep=stimuli.keep,
        named=parse_names(stimuli.columns),
        seed=what.seed,
        loading=Loading(load.device, load.dtype, budget, load.trust_remote_code),
    )
    write_rows(out, done.rows)
    _print_measured(done, out, as_json)
    _print_refused(done.rows, done.refused, out)
    if done.opening.get("opening_doubt"):
        print(f"transect: {done.opening['opening_doubt']}.", file=sys.stderr)
    for sentence in done.untold:
        print(f"transect: {sentence}", file=sys.stderr)
    if fault := done.self_check.sentence:
        print(f"transect: {fault}.", file=sys.stderr)
    return int(bool(len(done.refused) or fault or done.untold))


def _print_measured(done: "Measured", out: Path, as_json: bool) -> None:
    """Print the number of rows and the mean or the largest value of each metric."""
    metrics = {name: _summary(part) for name, part in _by_metric(done.rows.dropna(subset="value"))}
    if as_json:
        facts = {"out": str(out), "metrics": metrics, "refused": done.refused.to_dict("records")}
        checked = {"self_check_nats": done.self_check.difference, **done.opening}
        print(json.dumps(facts | checked, indent=1))
        return
    for metric, facts in metrics.items():
        print(f"{metric:28} {facts['size']:8} rows  {_summary_text(facts)}")
    print(f"{len(done.rows)} rows in {out}")


def _print_refused(rows: "pd.DataFrame", refused: "pd.DataFrame", out: Path) -> None:
    """Print how many items were refused, and the first of them; of several measures and sets, in
    each of them.
    """
    several = [name for name in ("measure", "stimuli") if name in rows]
    parts = rows.groupby(several, sort=False, dropna=False) if several else [((), rows)]
    for key, part in parts:
        here = refused[(refused[several].fillna("") == _texts(key)).all(axis=1)]
        if here.empty:
            continue
        place = f"{_label(key)}: " if several else ""
        count = f"{len(here)} of {part['item'].nunique()} items were refused:"
        print(f"transect: {place}{count}", file=sys.stderr)
        for row in here.head(EXAMPLES).to_dict("records"):
            item = brief(str(row["item"]), LONGEST_NAME)
            print(f"  {item}: {brief(row['error'])}", file=sys.stderr)
        if (more := len(here) - EXAMPLES) > 0:
            print(f"  and {more} more (column error of {out})", file=sys.stderr)


def _texts(key: tuple[Any, ...]) -> list[str]:
    """The values of a group's key; "" for one that is missing."""
    return ["" if value is None or value != value else str(value) for value in key]


def _label(key: tuple[Any, ...], between: str = " on ") -> str:
    """The values of a group's key that are not missing."""
    return between.join(filter(None, _texts(key)))


def _by_metric(rows: "pd.DataFrame") -> list[tuple[str, "pd.DataFrame"]]:
    """The rows of each metric; of several measures and sets, of each of them, named `measure
    stimuli metric`.
    """
    columns = [name for name in ("measure", "stimuli") if name in rows and rows[name].nunique() > 1]
    parts = rows.groupby([*columns, "metric"], sort=False, dropna=False)
    return [(_label(key, " "), part) for key, part in parts]


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


def _summary_text(facts: dict[str, Any]) -> str:
    if "largest" not in facts:
        return f"mean {facts['mean']:.6g}"
    largest = dict(facts["largest"])
    value, items = largest.pop("value"), largest.pop("items", None)
    where = ", ".join(f"{name} {place}" for name, place in largest.items())
    return f"largest {value:.6g} at {where}{f' (mean over {items} items)' if items and items > 1 else ''}"


def measures(
    name: Annotated[str | None, Parameter(show_default="all, briefly")] = None,
    /,
    *,
    as_json: Json = False,
) -> int:
    """List the measures with their inputs, options and metrics.

    For example:

      transect measures
      transect measures surprisal

    Parameters
    ----------
    name
        show one measure, with the whole text of its file
    """
    from transect.cli.model.measure_list import described, told

    listed = described(name, find_project())
    if as_json:
        print(json.dumps(listed, indent=1))
    else:
        print("\n\n".join(told(facts, whole=name is not None) for facts in listed))
    return 0
