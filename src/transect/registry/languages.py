"""Languages by their ISO 639-3 code: name, family, morphological type.

Facts on the registry's languages stand in model_registry/languages.csv: names and macrolanguages
from ISO 639-3 (SIL), families those of Glottolog as URIEL holds them (lang2vec 1.1.2, CC BY-SA 4.0)
or, where `family_known` is memory, general knowledge; morphological types (isolating, analytic,
agglutinative, fusional, introflexive, polysynthetic: what prevails) are general knowledge
throughout. Any other code is looked up in the tables of python-iso639.
"""

import csv
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from transect.errors import InputError, nearest
from transect.store.project import SHIPPED

TABLE = SHIPPED / "model_registry" / "languages.csv"
SPECIAL = {
    "mis": "uncoded",
    "mul": "several",
    "und": "undetermined",
    "zxx": "no linguistic content",
}


@dataclass(frozen=True)
class Language:
    """One language; None is unknown. `uriel` is the code under which URIEL describes it."""

    iso: str
    name: str
    scope: str
    macrolanguage: str | None
    family: str | None
    morphology: str | None
    uriel: str | None


@lru_cache(maxsize=1)
def described() -> dict[str, Language]:
    """The languages of languages.csv."""
    with Path(TABLE).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        r["iso"]: Language(
            r["iso"],
            r["name"],
            r["scope"],
            r["macrolanguage"] or None,
            r["family"] or None,
            r["morphology"] or None,
            r["uriel"] or None,
        )
        for r in rows
    }


def is_named_by(label: str) -> bool:
    """Whether a label is meant as a language: two or three letters (a code), or the name of a
    described language. Others are of the suite.
    """
    return re.fullmatch("[a-z]{2,3}", label) is not None or label.lower() in _names()


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    return frozenset(language.name.lower() for language in described().values())


@cache
def find(code: str) -> Language:
    """The language of a code. Raises InputError for a code that is no language, with the nearest
    guess.
    """
    if code in described():
        return described()[code]
    if code in SPECIAL:
        return Language(code, SPECIAL[code], "special", None, None, None, None)
    import iso639  # half a second: only for codes that the table lacks

    try:
        entry = iso639.Language.from_part3(code)
    except iso639.LanguageNotFoundError:
        raise InputError(f"{code!r} is no language of ISO 639-3.{_guess(code)}") from None
    scope = {"I": "individual", "M": "macrolanguage", "S": "special"}.get(
        entry.scope or "", "individual"
    )
    return Language(code, entry.name, scope, entry.macrolanguage, None, None, None)


def _guess(code: str) -> str:
    """The code of three letters for one of two or for a name; else the nearest of the described
    ones.
    """
    import iso639

    try:
        meant = iso639.Language.match(code)
    except iso639.LanguageNotFoundError:
        return nearest(code, described())
    return f" Did you mean {meant.part3!r}?" if meant.part3 else nearest(code, described())
