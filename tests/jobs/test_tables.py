"""Tables are read by how their name ends, compressed or not, and refused in one sentence."""

from pathlib import Path

import pandas as pd
import pytest

from transect.errors import InputError
from transect.jobs.tables import COMPRESSED, p_text, read

FRAME = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]})


@pytest.mark.parametrize("packed", ["", *COMPRESSED])
@pytest.mark.parametrize(("suffix", "sep"), [(".csv", ","), (".tsv", "\t")])
def test_csv_and_tsv_are_read_compressed_or_not(suffix: str, sep: str, packed: str, tmp_path: Path) -> None:
    """The same table from each."""
    path = tmp_path / f"v1.2{suffix}{packed}"
    FRAME.to_csv(path, sep=sep, index=False)
    pd.testing.assert_frame_equal(read(path), FRAME)


@pytest.mark.parametrize("name", ["t.csv.bak", "t.parquet.gz", "t.xlsx", "t"])
def test_other_endings_are_refused(name: str, tmp_path: Path) -> None:
    """A name that only holds .csv is no CSV file."""
    (tmp_path / name).write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="a table ends in"):
        read(tmp_path / name)


@pytest.mark.parametrize("packed", COMPRESSED)
def test_a_broken_file_is_one_sentence(packed: str, tmp_path: Path) -> None:
    """What is not compressed cannot be unpacked."""
    (tmp_path / f"t.csv{packed}").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="cannot be read as csv"):
        read(tmp_path / f"t.csv{packed}")


def test_a_p_is_never_0() -> None:
    """Four decimals, a power of ten, and a bound where the distribution's tail has ended."""
    assert [p_text(p) for p in (0.01234, 1.23e-7, 0.0)] == ["0.0123", "1.2e-07", "<1e-300"]
