"""How the hub is asked: where the token goes, and that no answer of a hub shows it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from transect.errors import LoadError, ResourceError, UnavailableError
from transect.store.hub import snapshots
from transect.store.hub.access import access, told

TOKEN = "hf_CANARYTOKENoftests"
PROXIES = (
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)


@contextmanager
def serve(
    status: int, host: str = "127.0.0.1", **headers: str
) -> Iterator[tuple[str, list[str | None]]]:
    """The address of a hub that answers everything so, and the Authorization headers that it got."""
    got: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Silence."""

        def do_GET(self) -> None:
            got.append(self.headers["Authorization"])
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value.replace("PATH", self.path))
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://{host}:{server.server_port}", got
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("endpoint", "sent"),
    [
        ("", True),
        ("https://mirror.example", True),
        ("http://localhost:8080", True),
        ("http://127.0.0.1", True),
        ("http://mirror.example", False),
    ],
)
def test_the_token_goes_over_https_or_to_this_machine(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, sent: bool
) -> None:
    """None lets huggingface_hub send it, False forbids it."""
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    assert access() == {"endpoint": endpoint or None, "token": None if sent else False}


@pytest.mark.parametrize("name", ["http_proxy", "all_proxy"])
def test_no_proxy_gets_the_token(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A mirror on this machine that is asked through a proxy is asked without it; past the proxy,
    with it.
    """
    monkeypatch.setenv("HF_ENDPOINT", "http://localhost:8080")
    monkeypatch.setenv(name, "http://proxy.example:3128")
    assert access()["token"] is False
    monkeypatch.setenv("no_proxy", "localhost")
    assert access()["token"] is None


@pytest.mark.parametrize(
    "endpoint",
    ["https://user:S3CRET@mirror.example", "https://mirror.example?token=S3CRET", "S3CRET"],
)
def test_an_endpoint_with_a_secret_is_refused(
    monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    """In one sentence that does not repeat it, and that says where the token is read."""
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(UnavailableError, match="HF_ENDPOINT .*is read from HF_TOKEN") as error:
        access()
    assert "S3CRET" not in str(error.value)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
def test_a_hub_that_echoes_the_token_is_told_without_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int
) -> None:
    """It got the token, and neither the error nor what it was raised from shows it."""
    with serve(status, X_Error_Message=f"Invalid token {TOKEN}", X_Request_Id=TOKEN.lower()) as (
        url,
        got,
    ):
        monkeypatch.setenv("HF_ENDPOINT", url)
        with pytest.raises((LoadError, ResourceError)) as error:
            snapshots.resolve("lab/model", cache=tmp_path)
    shown = f"{error.value}{error.value.__cause__ or ''}".lower()
    assert f"Bearer {TOKEN}" in got and TOKEN.lower() not in shown


def test_what_an_error_says_is_one_short_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the token and the passwords of addresses, masked before it is cut."""
    shown = told(ValueError("x" * 190 + f" {TOKEN} \n https://user:S3CRET@proxy.example"))
    assert shown == "x" * 190 + " *** https" and told(ValueError()) == "ValueError"
    assert told(ValueError("https://user:S3CRET@proxy.example")) == "https://***@proxy.example"


def test_another_host_gets_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """A redirect to it is followed without the header."""
    from huggingface_hub import HfApi

    with (
        serve(404, host="localhost") as (other, elsewhere),
        serve(302, Location=f"{other}PATH") as (url, got),
    ):
        monkeypatch.setenv("HF_ENDPOINT", url)
        with pytest.raises(Exception, match="404"):
            HfApi(**access()).list_repo_refs("lab/model")
    assert got == [f"Bearer {TOKEN}"] and elsewhere in ([], [None])
