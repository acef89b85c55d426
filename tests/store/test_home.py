"""The home folder in what others read."""

from pathlib import Path

import pytest

from transect.store import home


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    home._pattern.cache_clear()
    yield
    home._pattern.cache_clear()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/home/ada/models/x: no config.json", "~/models/x: no config.json"),
        ("in '/home/ada' and (/home/ada/b)", "in '~' and (~/b)"),
        ('{"path": "/home/ada/x"}', '{"path": "~/x"}'),
        ("file:///home/ada/x", "file://~/x"),
        (
            "/home/adam/x /mnt/home/ada/x /home/ada.old/x ~/home/ada",
            "/home/adam/x /mnt/home/ada/x /home/ada.old/x ~/home/ada",
        ),
    ],
)
def test_it_is_told_as_a_tilde(text: str, told: str) -> None:
    """Where it begins a path; another folder whose name begins so, or in which such a path stands,
    is left alone.
    """
    assert home.without_home(text) == told


def test_the_root_is_nobodys_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container the home folder may be /; then every path stays as it is."""
    monkeypatch.setenv("HOME", "/")
    assert home.without_home("/data/x") == "/data/x"


def test_nothing_of_it_is_stored(tmp_path: Path) -> None:
    """A failed cell's reason and its provenance, as the store writes them."""
    from transect.store.cell_store import FAILED, Record, Store

    told = {"reason": "/home/ada/models/x has no config.json", "kind": "data"}
    record = Record("k" * 64, "run", "main", "m", "s", FAILED, **told)
    store = Store(tmp_path)
    store.write([record], {}, {"error": "/home/ada/models/x", "traceback": 'File "/home/ada/y.py"'})
    assert store.index().loc["k" * 64, "reason"] == "~/models/x has no config.json"
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert len(files) >= 2 and not any(b"/home/ada" in p.read_bytes() for p in files)
