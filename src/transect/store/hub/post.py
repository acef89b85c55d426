"""One question to a server by POST, and what it says to it: without the key, within a time and a
size, from that address and no other.

The key is read from the environment variable TRANSECT_API_KEY. It is sent over https, or to this
machine, and then through no proxy. Every text of the server (body, reason, place of a redirect) is
masked here, before it is cut, shown or kept (masking.py). A redirect is not followed: urllib would
ask again by GET and without the question.
"""

import http.client
import json
import os
import queue
import threading
import time
import unicodedata
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

from transect.errors import ResourceError, UnavailableError
from transect.store.hub import addresses
from transect.store.hub.masking import PIECE, mask

KEY = "TRANSECT_API_KEY"
TIMEOUT = 120.0  # seconds without a byte
DEADLINE, BEGUN = 300.0, 60.0  # seconds for the whole answer; for the rest of one that has begun
LARGEST = 10 * 2**20  # bytes of an answer
SHOWN, LOOKED_AT = (
    200,
    10_000,
)  # characters of what a server says that are shown; that are searched for the key before
CHUNK = 2**16
T = TypeVar("T")


@dataclass(frozen=True)
class Reply:
    """`content`: the body as JSON, every text of it masked; None where it is none. `told`: the
    server's words on one line of SHOWN characters.

    `after`: the seconds that it asks to be left alone, None where it does not say; `place`: the
    address that it asks to be called at.
    """

    status: int
    content: Any
    told: str
    after: float | None = None
    place: str = ""


def post(address: str, question: dict[str, Any]) -> Reply:
    """What the server says to a question. Raises ConnectionError, in one line, for one that cannot
    be reached or breaks off.

    Raises UnavailableError for a key that none can be, ResourceError for an answer of more than
    LARGEST bytes or DEADLINE seconds.
    """
    headers = {"Content-Type": "application/json"}
    if key := key_for(address):
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(address, json.dumps(question).encode(), headers, method="POST")
    end = time.monotonic() + DEADLINE
    try:
        return _in_time(lambda: _asked(request, end), DEADLINE)
    except TimeoutError as error:
        if time.monotonic() < end:
            raise ConnectionError(_one_line(str(error)) or "no answer in time") from None
        raise _too_slow(address, DEADLINE) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ConnectionError(
            _one_line(str(getattr(error, "reason", error))) or type(error).__name__
        ) from None


def key_for(address: str) -> str | None:
    """The key, where there is one and it may be sent to the address. Raises UnavailableError for a
    text that is no key.
    """
    key, parts = os.environ.get(KEY), urlsplit(address)
    if not key or not (parts.scheme == "https" or addresses.is_here(parts)):
        return None
    for i, letter in enumerate(key, start=1):
        if not "!" <= letter <= "~":
            name = unicodedata.name(letter, f"character {ord(letter)} of Unicode").lower()
            told = "white space" if letter.isspace() else name
            raise UnavailableError(
                f"The environment variable {KEY} holds no key: character {i} of {len(key)} is {told}, and a key is of printable ASCII."
            )
    if len(key) < PIECE:
        raise UnavailableError(
            f"The environment variable {KEY} holds no key: one has at least {PIECE} characters (a shorter one could not be kept "
            "out of what is written); unset it where the server asks for none."
        )
    return key


class _AsItIs(urllib.request.HTTPErrorProcessor):
    """Every status is an answer: no redirect is followed, and no error is raised that would carry
    the body away unmasked.
    """

    def http_response(self, request: Any, response: Any) -> Any:
        return response

    https_response = http_response


def _asked(request: urllib.request.Request, end: float) -> Reply:
    own = [urllib.request.ProxyHandler({})] if addresses.is_here(urlsplit(request.full_url)) else []
    opener = urllib.request.build_opener(_AsItIs, *own)
    with opener.open(request, timeout=TIMEOUT) as response:
        body, begun = bytearray(), 0.0
        while chunk := response.read1(CHUNK):
            body += chunk
            if len(body) > LARGEST:
                raise ResourceError(
                    f"{request.full_url} sends an answer of more than {LARGEST // 2**20} MB, which is not read."
                )
            if not begun and chunk.strip():  # a busy server may send white space while one waits
                begun = time.monotonic()
            if begun and time.monotonic() > begun + BEGUN:
                raise _too_slow(request.full_url, BEGUN)
            if time.monotonic() > end:
                raise TimeoutError
        if response.length:  # of a body that was announced longer, `read1` just ends
            raise http.client.IncompleteRead(bytes(body), response.length)
        return _reply(request.full_url, response, bytes(body))


def _too_slow(address: str, seconds: float) -> ResourceError:
    return ResourceError(
        f"{address} sends so slowly that its answer is not whole after {seconds:.0f} seconds."
    )


def _reply(address: str, response: Any, body: bytes) -> Reply:
    content = _content(body)
    said: Any = content.get("error") if isinstance(content, dict) else None
    said = said.get("message") if isinstance(said, dict) else said
    if not isinstance(said, str):
        said = body[: 4 * LOOKED_AT].decode(json.detect_encoding(body), errors="replace")
    after, place = response.headers.get("Retry-After", ""), response.headers.get("Location", "")
    return Reply(
        response.status,
        content,
        _one_line(said) or _one_line(response.reason or "") or "no word",
        float(after) if after.isascii() and after.isdecimal() else None,
        _one_line(addresses.shown(_masked(urljoin(address, place)))) if place else "",
    )


def _content(body: bytes) -> Any:
    """The body as JSON, masked; None where it is none, or nested more deeply than it can be read."""
    try:
        return _without_key(json.loads(body))
    except (ValueError, RecursionError):
        return None


def _without_key(value: Any) -> Any:
    if isinstance(value, str):
        return _masked(value)
    if isinstance(value, list):
        return [_without_key(v) for v in value]
    return (
        {_masked(k): _without_key(v) for k, v in value.items()}
        if isinstance(value, dict)
        else value
    )


def _masked(text: str) -> str:
    """A text of the server without the key; half a character (a lone surrogate), which no file can
    hold, is replaced.
    """
    return mask(text.encode("utf-8", errors="replace").decode(), [os.environ.get(KEY)])


def _one_line(text: str) -> str:
    """What is shown of a text: masked, then on one line, then cut; what a terminal might obey is
    left out.
    """
    line = " ".join(_masked(text[:LOOKED_AT]).split())
    return "".join(c for c in line if c.isprintable())[:SHOWN]


def _in_time(ask: Callable[[], T], seconds: float) -> T:
    """What `ask` returns or raises; TimeoutError after so many seconds, wherever it hangs: in a
    name, a handshake, a header.
    """
    ended: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            ended.put((ask(), None))
        except BaseException as error:
            ended.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = ended.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]
