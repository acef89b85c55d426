"""Languages by code."""

import pytest

from transect.errors import InputError
from transect.registry import languages, suites
from transect.store.project import SHIPPED, Project


def test_a_described_language() -> None:
    """Family and type of a language of the registry."""
    found = languages.find("tur")
    assert (found.name, found.family, found.morphology) == ("Turkish", "Turkic", "agglutinative")


def test_a_language_that_the_table_lacks() -> None:
    """Any code of ISO 639-3 is one; what is not described is unknown."""
    found = languages.find("nci")
    assert (found.name, found.family, found.morphology) == ("Classical Nahuatl", None, None)


def test_a_macrolanguage_is_described_through_one_of_its_languages() -> None:
    """URIEL holds Standard Arabic (arb), not the macrolanguage."""
    assert languages.find("ara").uriel == "arb" and languages.find("arb").macrolanguage == "ara"


@pytest.mark.parametrize(
    ("code", "guess"), [("en", "'eng'"), ("spanish", "'spa'"), ("egn", "'eng'|")]
)
def test_a_code_that_is_no_language(code: str, guess: str) -> None:
    """One sentence with the nearest guess, for codes of two letters and names too."""
    with pytest.raises(InputError, match=rf"{code!r} is no language of ISO 639-3.*{guess}"):
        languages.find(code)


def test_a_suite_file_with_a_wrong_code(tmp_path) -> None:
    """File, line, run, and the code."""
    folder = tmp_path / "model_registry"
    folder.mkdir()
    (folder / "demo.yaml").write_text(
        "suite: demo\ntitle: D\ndescription: D\nsources: {}\ncheckpoints: {last: {revision: main, steps: [null]}}\nruns:\n"
        "- {id: a, hub_id: o/a, model_type: gpt2, objective: causal, mixer: attention, architecture: gpt2, checkpoints: last, language: qqq}\n"
    )
    with pytest.raises(
        InputError, match=r"demo.yaml, line 7: run 'a', languages: 'qqq' is no language"
    ):
        suites.load(Project(tmp_path))


def test_every_language_of_the_registry_has_a_family() -> None:
    """languages.csv holds every language of a shipped run; family or, for what has none, the word
    for it.
    """
    spoken = {
        s["iso"]
        for r in suites.load(Project(SHIPPED)).runs.values()
        for s in r.get("languages", [])
    }
    assert not {code for code in spoken - set(languages.SPECIAL) if not languages.find(code).family}


def test_the_family_is_a_factor_of_a_run() -> None:
    """Queries select by family and morphological type."""
    runs = suites.load(Project(SHIPPED)).select(
        "suite == 'goldfish' and language_family == 'Turkic' and budget == '100mb'"
    )
    assert {"tur", "kaz"} <= {r.get("language") for r in runs} and all(
        r.values()["morphology"] == "agglutinative" for r in runs
    )
