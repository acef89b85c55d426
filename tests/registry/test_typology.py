"""Features of URIEL; the figures are those that were measured with lang2vec 1.1.2 when its traps
were found.
"""

import sys
from pathlib import Path

import numpy as np
import pytest

from transect.errors import InputError
from transect.registry import languages, typology

pytestmark = pytest.mark.slow  # lang2vec takes ten seconds to read its tables


def test_distances() -> None:
    """1 - cosine of the filled-in features of syntax: English to Spanish 0.178, to Japanese 0.500."""
    found = typology.distances(["eng", "spa", "jpn"])
    assert found.loc["eng", ["spa", "jpn"]].tolist() == pytest.approx([0.178, 0.500], abs=5e-4)
    assert np.diag(found).tolist() == [0, 0, 0]


def test_a_program_of_that_name_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """lang2vec installs a script lang2vec.py beside `transect`, whose folder is the first of
    sys.path when that is started.
    """
    (tmp_path / "lang2vec.py").write_text("raise OSError('the program, not the package')")
    for name in [n for n in sys.modules if n.split(".")[0] == "lang2vec"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    assert typology._uriel().FEATURE_SETS
    assert sys.path[0] == str(tmp_path)


def test_what_was_not_observed() -> None:
    """Missing of 103 features of syntax: English 5, Mandarin 12, Maltese 97, Standard Estonian all."""
    found = typology.imputed(["eng", "cmn", "mlt", "ekk"]) * 103
    assert found.tolist() == pytest.approx([5, 12, 97, 103])


def test_a_macrolanguage_has_the_features_of_its_language() -> None:
    """Arabic is described as Standard Arabic."""
    found = typology.features(["ara", "arb"])
    assert found.loc["ara"].equals(found.loc["arb"])


def test_a_language_that_uriel_lacks_is_unknown() -> None:
    """Never 0: its features and distances are missing."""
    assert (
        typology.features(["tlh"]).isna().all(axis=None)
        and typology.distances(["tlh", "eng"]).isna().sum().sum() == 3
    )


def test_most_languages_of_the_registry_have_distances() -> None:
    """All but those for which URIEL has no code."""
    codes = list(languages.described())
    known = typology.features(codes).notna().all(axis=1)
    assert known.sum() == sum(
        language.uriel is not None for language in languages.described().values()
    )


def test_an_unknown_set() -> None:
    """Told with what there is."""
    with pytest.raises(InputError, match="no set of features 'semantics'; there are syntax_knn"):
        typology.features(["eng"], "semantics")
