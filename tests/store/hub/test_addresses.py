"""Addresses: which may be called and kept, and that no secret of one is repeated."""

import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from transect.store.hub import addresses

NAMES = (
    "api-key",
    "api_key",
    "apikey",
    "key",
    "Key",
    "token",
    "access_token",
    "code",
    "sig",
    "signature",
    "X-Amz-Signature",
    "subscription-key",
    "Ocp-Apim-Subscription-Key",
    "auth",
    "Authorization",
    "password",
    "client_secret",
    "api%2Dkey",
    "api%5Fkey",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "form", ["?{}=S3CRET", "?api-version=2024-02-01&{}=S3CRET", "?a=1;{}=S3CRET", "#{}=S3CRET"]
)
def test_fields_that_hold_a_key_are_refused(name: str, form: str) -> None:
    """Under each name that providers give it, wherever it stands; neither the sentence nor what is
    shown repeats it.
    """
    url = "https://h.example/v1/chat" + form.format(name)
    assert f"carries the field {name!r}" in addresses.fault(url)
    assert "S3CRET" not in addresses.fault(url) + addresses.shown(f"see {url} there")
    assert addresses.secret_in(f"line one\nsee {url}")[0] == 13


@pytest.mark.parametrize("form", ["?{}", "?k={}", "?v=1&{}", "#{}", "?a=1;b={}"])
@pytest.mark.parametrize("begin", ["sk-", "sk-proj-", "hf_", "AIza", "gsk_"])
def test_what_looks_like_a_key_is_refused(form: str, begin: str) -> None:
    """Under any name or none; in a path such a beginning may be a name."""
    url = "https://h.example/v1" + form.format(f"{begin}S3CRETS3CRETS3CRET")
    assert "carries what looks like a key" in addresses.fault(url)
    assert "S3CRET" not in addresses.fault(url) + addresses.shown(url)
    assert addresses.fault("https://h.example/sk-wiki-20200101-articles?lang=sk-SK") == ""


@pytest.mark.parametrize(
    "user", ["user:S3CRET@", "S3CRET@", ":S3CRET@", "user:S3CRET\\@", "a@b:S3CRET@", "u:S%333CRET@"]
)
def test_what_stands_before_a_host_is_refused(user: str) -> None:
    """A name, a password, both; and it is not shown."""
    url = f"https://{user}h.example/v1?model=a"
    assert "carries a user name or a password" in addresses.fault(url)
    assert addresses.shown(f"at {url}.") == "at https://***@h.example/v1?model=a."
    assert "S3CRET" not in addresses.shown(f"/tmp/x/{Path(url)}: there is no such file.")


@pytest.mark.parametrize(
    "url",
    [
        "https://h.example/v1?api-version=2024-02-01&deployment=m",
        "https://h.example/@user/x",
        "http://[::1]:8000/v1",
        "http://localhost/v1",
        "https://xn--bcher-kva.example/%C3%A9",
        "https://h.example/?key=",
    ],
)
def test_other_addresses_are_left_alone(url: str) -> None:
    """Versions, names, ports, escapes; a field without a value holds nothing."""
    assert (
        addresses.fault(url) == ""
        and addresses.shown(url) == url
        and addresses.secret_in(url) is None
    )


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000/v1",
        "ftp://h/x",
        "file:///etc/passwd",
        "https://",
        "https:///x",
        "https://h:port/",
        "https://h:99999/",
        "http://[::1/",
        "https://h\u2024example/",
        "https://h.example/a b",
        "https://h.example/a\n",
        "https://a..b/",
        f"https://{'a' * 64}.example/",
        "https://bücher.example/",
    ],
)
def test_what_cannot_be_called_is_told(url: str) -> None:
    """In a clause, where urllib raises errors of six kinds."""
    assert addresses.fault(url)


@pytest.mark.parametrize(
    "text",
    [
        "a" * 10**6,
        "a://" * 10**5,
        "http://h/" + "?" * 10**5,
        "http://" + "@" * 10**5,
        "http://h/?" + "a=" * 10**5,
    ],
)
def test_long_texts_are_looked_at_once(text: str) -> None:
    """No pattern goes back and forth: a megabyte takes seconds at most."""
    start = time.process_time()
    addresses.secret_in(text), addresses.shown(text)
    assert time.process_time() - start < 5


def test_how_a_place_is_called_is_no_secret() -> None:
    """git@host in an address of ssh; a password there is one."""
    assert addresses.secret_in("clone ssh://git@github.com/a/b") is None
    assert addresses.secret_in("clone ssh://git:S3CRET@github.com/a/b")
    assert addresses.secret_in("folder:/data/a@b and mail to:a@b.example") is None


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("LOCALHOST:80", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("[::1]:80", True),
        ("0.0.0.0", False),
        ("127.1", False),
        ("[::]", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("2130706433", False),
    ],
)
def test_this_machine(host: str, here: bool) -> None:
    """Its name and the loopback addresses of RFC 1122 and RFC 4291 in full; no other form."""
    assert addresses.is_here(urlsplit(f"http://{host}/v1")) is here
