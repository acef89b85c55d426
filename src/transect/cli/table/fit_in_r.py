"""The same fit in R: the table as it was used, and a script that calls lmer, glmer, lm or glm on
it.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from transect.cli.model.rows_file import write_rows
from transect.errors import InputError
from transect.stats.formula.notation import Design, Random, column_of, level_texts, quoted
from transect.stats.mixed.binomial import GeneralizedFit
from transect.stats.table.table_model import TableModel
from transect.store.files.whole_files import write_whole

TABLE, SCRIPT = "table.csv", "model.R"
RESERVED = "if else repeat while function for next break TRUE FALSE NULL Inf NaN NA in".split()
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9._]*")
_CODING = re.compile(r"^(C\(.*, )(sum|treatment)\)\Z")


def export_to_r(model: TableModel, folder: Path, weights: str | None) -> list[Path]:
    """Write FOLDER/table.csv (the columns and rows that were fitted) and FOLDER/model.R; the files."""
    table, script = folder / TABLE, folder / SCRIPT
    columns = [*model.formula.columns, *([weights] if weights else [])]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_rows(table, _as_r_reads(model.rows[list(dict.fromkeys(columns))], _response(model)))
        text = r_script(model, weights)
        write_whole(script, lambda part: Path(part).write_text(text, encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"--export-r {folder}: this cannot be written ({error.strerror})"
        ) from None
    return [table, script]


def _as_r_reads(rows: pd.DataFrame, response: str) -> pd.DataFrame:
    """The rows with a response of true and false as 1 and 0, which glmer needs, and others of that
    kind as their levels are called.
    """
    truths = {}
    for column in rows:
        if pd.api.types.is_bool_dtype(rows[column]):
            values = rows[column]
            truths[column] = values.astype(int) if column == response else level_texts(values)
    return rows.assign(**truths)


def r_script(model: TableModel, weights: str | None) -> str:
    """R's call of this model: levels in their order, optimised as tightly as here, with the tests
    that are printed.
    """
    call = _function(model)
    libraries = {"lmer": ["lmerTest"], "glmer": ["lme4"]}.get(call, [])
    options = "".join(f", {option}" for option in _options(model, call, weights))
    reading = f'"{TABLE}", check.names = FALSE, encoding = "UTF-8", na.strings = ""{_texts(model)}'
    lines = [
        f"# transect fit: {model.formula.text}",
        *(f"library({name})" for name in libraries),
        f"d <- read.csv({reading})",
        *_levels(model),
        f"m <- {call}({_formula(model)}, data = d{options})",
        "print(summary(m))",
    ]
    if call == "lmer":
        lines.append("print(anova(m, type = 3))")
    return "\n".join([*lines, ""])


def _function(model: TableModel) -> str:
    """R's function: lm, glm, lmer or glmer."""
    binomial = model.family == "binomial"
    if model.formula.random:
        return "glmer" if binomial else "lmer"
    return "glm" if binomial else "lm"


def _options(model: TableModel, call: str, weights: str | None) -> list[str]:
    options = []
    if model.family == "binomial":
        options.append("family = binomial")
    if call == "lmer":
        options.append(f"REML = {'TRUE' if model.method == 'REML' else 'FALSE'}")
    if weights is not None:
        options.append(f"weights = {_name(weights)}")
    if isinstance(model.fit, GeneralizedFit) and model.fit.method != "Laplace":
        options.append(model.fit.method.replace("=", " = "))  # nAGQ
    if model.formula.random:
        tight = 'optimizer = "bobyqa", optCtrl = list(rhoend = 1e-9)'
        options.append(f"control = {call}Control({tight})")
    return options


def _texts(model: TableModel) -> str:
    """The columns whose cells are words here, whatever they look like (01, 1e1, TRUE, NA), and
    which R would read as something else.
    """
    columns = [column for column in model.formula.columns if not _is_number(model, column)]
    if not columns:
        return ""
    classes = ", ".join(f'{_string(column)} = "character"' for column in columns)
    return f", colClasses = c({classes})"


def _response(model: TableModel) -> str:
    """The response's column; of counts none."""
    return "" if model.formula.counts else column_of(model.formula.response)


def _is_number(model: TableModel, column: str) -> bool:
    if pd.api.types.is_bool_dtype(model.rows[column]):
        return column == _response(model)
    return pd.api.types.is_numeric_dtype(model.rows[column])


def _levels(model: TableModel) -> list[str]:
    """Every category as a factor whose levels stand in the order of the model: the first is the
    reference.
    """
    slopes = [Design(random.terms, model.rows) for random in model.formula.random]
    factors = {}
    for design in [model.design, *slopes]:
        for variable, levels in design.levels.items():
            column = f"d[[{_string(column_of(variable))}]]"
            in_order = ", ".join(map(_string, levels))
            factors[column] = f"{column} <- factor({column}, levels = c({in_order}))"
    return list(factors.values())


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _formula(model: TableModel) -> str:
    formula = model.formula
    parts = [] if () in formula.fixed else ["0"]
    parts += [_term(term) for term in formula.fixed if term] or ["1"]
    for variable in formula.offsets:
        parts.append(f"offset({_variable(variable)})")
    for random in formula.random:
        parts += _random(model, random)
    if formula.counts:
        counts = ", ".join(map(_name, formula.counts))
        response = f"cbind({counts})"
    else:
        response = _variable(formula.response)
    return f"{response} ~ {' + '.join(parts)}"


def _name(column: str) -> str:
    """A column's name as R's formulas write it."""
    return column if _PLAIN.fullmatch(column) and column not in RESERVED else f"`{column}`"


def _variable(variable: str) -> str:
    """log10(x), C(x, sum): R's contr.sum; names as R writes them."""
    column = column_of(variable)
    if variable.strip("`") == column:
        return _name(column)
    return _CODING.sub(r"\1contr.\2)", variable.replace(quoted(column), _name(column)))


def _term(term: tuple[str, ...]) -> str:
    return ":".join(map(_variable, term)) or "1"


def _random(model: TableModel, random: Random) -> list[str]:
    """(1 + x | g); effects without correlations one by one, levels of a category as lme4's dummy()."""
    group = _term(random.group)
    if not random.apart:
        effects = [] if () in random.terms else ["0"]
        effects += map(_term, random.terms)
        return [f"({' + '.join(effects)} | {group})"]
    design = Design(random.terms, model.rows)
    parts = []
    for term in random.terms:
        for column in design.columns_of(term):
            parts.append(f"({_single(design, column)} | {group})")
    return parts


def _single(design: Design, column: Sequence[tuple[str, str]]) -> str:
    """One effect by itself: an intercept, or a column of variables, without one."""
    if not column:
        return "1"
    return f"0 + {':'.join(_apart(design, variable, part) for variable, part in column)}"


def _apart(design: Design, variable: str, part: str) -> str:
    """One column of a variable: of a level, of a degree."""
    if variable in design.levels:
        return f"dummy({_name(column_of(variable))}, {_string(part)})"
    name = _variable(variable)
    return f"{name}[, {part}]" if variable in design.polynomials else name
