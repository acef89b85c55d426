"""What was read wrongly once, from the file to the numbers: levels called None, mixed ids,
decimals, durations, lists beside.
"""

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transect.cli.main import main
from transect.cli.table.fit import Beside, fit_file
from transect.cli.table.gstudy import gstudy
from transect.cli.table.scaling import scaling_file

# yields of nlme's Alfalfa (Snedecor & Cochran 1980): per variety, six blocks of four dates
DATES = ("None", "S1", "S20", "O7")
ALFALFA = {
    "Ladak": "2.17 1.58 2.29 2.23 1.88 1.26 1.60 2.01 1.62 1.22 1.67 1.82 2.34 1.59 1.91 2.10 1.58 1.25 1.39 1.66 1.66 0.94 1.12 1.10",
    "Cossack": "2.33 1.38 1.86 2.27 2.01 1.30 1.70 1.81 1.70 1.85 1.81 2.01 1.78 1.09 1.54 1.40 1.42 1.13 1.67 1.31 1.35 1.06 0.88 1.06",
    "Ranger": "1.75 1.52 1.55 1.56 1.95 1.47 1.61 1.72 2.13 1.80 1.82 1.99 1.78 1.37 1.56 1.55 1.31 1.01 1.23 1.51 1.30 1.31 1.13 1.33",
}


def alfalfa() -> str:
    lines = [
        f'"{variety}","{DATES[i % 4]}","{i // 4 + 1}",{value}'
        for variety, values in ALFALFA.items()
        for i, value in enumerate(values.split())
    ]
    return "\n".join(['"Variety","Date","Block","Yield"', *lines, ""])


@pytest.mark.parametrize("quote", ['"', ""])
def test_a_level_called_none_is_a_level(quote: str, tmp_path: Path) -> None:
    """lme4 on the 72 rows, None the reference: criterion 2.34743, three contrasts, se 0.05657; with
    or without quotes.
    """
    (tmp_path / "Alfalfa.csv").write_text(alfalfa().replace('"', quote))
    formula = "Yield ~ Date + Variety + (1 | Block/Variety)"
    model, found = fit_file(tmp_path / "Alfalfa.csv", formula, allow_pseudoreplication=True)
    assert model.fit.n == 72 and found["left_out_rows"].empty
    assert model.fit.criterion == pytest.approx(2.34743, abs=1e-5)
    effects = model.effects.set_index("term").loc[["Date[S1]", "Date[S20]", "Date[O7]"]]
    assert effects["estimate"].tolist() == pytest.approx([-0.44056, -0.20667, -0.09], abs=1e-5)
    assert effects["se"].tolist() == pytest.approx([0.05657] * 3, abs=1e-5)


def test_levels_called_none_and_nan_are_levels_of_a_facet(tmp_path: Path) -> None:
    """5 kinds of positions x 12 items: 60 scores and 5 levels, not 36 and 3."""
    rng = np.random.default_rng(1)
    kinds = ["None", "nan", "alibi", "rope", "learned"]
    rows = [f"{kind},i{i},{rng.normal():.4f}" for kind in kinds for i in range(12)]
    (tmp_path / "t.csv").write_text("\n".join(["pos,item,score", *rows]))
    found = gstudy(tmp_path / "t.csv", "score ~ pos x item")
    assert (found["cells"], found["missing"], found["components"][0]["levels"]) == (60, 0, 5)


def test_a_family_called_none_is_a_family(tmp_path: Path) -> None:
    """4 families x 12 sizes: no row is lost, and what is lost is told by column and sign."""
    rng = np.random.default_rng(2)
    rows = [
        f"{family},{10 ** (6 + k / 4):.0f},{4 - 0.2 * k / 4 + rng.normal(0, 0.02):.4f}"
        for family in ("None", "null", "a", "b")
        for k in range(12)
    ]
    rows[5] = rows[5].rsplit(",", 1)[0] + ",N/A"
    (tmp_path / "t.csv").write_text("\n".join(["family,params,loss", *rows]))
    found = scaling_file(tmp_path / "t.csv", "loss", ["params"], "family", forms=["power"], n=100)
    assert found["n_rows"] == 47 and found["left_out"] == [
        {"column": "loss", "sign": "N/A", "rows": 1}
    ]


def crossed(n_items: int = 8) -> pd.DataFrame:
    """6 runs x items: y with effects of x (0, 1, ... by item), run and item."""
    rng = np.random.default_rng(3)
    run, item = (g.ravel() for g in np.meshgrid(np.arange(6), np.arange(n_items), indexing="ij"))
    y = (
        0.3 * item
        + rng.normal(0, 1, 6)[run]
        + rng.normal(0, 1, n_items)[item]
        + rng.normal(0, 1, 6 * n_items)
    )
    return pd.DataFrame({"y": y, "x": item / 4, "run": run.astype(str), "item": item.astype(str)})


def test_ids_of_numbers_and_words_are_levels_of_a_fixed_factor(tmp_path: Path) -> None:
    """7 beside x17: text, eight levels, as their names say."""
    frame = crossed()
    frame["item"] = frame["item"].replace("3", "x17")
    frame.to_csv(tmp_path / "t.csv", index=False)
    model, _ = fit_file(tmp_path / "t.csv", "y ~ item + (1 | run)")
    assert "item[x17]" in model.effects["term"].tolist() and len(model.effects) == 8


FORMULA = "y ~ x + (1 | run) + (1 | item)"


def as_parquet(folder: Path, **columns: pa.Array) -> Path:
    frame = crossed()
    table = {name: pa.array(frame[name]) for name in frame} | columns
    pq.write_table(pa.table(table), folder / "t.parquet")
    return folder / "t.parquet"


def test_decimals_and_durations_are_numbers(tmp_path: Path) -> None:
    """x and y as decimals, x as a duration in seconds: the criterion and slope of the same floats,
    one coefficient of x.
    """
    plain = crossed()
    y = [Decimal(repr(round(v, 6))) for v in plain["y"]]
    right = fit_file(as_parquet(tmp_path, y=pa.array([float(v) for v in y])), FORMULA)[0]
    decimals = [Decimal(repr(v)) for v in plain["x"]]
    durations = pa.array([timedelta(seconds=v) for v in plain["x"]], pa.duration("us"))
    for x in (pa.array(decimals, pa.decimal128(8, 4)), durations):
        found = fit_file(as_parquet(tmp_path, x=x, y=pa.array(y, pa.decimal128(12, 6))), FORMULA)[0]
        assert found.effects["term"].tolist() == ["(Intercept)", "x"]
        assert found.fit.criterion == pytest.approx(right.fit.criterion, abs=1e-9)
        assert found.effects["estimate"].tolist() == pytest.approx(
            right.effects["estimate"].tolist(), rel=1e-9
        )


def test_the_first_level_of_a_category_is_the_reference(tmp_path: Path) -> None:
    """Levels (b, a): the effect is that of a against b, as in R; its sign is the other one than
    from text.
    """
    words = ["a" if v % 2 else "b" for v in range(48)]
    codes = pa.array([w == "a" for w in words]).cast(pa.int8())
    category = pa.DictionaryArray.from_arrays(codes, pa.array(["b", "a", "unused"]))
    formula = "y ~ cond + (1 | run)"
    text = fit_file(
        as_parquet(tmp_path, cond=pa.array(words)), formula, allow_pseudoreplication=True
    )[0].effects
    found = fit_file(as_parquet(tmp_path, cond=category), formula, allow_pseudoreplication=True)[
        0
    ].effects
    assert [text["term"][1], found["term"][1]] == ["cond[b]", "cond[a]"]
    assert found["estimate"][1] == pytest.approx(-text["estimate"][1], rel=1e-9)


def test_lists_and_structs_beside_are_no_matter(tmp_path: Path) -> None:
    """Token ids and offsets, which scorers write: the fit is that without them; used, they are
    refused by name.
    """
    right = fit_file(as_parquet(tmp_path), FORMULA)[0]
    path = as_parquet(
        tmp_path, toks=pa.array([[1, 2, 3]] * 48), span=pa.array([{"from": 1, "to": 2}] * 48)
    )
    assert fit_file(path, FORMULA)[0].as_json() == right.as_json()
    assert main(["fit", str(path), "y ~ x + toks + (1 | run) + (1 | item)"]) == 2


def test_a_matrix_of_languages_called_nan_and_none(tmp_path: Path) -> None:
    """Its labels are words, in CSV with semicolons as in Parquet, whose index pandas writes last:
    one lambda.
    """
    names, rng = ["nan", "None", "deu", "fra", "null", "ita"], np.random.default_rng(4)
    rows = [(name, k / 3, rng.normal() + 0.1 * k) for k, name in enumerate(names) for _ in range(4)]
    pd.DataFrame(rows, columns=["lang", "x", "y"]).to_csv(tmp_path / "t.csv", index=False)
    distances = np.abs(np.subtract.outer(np.arange(6.0), np.arange(6.0)))
    matrix = pd.DataFrame(distances, index=names, columns=names)
    matrix.to_csv(tmp_path / "m.CSV", sep=";", decimal=",")
    matrix.to_parquet(tmp_path / "m.parquet")
    found = [
        fit_file(
            tmp_path / "t.csv", "y ~ x + (1 | lang)", Beside(relatedness=tmp_path / name, of="lang")
        )[1]
        for name in ("m.CSV", "m.parquet")
    ]
    lambdas = [f["relatedness"]["lambda"]["estimate"] for f in found]
    assert found[0]["relatedness"]["n_levels"] == 6 and lambdas[0] == pytest.approx(
        lambdas[1], abs=1e-12
    )


def test_what_was_left_out_and_doubted_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By column and sign, in the summary and as JSON; quoted thousands have one note; groupings
    have none.
    """
    frame = crossed().astype({"x": object})
    frame["x"] = [f"{1000 + 250 * v:,.0f}" for v in crossed()["x"]]
    frame["y"] = frame["y"].round(4).astype(str)
    frame.loc[[3, 9], "y"], frame.loc[20, "y"] = "N/A", "."
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert main(["fit", str(tmp_path / "t.csv"), "y ~ x + (1 | run)"]) == 0
    text = capsys.readouterr().out
    assert "2 rows: y is N/A" in text and "1 row: y is ." in text
    assert text.count("numbers with separators, e.g. '1,000'") == 1
    assert main(["fit", str(tmp_path / "t.csv"), "y ~ x + (1 | run)", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [part["sign"] for part in found["left_out_rows"]] == ["N/A", "."] and len(
        found["table_notes"]
    ) == 1


def test_a_refusal_says_why_a_column_is_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One word among the numbers of y."""
    frame = crossed().astype({"y": object})
    frame.loc[7, "y"] = "timeout"
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert main(["fit", str(tmp_path / "t.csv"), FORMULA]) == 2
    assert "holds numbers, but 'timeout' is none" in capsys.readouterr().err
