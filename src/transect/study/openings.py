"""What texts were opened with: shown in the plan and in the report."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from transect.study.study_file import Study

TEXT = ("logits", "text", "generation")  # a measure that needs one of these reads texts
COLUMNS = ["run", "opened with", "measures", "what speaks against it"]


def table(recorded: Iterable[Mapping[str, Any]], grid: pd.DataFrame) -> pd.DataFrame:
    """One row per run and opening: the measures that used it. recorded: the store's provenance of
    the grid's cells.
    """
    of = grid.drop_duplicates("cell").set_index("cell")[["run", "measure"]].to_dict("index")
    rows = [
        {
            "run": of[key]["run"],
            "opened with": " ".join(cell["opening"]) or "nothing",
            "measures": of[key]["measure"],
            "what speaks against it": cell.get("opening_doubt", ""),
        }
        for told in recorded
        for key, cell in told.get("cells", {}).items()
        if key in of and "opening" in cell
    ]
    by = ["run", "opened with", "what speaks against it"]
    found = pd.DataFrame(rows, columns=COLUMNS).groupby(by, as_index=False, sort=True)["measures"]
    return found.agg(lambda names: ", ".join(sorted(set(names))))[COLUMNS]


def planned(study: Study) -> list[str]:
    """Sentences on runs whose texts are opened with what the tokenizer declares and does not put
    there itself.
    """
    runs: dict[str, None] = {}
    for cell in study.cells:
        run, bos = cell.checkpoint.run, cell.entry.options.get("bos", "auto")
        puts = (run.get("tokenizer") or {}).get("bos")
        reads = set(cell.entry.measure["REQUIRES"]) & {*TEXT}
        if (
            reads
            and not cell.reason
            and puts == "none"
            and bos in ("auto", True)
            and not run.get("opening")
            and run.get("objective") == "causal"
        ):
            runs[run.id] = None
    if not runs:
        return []
    names = ", ".join(list(runs)[:3]) + (f" and {len(runs) - 3} more" if len(runs) > 3 else "")
    return [
        f"The tokenizers of {len(runs)} runs put nothing before a text ({names}); it is opened with the token that they declare, if any. The option "
        "`bos: TOKEN` of a measure, or `opening: TOKEN` of a run in the registry, names another; the report says which was used."
    ]
