"""No table, however odd, ends in a traceback or loses a row in silence: `fit`, `gstudy`, `scaling`
and files of stimuli.

The figures printed by `make test-slow` (-s) are of 500 tables (tests/store/tables/odd_tables.py).
"""

import warnings
from collections import Counter
from pathlib import Path

import pytest

from tests.store.tables.odd_tables import Odd, draw
from transect.cli.table.fit import fit_file
from transect.cli.table.gstudy import gstudy
from transect.cli.table.scaling import scaling_file
from transect.errors import InputError
from transect.stimuli.readers.own_file import read_stimuli
from transect.store.tables.reading import read

FORMULA = "y ~ log10(x) + cond + (1 | run) + (1 | word)"


def fitted(odd: Odd) -> tuple[int, int]:
    model, found = fit_file(odd.path, FORMULA)
    if odd.complete is not None:  # and its numbers are those of the plain table
        plain = odd.path.parent / "plain.parquet"
        odd.complete.to_parquet(plain)
        right = fit_file(plain, FORMULA)[0]
        assert model.fit.criterion == pytest.approx(right.fit.criterion, abs=1e-6)
        levels = [
            set(m.design.levels["cond"]) for m in (model, right)
        ]  # a column's own order names another reference
        assert levels[0] == levels[1] and len(model.effects) == len(right.effects)
    return model.fit.n, int(found["left_out_rows"]["rows"].sum()) if len(
        found["left_out_rows"]
    ) else 0


def studied(odd: Odd) -> tuple[int, int]:
    found = gstudy(odd.path, "y ~ run x word", repeats="average")
    return found["rows"] - found["missing"], sum(part["rows"] for part in found["left_out"])


def scaled(odd: Odd) -> tuple[int, int]:
    found = scaling_file(odd.path, "y", ["x"], "run", forms=["power"], n=100)
    return found["n_rows"], sum(part["rows"] for part in found["left_out"])


def stimuli(odd: Odd) -> tuple[int, int]:
    items = read_stimuli(odd.path, ["text"], "surprisal")
    if odd.complete is not None:
        assert items["text"].tolist() == [f"text {i}" for i in range(48)]
    return len(items), 0


def tried(odd: Odd, command: str) -> str:
    """ "used", or "refused" with one sentence; any other exception goes on. Every row is used or
    counted by its cause.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # nothing may be said where nobody hears it
            used, left_out = {
                "fit": fitted,
                "gstudy": studied,
                "scaling": scaled,
                "stimuli": stimuli,
            }[command](odd)
    except InputError as error:
        assert "\n" not in str(error) and len(str(error)) > 20
        assert odd.complete is None or command == "stimuli", error
        return "refused"
    rows = odd.n_rows if odd.n_rows >= 0 or command == "stimuli" else len(read(odd.path).frame)
    assert command == "stimuli" and rows < 0 or used + left_out == rows
    if odd.complete is not None and command == "fit":
        assert used == len(odd.complete)
    return "used"


def is_exact(odd: Odd) -> None:
    """A right table is read as the plain one: the same values in every complete row."""
    if odd.complete is not None:
        frame = read(odd.path).frame
        rows = frame[list(odd.complete)].dropna(subset=["x", "y", "cond"])
        assert rows.astype(odd.complete.dtypes.to_dict()).equals(odd.complete)


def counted(seeds: range, folder: Path, every: dict[str, int]) -> Counter[tuple[str, str]]:
    """How often each command used or refused a table; every: of how many sixes of tables it looks
    at one.
    """
    found: Counter[tuple[str, str]] = Counter()
    for seed in seeds:
        place = folder / str(seed)
        place.mkdir()
        odd = draw(seed, place)
        try:
            is_exact(odd)
            for command, step in every.items():
                if seed // 6 % step == 0:
                    found[command, tried(odd, command)] += 1
        except Exception as error:
            raise AssertionError(
                f"table {seed} ({odd.told}): {type(error).__name__}: {error}"
            ) from error
    return found


def test_no_odd_table_ends_in_a_traceback(tmp_path: Path) -> None:
    """150 tables: right ones are read as the plain one and give its fit, every gap counted; others
    as much or one sentence.
    """
    found = counted(range(150), tmp_path, {"stimuli": 1, "fit": 5, "gstudy": 5, "scaling": 25})
    assert found["fit", "used"] >= 12 and found["fit", "refused"] >= 6


@pytest.mark.slow
def test_no_odd_table_of_500_ends_in_a_traceback(tmp_path: Path) -> None:
    """The same in full; the counts are printed."""
    found = counted(range(500), tmp_path, {"stimuli": 1, "fit": 1, "gstudy": 1, "scaling": 1})
    print(dict(sorted(found.items())))
    assert sum(found.values()) == 2000
