"""From rounds to tables: medians, ratios, differences; tables.md to read, one CSV per case to
compute with.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.cases import Case

OURS = "transect"
LEGEND = """Times are medians over the rounds; ratios are an implementation's time over transect's, so 2 is twice as slow; their
range is over the rounds. per cpu second: sentences, pairs or sequences. Differences are to transect's results (nats,
logits or attention mass). peak: resident memory (GPU: allocated) during the work; loaded: before it.
"""
COLUMNS = [
    "implementation",
    "cpu_seconds",
    "cpu_ratio",
    "cpu_ratio_range",
    "wall_seconds",
    "wall_ratio",
    "per_cpu_second",
    "peak_megabytes",
    "loaded_megabytes",
    "load_cpu_seconds",
    "largest_difference",
    "decisions_that_differ",
    "share_of_peak",
    "cpu_seconds_of_rounds",
]


@dataclass(frozen=True)
class Table:
    """One case on one device. measured: implementation -> (what it said when loaded, its rounds)."""

    case: Case
    device: str
    measured: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]]
    results: dict[str, np.ndarray]
    decide: Callable[[np.ndarray], np.ndarray] | None
    failed: dict[str, str]

    def rows(self, peaks: dict[str, float]) -> list[dict[str, str]]:
        """A row per implementation. Ratios: its time / ours, of medians; the range is over the
        rounds.

        Differences are to ours; a floor has no result. share_of_peak: FLOP that it made / median
        wall time / the peak, where there are peaks (FLOP per second by dtype, of a GPU).
        """
        ours = self.measured.get(OURS, ({}, []))[1]
        rows = []
        for name, (loaded, rounds) in self.measured.items():
            cpu, wall = ([r[f"{kind}_seconds"] for r in rounds] for kind in ("cpu", "wall"))
            row = {
                "implementation": name,
                "cpu_seconds": f"{median(cpu):.3g}",
                "wall_seconds": f"{median(wall):.3g}",
                "per_cpu_second": f"{self.case.size / median(cpu):.4g}",
                "peak_megabytes": f"{max(r['peak_bytes'] for r in rounds) / 1e6:.0f}",
                "loaded_megabytes": f"{loaded['resident_bytes'] / 1e6:.0f}",
                "load_cpu_seconds": f"{loaded['ready']:.1f}",
                "cpu_seconds_of_rounds": " ".join(f"{seconds:.3f}" for seconds in cpu),
            }
            if ours:
                ratios = [c / o["cpu_seconds"] for c, o in zip(cpu, ours, strict=True)]
                row["cpu_ratio"] = f"{median(cpu) / median(r['cpu_seconds'] for r in ours):.2f}"
                row["cpu_ratio_range"] = f"{min(ratios):.2f}-{max(ratios):.2f}"
                row["wall_ratio"] = f"{median(wall) / median(r['wall_seconds'] for r in ours):.2f}"
            row |= self._differences(name)
            if peaks and loaded["flop"]:
                peak = peaks["bfloat16" if "bfloat16" in name else "float32"]
                row["share_of_peak"] = f"{loaded['flop'] / median(wall) / peak:.1%}"
            rows.append(row)
        return rows

    def _differences(self, name: str) -> dict[str, str]:
        ours, theirs = self.results.get(OURS), self.results[name]
        if name == OURS or ours is None or not theirs.size:
            return {}
        found = {"largest_difference": f"{np.abs(theirs - ours).max():.1e}"}
        if self.decide is not None:
            mine, other = self.decide(ours), self.decide(theirs)
            found["decisions_that_differ"] = f"{int((mine != other).sum())} of {len(mine)}"
        return found


def write(folder: Path, done: list[Table], machine: str, peaks: dict[str, float]) -> None:
    """tables.md and <case>_<device>.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    parts: list[str] = [f"# Bench\n\n{machine}.\n", LEGEND]
    parts += [
        f"GPU, {name}: {flops / 1e12:.1f} TFLOP/s in a matrix product.\n"
        for name, flops in peaks.items()
    ]
    for table in done:
        rows = table.rows(peaks)
        with (folder / f"{table.case.name}_{table.device}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="")
            writer.writeheader()
            writer.writerows(rows)
        shown = [column for column in COLUMNS if any(row.get(column) for row in rows)]
        lines = [
            "| " + " | ".join(column.replace("_", " ") for column in shown) + " |",
            "|---" * len(shown) + "|",
        ]
        lines += ["| " + " | ".join(row.get(column, "") for column in shown) + " |" for row in rows]
        lines += [f"\n{name} did not run: {reason}" for name, reason in table.failed.items()]
        parts.append(f"## {table.case.title} ({table.device})\n\n" + "\n".join(lines) + "\n")
    (folder / "tables.md").write_text("\n".join(parts))
