"""What is wrong with a command line, as one sentence."""

import pytest

from transect.cli.main import main


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["runn"], "`transect` has no command 'runn'. Did you mean 'run'? Commands: init, plan,"),
        (["registry", "lst"], "`transect registry` has no command 'lst'. Did you mean 'list'?"),
        (["fit", "t", "f", "--famly=x"], "has no option '--famly'. Did you mean '--family'?"),
        (["fit", "t", "f", "--means"], "--means needs a value (FACTOR)"),
        (["fit", "t"], "`transect fit` needs the argument FORMULA; see `transect fit --help`."),
        (["fit", "t", "f", "g"], "`transect fit` takes no more arguments, but got 'g'"),
        (["scaling", "t", "--y", "a"], "`transect scaling` needs the option --x COLUMN[,COLUMN]"),
        (["fit", "t", "f", "--family", "gausian"], "choose one of gaussian, binomial. Did you"),
        (["fit", "t", "f", "-n", "99"], "-n: '99' bootstrap samples; give a whole number of at"),
        (["fit", "t", "f", "--fast", "--quadrature", "9"], "--fast and --quadrature exclude"),
        (["registry", "audit", "s", "--listing", "a", "--measured", "b"], "exclude each other"),
        (["run", "s", "--cores", "many"], "--cores: 'many' is not allowed; it must be an integer"),
    ],
)
def test_a_wrong_command_line_is_one_sentence(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was given, what is allowed and the nearest guess, in one line on stderr; code 2."""
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert sentence in err and err.startswith("transect: ") and err.count("\n") == 1 and not out
