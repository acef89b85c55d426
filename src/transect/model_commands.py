"""The command that works on one model, without a study: `transect measure`."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from transect.errors import InputError
from transect.project import find_project

REMOTE_CODE = "run the Python files of a model whose registry entry says `remote_code: true`"


def measure(args: argparse.Namespace) -> int:
    """One measure of one model, without a study."""
    from transect import store
    from transect.jobs.single import Loading, measure_model, parse_options

    if args.out.is_dir():
        raise InputError(f"--out {args.out}: this is a folder; name a file, e.g. {args.out / 'rows.parquet'}.")
    budget = None if args.budget is None else int(args.budget * 2**20)
    done = measure_model(
        args.model, args.measure, find_project(), stimuli=args.stimuli, revision=args.revision, options=parse_options(args.option),
        stimuli_options=parse_options(args.stimuli_option), seed=args.seed,
        loading=Loading(args.device, args.dtype, budget, args.trust_remote_code),
    )  # fmt: skip
    rows, refused = done.rows, done.refused
    store.write_table(args.out, rows)
    means = rows.dropna(subset="value").groupby("metric", sort=False)["value"].agg(["size", "mean"])
    if args.json:
        facts = {"out": str(args.out), "metrics": means.to_dict("index"), "refused": refused.to_dict("records")}
        print(json.dumps(facts | {"self_check_nats": done.self_check}, indent=1))
    else:
        for metric, row in means.iterrows():
            print(f"{metric:28} {int(row['size']):8} rows  mean {row['mean']:.6g}")
        print(f"{len(rows)} rows in {args.out}")
    if len(refused):
        print(f"transect: {len(refused)} of {rows['item'].nunique()} items were refused:", file=sys.stderr)
        for row in refused.head(3).to_dict("records"):
            print(f"  {row['item']}: {row['error']}", file=sys.stderr)
    if done.fault:
        print(f"transect: {done.fault}", file=sys.stderr)
    return int(bool(len(refused) or done.fault))


def add_to(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command; `add(name, function)` makes its parser."""
    single = add("measure", measure)
    single.add_argument("model", metavar="MODEL", help="a run of the registry, a hub id or a directory")
    single.add_argument("--measure", required=True, metavar="NAME")
    single.add_argument("--stimuli", metavar="FILE_OR_NAME", help="JSON lines, CSV, or the name of a stimulus set")
    single.add_argument("--revision")
    single.add_argument("--option", action="append", default=[], metavar="K=V", help="an option of the measure")
    single.add_argument(
        "--stimuli-option", action="append", default=[], metavar="K=V", help="an option or factor of the stimulus set"
    )
    single.add_argument("--seed", type=int, default=1)
    single.add_argument(
        "--device", default="cpu", help="cpu, cuda, cuda:1 ..., or auto: spread where it does not fit one"
    )
    single.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    single.add_argument("--budget", type=_megabytes, metavar="MB", help="memory for the activations of one batch")
    single.add_argument("--trust-remote-code", action="store_true", help=f"{REMOTE_CODE}, or of a directory")
    single.add_argument("--out", required=True, type=Path, metavar="FILE.parquet")


def _megabytes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no memory budget; it must be a number of megabytes, at least 1.")
    return value
