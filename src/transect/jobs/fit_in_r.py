"""The same fit in R: the table as it was used, and a script that calls lmer, glmer, lm or glm on it."""

import json
import re
from pathlib import Path

from transect.errors import InputError
from transect.files import write_whole
from transect.jobs.rows_file import write_rows
from transect.stats.formula import Design, Random
from transect.stats.table_model import TableModel

TABLE, SCRIPT = "table.csv", "model.R"
_CODING = re.compile(r"^(C\(.*, )(sum|treatment)\)$")


def export_to_r(model: TableModel, folder: Path, weights: str | None) -> list[Path]:
    """Write FOLDER/table.csv (the columns and rows that were fitted) and FOLDER/model.R; the files."""
    table, script = folder / TABLE, folder / SCRIPT
    columns = [*model.formula.columns, *([weights] if weights else [])]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_rows(table, model.rows[list(dict.fromkeys(columns))])
        text = r_script(model, weights)
        write_whole(script, lambda part: Path(part).write_text(text, encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--export-r {folder}: this cannot be written ({error.strerror})") from None
    return [table, script]


def r_script(model: TableModel, weights: str | None) -> str:
    """R's call of this model: levels in their order, optimised as tightly as here, with the tests that are printed."""
    mixed, binomial = bool(model.formula.random), model.family == "binomial"
    call = ("glmer" if binomial else "lmer") if mixed else ("glm" if binomial else "lm")
    options = ["family = binomial"] * binomial
    options += [f"REML = {'TRUE' if model.method == 'REML' else 'FALSE'}"] * (call == "lmer")
    options += [f"weights = d[[{json.dumps(weights)}]]"] * (weights is not None)
    options += [f'control = {call}Control(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-9))'] * mixed
    libraries = {"lmer": ["lmerTest"], "glmer": ["lme4"]}.get(call, [])
    return "\n".join(
        [
            f"# transect fit: {model.formula.text}",
            *(f"library({name})" for name in libraries),
            f'd <- read.csv("{TABLE}", check.names = FALSE, encoding = "UTF-8")',
            *_levels(model),
            f"m <- {call}({_formula(model)}, data = d{''.join(', ' + o for o in options)})",
            "print(summary(m))",
            *(["print(anova(m, type = 3))"] if call == "lmer" else []),
            "",
        ]
    )


def _levels(model: TableModel) -> list[str]:
    """Every category as a factor whose levels stand in the order of the model: the first is the reference."""
    designs = [model.design, *(Design(r.terms, model.rows) for r in model.formula.random)]
    found = {}
    for variable, levels in {k: v for d in designs for k, v in d.levels.items()}.items():
        column = re.sub(r"^\w+\(|(, \w+)?\)$", "", variable).strip("`")
        found[column] = (
            f"d[[{json.dumps(column, ensure_ascii=False)}]] <- factor(d[[{json.dumps(column, ensure_ascii=False)}]], levels = c({_quoted(levels)}))"
        )
    return list(found.values())


def _quoted(levels: list[str]) -> str:
    return ", ".join(json.dumps(level, ensure_ascii=False) for level in levels)


def _formula(model: TableModel) -> str:
    fixed = [_term(term) for term in model.formula.fixed if term] or ["1"]
    intercept = [] if () in model.formula.fixed else ["0"]
    random = [part for r in model.formula.random for part in _random(model, r)]
    return f"{model.formula.response} ~ {' + '.join([*intercept, *fixed, *random])}"


def _term(term: tuple[str, ...]) -> str:
    return ":".join(_CODING.sub(r"\1contr.\2)", v) for v in term) or "1"


def _random(model: TableModel, random: Random) -> list[str]:
    """(1 + x | g); effects without correlations one by one, levels of a category as lme4's dummy()."""
    group = ":".join(random.group)
    if not random.apart:
        effects = [_term(t) for t in random.terms] if () in random.terms else ["0", *(_term(t) for t in random.terms)]
        return [f"({' + '.join(effects)} | {group})"]
    return [f"({_apart(name)} | {group})" for name in Design(random.terms, model.rows).names]


def _apart(name: str) -> str:
    if name == "(Intercept)":
        return "1"
    parts = [
        re.sub(r"^(.*)\[(.*)\]$", lambda m: f"dummy({m[1]}, {json.dumps(m[2])})", part) for part in name.split(":")
    ]
    return "0 + " + ":".join(parts)
