"""make simulations: every rate of rates.py over n data sets each, written to docs/simulations.md.

python -m simulations.run [-n 2000] [--only TEXT]: with --only the rates whose names hold the text
are counted again and the others' rows stay; with fewer than 2000 data sets nothing is written.
"""

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from simulations.rates import RATES, Rate

OUT = Path(__file__).parents[1] / "docs" / "simulations.md"
PUBLISHED = 2000  # data sets that a rate in the docs rests on, at least
HEAD = """# Simulated error rates

Made by `make simulations` (seeded; simulations/rates.py and the files beside it say what is simulated). SE is the Monte-Carlo
standard error of the rate; a rate is as wished when it lies in the range.

| what | data sets | rate | SE | range | as wished |
|---|---|---|---|---|---|
"""


def experiments() -> dict[str, list[str]]:
    """Rates that are counted on the same data sets, by the name of the first."""
    found: dict[str, list[str]] = {}
    for name, wanted in RATES.items():
        first = next((f for f in found if RATES[f].event is wanted.event), name)
        found.setdefault(first, []).append(name)
    return found


def count(first: str, start: int, end: int) -> np.ndarray:
    """How often each event of an experiment happened in data sets start to end - 1."""
    position = list(RATES).index(first)
    names = experiments()[first]
    total = np.zeros(len(names), int)
    for i in range(start, end):
        found = RATES[first].event(np.random.default_rng([position, i]))
        total += [found[RATES[name].of] if isinstance(found, dict) else found for name in names]
    return total


def shares(first: str, n: int, pool: ProcessPoolExecutor) -> dict[str, float]:
    """The share of n data sets in which each event of an experiment happened."""
    edges = np.linspace(0, n, 9).astype(int)
    parts = [
        pool.submit(count, first, int(a), int(b))
        for a, b in zip(edges[:-1], edges[1:], strict=True)
    ]
    total = sum(part.result() for part in parts)
    return dict(zip(experiments()[first], (total / n).tolist(), strict=True))


def row(name: str, wanted: Rate, found: float, n: int) -> str:
    se = np.sqrt(max(found * (1 - found), 1e-9) / n)
    verdict = "yes" if wanted.low <= found <= wanted.high else "no"
    cells = (
        name,
        str(n),
        f"{found:.3f}",
        f"{se:.3f}",
        f"{wanted.low:g} to {wanted.high:g}",
        verdict,
    )
    return f"| {' | '.join(cells)} |"


def merged(text: str, counted: dict[str, str]) -> str:
    """The page with the rows counted now in place of those before, in the order of RATES; rows of
    other names are dropped.
    """
    before = {
        line.split(" | ")[0].removeprefix("| "): line
        for line in text.splitlines()
        if line.startswith("| ")
    }
    rows = before | counted
    return HEAD + "\n".join(rows[name] for name in RATES if name in rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=PUBLISHED, help="data sets per rate")
    parser.add_argument(
        "--only", default="", help="rates whose name holds this text; the others' rows stay"
    )
    args = parser.parse_args()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for first, names in experiments().items():
            if not any(args.only in name for name in names):
                continue
            start = time.time()
            rows = {
                name: row(name, RATES[name], share, args.n)
                for name, share in shares(first, args.n, pool).items()
            }
            print(*rows.values(), f"{time.time() - start:.0f} s", sep="\n", flush=True)
            if args.n >= PUBLISHED:
                OUT.write_text(merged(OUT.read_text() if OUT.exists() else "", rows))


if __name__ == "__main__":
    main()
