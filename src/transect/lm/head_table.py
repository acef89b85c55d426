"""Tables of one number per head: rows of a measure, 0-based layers and heads."""

import numpy as np
import pandas as pd

from transect.lm.model import Model
from transect.lm.repeats import Repeats, refused

COLUMNS = ["item", "metric", "value", "layer", "head", "error"]


def head_rows(item: str, metric: str, scores: np.ndarray) -> pd.DataFrame:
    """The rows of scores [layer, head]: columns item, metric, value, layer, head."""
    layers, heads = np.indices(scores.shape)
    return pd.DataFrame(
        {
            "item": item,
            "metric": metric,
            "value": scores.ravel(),
            "layer": layers.ravel(),
            "head": heads.ravel(),
        }
    )


def means(model: Model, condition: Repeats, metric: str, scores: np.ndarray) -> pd.DataFrame:
    """The rows of the means over sequences of scores [layer, sequence, head], and one of each
    sequence that has no numbers: with an error and no value. Where none has any, the condition has
    that one row alone."""
    lacking = ~np.isfinite(scores).all((0, 2))
    tables = (
        [] if lacking.all() else [head_rows(condition.name, metric, scores[:, ~lacking].mean(1))]
    )
    if lacking.any():
        told = refused(model, condition, lacking)
        tables.append(
            pd.DataFrame(told, columns=["item", "error"]).assign(metric=metric, value=np.nan)
        )
    return pd.concat(tables, ignore_index=True)
