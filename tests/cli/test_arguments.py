"""Arguments of the command line."""

import argparse

import pytest

from transect.cli import arguments


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "x", "²"])
def test_what_is_no_positive_integer_is_refused(text: str) -> None:
    """Also digits that are no number."""
    with pytest.raises(argparse.ArgumentTypeError, match="an integer of at least 1"):
        arguments.positive(text)
    assert arguments.positive("7") == 7


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e999", "x"])
def test_what_is_no_standard_deviation_is_refused(text: str) -> None:
    """It is finite and above 0."""
    with pytest.raises(argparse.ArgumentTypeError, match="a number above 0"):
        arguments.above_zero(text)
    assert arguments.above_zero("0.5") == 0.5


def test_an_error_of_a_subcommand_shows_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    """The address that was too much is told without its password."""
    parser = arguments.Parser(prog="x")
    parser.add_subparsers().add_parser("run")
    with pytest.raises(SystemExit):
        parser.parse_args(["run", "https://user:S3CRET@h.example/"])
    told = capsys.readouterr().err
    assert "unrecognized arguments: https://***@h.example/" in told
