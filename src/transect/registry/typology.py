"""How unlike languages are: features of URIEL (Littell et al. 2017, EACL) and distances between
their vectors.

    distance(a, b) = 1 - cos(f_a, f_b)        f: the features of a set in which gaps are filled by the nearest languages (*_knn)
Which share of a language's syntax was filled in that way stands beside it (`imputed`): most of
URIEL's cells are gaps.

lang2vec 1.1.2 carries the data (13 MB, CC BY-SA 4.0) and needs no network; it is the optional extra
`languages`. Its own distances are not in that release. It writes a gap as "--" among numbers, and
calls languages mostly by individual codes.
"""

import sys
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from transect.errors import InputError, nearest
from transect.registry.languages import find

SETS = ("syntax_knn", "phonology_knn", "inventory_knn", "syntax_wals", "phonology_wals")
OBSERVED = "syntax_wals"
GAP = "--"


def features(codes: Sequence[str], kind: str = "syntax_knn") -> pd.DataFrame:
    """URIEL's features [language, feature], 0 to 1, NaN where unknown. Rows of languages that URIEL
    lacks are all NaN.

    Raises InputError for a set that does not exist, a code that is no language, and where lang2vec
    is not installed.
    """
    if kind not in SETS:
        raise InputError(
            f"There is no set of features {kind!r}; there are {', '.join(SETS)}.{nearest(kind, SETS)}"
        )
    names = {code: find(code).uriel for code in codes}
    table = _table(kind)
    rows = {}
    for code, name in names.items():
        if name is not None and name in table.index:
            rows[code] = table.loc[name]
        else:
            rows[code] = pd.Series(np.nan, table.columns)
    return pd.DataFrame(rows).T.astype(float)


def imputed(codes: Sequence[str]) -> pd.Series:
    """Share of a language's features of syntax that URIEL did not observe (1: none was)."""
    shares: pd.Series = features(codes, OBSERVED).isna().mean(axis=1)
    return shares


def distances(codes: Sequence[str], kind: str = "syntax_knn") -> pd.DataFrame:
    """Distances [language, language], 0 to 1; NaN for a language that URIEL lacks."""
    f = features(codes, kind).to_numpy()
    length = np.sqrt((f**2).sum(1))
    cosine = f @ f.T / np.outer(length, length)
    distance = np.clip(1 - cosine, 0, 1)
    to_itself = np.where(np.isnan(length), np.nan, 0.0)
    np.fill_diagonal(distance, to_itself)
    languages = list(codes)
    return pd.DataFrame(distance, index=languages, columns=languages)


@lru_cache(maxsize=len(SETS))
def _table(kind: str) -> pd.DataFrame:
    uriel = _uriel()
    codes = sorted(str(code) for code in uriel.available_languages())
    values = uriel.get_features(codes, kind, header=True)
    names = [str(name) for name in values.pop("CODE")]
    rows = {}
    for code in codes:
        rows[code] = [np.nan if value == GAP else float(value) for value in values[code]]
    return pd.DataFrame.from_dict(rows, orient="index", columns=names)


def _uriel() -> Any:
    path = sys.path
    # lang2vec also installs a program lang2vec.py; where `transect` is started from the folder of
    # programs, that would be imported
    sys.path = [folder for folder in path if not Path(folder, "lang2vec.py").is_file()]
    try:
        with warnings.catch_warnings():  # it imports pkg_resources, which warns
            warnings.simplefilter("ignore")
            import lang2vec.lang2vec as uriel
    except ImportError as error:
        raise InputError(
            f"features of languages need the extra `languages`: pip install 'transect[languages]' ({error})."
        ) from None
    finally:
        sys.path = path
    return uriel
