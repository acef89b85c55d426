"""One question to a server: where the key goes, what of the answer is read, and that no dress of
the key gets through.
"""

import base64
import json
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.lm.chat_server import KEY, answer, serve
from transect.errors import ResourceError, UnavailableError
from transect.store.hub import post as posting
from transect.store.hub.post import key_for, post

PROXIES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSECT_API_KEY", KEY)


SAFE = (
    "https://there.example/v1",
    "http://localhost:8000/v1",
    "http://LOCALHOST/",
    "http://127.0.0.2/v1",
    "http://[::1]:80/v1",
)
UNSAFE = (
    "http://there.example/v1",
    "http://0.0.0.0/v1",
    "http://127.1/v1",
    "http://127.0.0.1@evil.example/",
    "http://127.0.0.1.evil.example/",
    "http://[::2]/",
)


@pytest.mark.parametrize(
    ("url", "sent"), [*((url, True) for url in SAFE), *((url, False) for url in UNSAFE)]
)
def test_the_key_goes_over_https_or_to_this_machine(url: str, sent: bool) -> None:
    """And nowhere else, however the other place calls itself."""
    assert key_for(url) == (KEY if sent else None)


@pytest.mark.parametrize(
    "key",
    [
        "abc",
        "sk-12 34567890",
        "sk-1234567890\n",
        "sk\u2013-1234567890",
        "sk-123\udcff4567890",
        " " * 9,
    ],
)
def test_a_text_that_is_no_key_is_refused(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """In one sentence that does not repeat it: short ones could not be masked without masking
    answers, others cannot be sent.
    """
    monkeypatch.setenv("TRANSECT_API_KEY", key)
    with pytest.raises(
        UnavailableError, match="^The environment variable TRANSECT_API_KEY holds no key: .*\\.$"
    ) as told:
        post("http://127.0.0.1:9/v1", {})
    assert "\n" not in str(told.value) and (
        len(key) < 4 or key.strip()[:5] not in str(told.value) or not key.strip()
    )


def test_an_empty_key_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that asks for no key is asked without one."""
    monkeypatch.setenv("TRANSECT_API_KEY", "")
    with serve(str.upper) as chat:
        post(chat.url, {"messages": [{"content": "x"}]})
    assert chat.keys == [None]


@pytest.mark.parametrize("name", PROXIES)
def test_no_proxy_sees_what_stays_on_this_machine(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """With a proxy set under any name, the server itself is asked, by name and by loopback address."""
    for other in (*PROXIES, "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(other, raising=False)
    with serve(str.upper) as proxy, serve(str.upper) as chat:
        monkeypatch.setenv(name, proxy.url)
        for host in ("127.0.0.1", "localhost"):
            post(chat.url.replace("127.0.0.1", host), {"messages": [{"content": "x"}]})
    assert (len(chat.asked), proxy.asked, proxy.got) == (2, [], [])


def test_a_proxy_of_an_https_host_gets_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked to CONNECT, and the key would go through the tunnel only."""
    heard: list[dict[str, str]] = []

    class Proxy(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Silence."""

        def do_CONNECT(self) -> None:
            heard.append({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
            self.send_error(403)

    server = HTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.handle_request, daemon=True).start()
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(ConnectionError, match="403"):
        post("https://there.example/v1", {})
    server.server_close()
    assert [h["path"] for h in heard] == ["there.example:443"] and "authorization" not in heard[0]


def dresses() -> dict[str, str]:
    """The key as a server may give it back."""
    letters = [ord(c) for c in KEY]
    encoded = base64.b64encode
    return {
        "plain": KEY,
        "small": KEY.lower(),
        "capital": KEY.upper(),
        "base64": encoded(KEY.encode()).decode(),
        "base64 of a user": encoded(f"user:{KEY}".encode()).decode(),
        "base64 of a header": encoded(f"Bearer {KEY}; more".encode()).decode(),
        "base64 for a URL": base64.urlsafe_b64encode(KEY.encode()).decode(),
        "hexadecimal": KEY.encode().hex(),
        "of a URL": "".join(f"%{n:02X}" for n in letters),
        "quoted": urllib.parse.quote(KEY, safe=""),
        "escaped": "".join(f"\\u{n:04x}" for n in letters),
        "escaped twice": json.dumps("".join(f"\\u{n:04x}" for n in letters)),
        "of a program": "".join(f"\\x{n:02x}" for n in letters),
        "of a URL, twice": "".join(f"%25{n:02X}" for n in letters),
        "HTML, twice": "".join(f"&amp;#{n};" for n in letters),
        "HTML": "".join(f"&#{n};" for n in letters),
        "HTML, hexadecimal": "".join(f"&#x{n:x};" for n in letters),
        "spaced": " ".join(KEY),
        "on lines": "\n".join(KEY[i : i + 4] for i in range(0, len(KEY), 4)),
        "backwards": KEY[::-1],
        "its beginning": KEY[:8],
        "its end": KEY[-9:],
        "its middle": KEY[4:14],
        "after much": "x" * 190 + KEY,
        "twice": KEY + KEY,
    }


@pytest.mark.parametrize("dress", dresses())
def test_no_dress_of_the_key_gets_through(dress: str) -> None:
    """In a message, a plain body, a reason, a redirect, the model's name, its fingerprint and the
    answer itself, whatever the status.
    """
    key = dresses()[dress]
    in_header = key.replace("\n", " ")
    message = {
        "choices": [{"message": {"content": key}}],
        "model": key,
        "system_fingerprint": [key],
        key: 1,
    }
    sent = [
        answer(json.dumps({"error": {"message": key}}).encode(), "401 No"),
        answer(f"no: {key}!".encode(), "200 OK"),
        answer(b"", f"500 {in_header}"),
        answer(b"", "302 Found", Location=f"https://there.example/{in_header}"),
        answer(json.dumps(message).encode()),
        answer(json.dumps(key).encode("utf-16")),
    ]
    plain = dresses()["base64"] if dress == "base64" else key
    with serve(str.upper) as chat:
        chat.raw = list(sent)
        said = " ".join(repr(post(chat.url, {})) for _ in sent)
    assert said.count("***") >= 9
    assert (
        plain not in said
        and KEY[:8].lower() not in said.lower()
        and KEY[-9:].lower() not in said.lower()
    )
    assert encoded_core() not in said


def encoded_core() -> str:
    """What of the key's base64 stands there whatever comes after it."""
    return base64.b64encode(KEY.encode()).decode()[:16]


def test_an_answer_without_the_key_is_left_as_it_is() -> None:
    """Also one with asterisks, escapes, a few letters of the key, other keys, and letters of all
    kinds.
    """
    text = f"*** %41 \\u0041 &#65; \\n {KEY[:7]} sk-other-key-of-somebody 日本語 \U0001f600 e\u0301 \u0000 \u200b\n\t end"
    with serve(lambda prompt: text) as chat:
        assert (
            post(chat.url, {"messages": [{"content": "x"}]}).content["choices"][0]["message"][
                "content"
            ]
            == text
        )


def test_half_a_character_is_replaced() -> None:
    """A lone surrogate, which JSON may hold and a file may not; a pair is one character."""
    with serve(str.upper) as chat:
        chat.raw = [answer(rb'{"a": "x\ud800y \ud83d\ude00"}')]
        assert post(chat.url, {}).content == {"a": "x?y \U0001f600"}


def test_what_a_terminal_obeys_is_not_shown() -> None:
    """A refusal with escape sequences is told in printable characters on one line."""
    with serve(str.upper) as chat:
        chat.raw = [answer(b"\x1b[2J\x1b]0;title\x07no\r\nway", "403 No")]
        assert post(chat.url, {}).told == "[2J]0;titleno way"


@pytest.mark.parametrize("where", ["status", "headers", "body", "body of unknown length", "text"])
def test_a_server_that_sends_too_slowly_ends_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A byte now and then keeps every single read alive; the whole answer has a limit of its own,
    and one that has begun a shorter one.
    """
    monkeypatch.setattr(posting, "BEGUN" if where == "text" else "DEADLINE", 0.3)
    sent = {
        "status": b"H" * 100,
        "headers": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100,
        "body": answer(b" " * 200),
        "text": answer(b"x" * 200),
        "body of unknown length": b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 200,
    }[where]
    with serve(str.upper) as chat:
        chat.raw, chat.pause, start = [sent], 0.02, time.monotonic()
        with pytest.raises(
            ResourceError, match="sends so slowly that its answer is not whole after 0 seconds"
        ):
            post(chat.url, {})
    assert time.monotonic() - start < 3


@pytest.mark.parametrize("status", ["200 OK", "500 Broken"])
def test_an_answer_without_end_ends_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    """No more than LARGEST bytes of it are read."""
    monkeypatch.setattr(posting, "LARGEST", 2**20)
    with serve(str.upper) as chat:
        chat.raw = [answer(b"x" * 2**22, status)]
        with pytest.raises(ResourceError, match="more than 1 MB"):
            post(chat.url, {})


def test_a_server_that_breaks_off_is_told(tmp_path: Path) -> None:
    """Nothing at all, garbage, half a body: one line each."""
    with serve(str.upper) as chat:
        for raw in (
            b"",
            b"garbage\r\n\r\n",
            answer(b"x").replace(b": 1", b": 9"),
            answer(b"zz", Transfer_Encoding="chunked"),
        ):
            chat.raw = [raw]
            with pytest.raises(ConnectionError) as told:
                post(chat.url, {})
            assert str(told.value) and "\n" not in str(told.value)
