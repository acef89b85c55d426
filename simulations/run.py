"""make simulations: every rate of rates.py over n data sets each, written to docs/simulations.md.

python -m simulations.run [-n 2000] [--only TEXT]
"""

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from simulations.rates import RATES

OUT = Path(__file__).parents[1] / "docs" / "simulations.md"
HEAD = """# Simulated error rates

Made by `make simulations` (seeded; {n} data sets per rate; simulations/rates.py says what is simulated). SE is the Monte-Carlo
standard error of the rate; a rate is as wished when it lies in the range.

| what | rate | SE | range | as wished |
|---|---|---|---|---|
"""


def count(name: str, first: int, last: int) -> int:
    """How often the event happened in data sets first to last - 1."""
    position = list(RATES).index(name)
    return sum(RATES[name].event(np.random.default_rng([position, i])) for i in range(first, last))


def rate(name: str, n: int, pool: ProcessPoolExecutor) -> float:
    """The share of n data sets in which the event happened."""
    edges = np.linspace(0, n, 9).astype(int)
    parts = [pool.submit(count, name, int(a), int(b)) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    return sum(p.result() for p in parts) / n


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=2000, help="data sets per rate")
    parser.add_argument("--only", default="", help="rates whose name holds this text; nothing is written")
    args = parser.parse_args()
    lines = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for name, wanted in RATES.items():
            if args.only not in name:
                continue
            start = time.time()
            found = rate(name, args.n, pool)
            se = np.sqrt(max(found * (1 - found), 1e-9) / args.n)
            verdict = "yes" if wanted.low <= found <= wanted.high else "no"
            cells = (name, f"{found:.3f}", f"{se:.3f}", f"{wanted.low:g} to {wanted.high:g}", verdict)
            lines.append(f"| {' | '.join(cells)} |")
            print(lines[-1], f"{time.time() - start:.0f} s", flush=True)
    if not args.only:
        OUT.parent.mkdir(exist_ok=True)
        OUT.write_text(HEAD.format(n=args.n) + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
