"""Declared sources: data from outside that the project needs and does not contain.

A unit declares a source as a literal:
    {"url": public address, "sha256": of the content, "licence": ..., "mirror": path below the
    mirror folder}
and `fetch` hands out a file whose content has exactly that sha256. It comes, in this order, from
the cache, from the mirror (a folder with local copies, named by the environment variable
TRANSECT_MIRROR, which the setting `mirror` sets), or from the url. The sha256 is of the content as
it is used: uncompressed, and after the converter where there is one, so that a mirror may hold the
derived text and the public address the archive from which it is derived. Only https is asked, also
where a server sends on to another address; an address with a password or a key in it is refused.
"""

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transect.errors import InputError, ResourceError
from transect.store.files.unpacking import Unreadable, unpacked
from transect.store.files.whole_files import write_whole
from transect.store.hub import addresses

MIRROR = "TRANSECT_MIRROR"
CACHE = "TRANSECT_CACHE"
TIMEOUT_SECONDS = 60  # without a byte; and after as many, a download slower than SLOWEST ends
SLOWEST = 1000  # bytes a second, over the whole download
UNPACKED = (".xz", ".gz", ".bz2")  # a zip archive stays one, for a converter

Source = Mapping[str, Any]
Convert = Callable[[bytes], bytes]


def fetch(
    source: Source, *, from_mirror: Convert | None = None, from_url: Convert | None = None
) -> Path:
    """The path of a local file whose content has the declared sha256; the file is not to be
    changed.

    `from_mirror` and `from_url` turn the mirror's and the public file, uncompressed, into that
    content. Raises InputError for a mirror that lacks the file or holds another version, and for a
    download that is another version; ResourceError when the download fails, with the way to work
    offline.
    """
    _check_secret(source["url"])
    cached = cache_folder() / source["sha256"][:2] / f"{source['sha256']}{_suffix(source)}"
    if cached.is_file() and digest(cached.read_bytes()) == source["sha256"]:
        return cached
    mirror = os.environ.get(MIRROR, "")
    if "://" in mirror:
        raise InputError(
            f"{MIRROR} holds an address; the mirror is a folder on this machine with copies of the sources."
        )
    if mirror and source.get("mirror"):
        path = Path(mirror).expanduser() / source["mirror"]
        if not path.is_file():
            raise InputError(
                f"{MIRROR}={mirror} has no file {source['mirror']!r}, the local copy of {source['url']}."
            )
        raw, origin, convert = path.read_bytes(), str(path), from_mirror
    else:
        raw, origin, convert = download(source, keep=from_url is not None), source["url"], from_url
    content = _uncompress(raw, origin)
    if convert is not None:
        content = convert(content)
    if (actual := digest(content)) != source["sha256"]:
        raise InputError(
            f"{origin} is not the declared version: the sha256 of its content is {actual[:12]}..., "
            f"declared is {source['sha256'][:12]}..."
        )
    write_whole(cached, lambda part: part.write_bytes(content))
    return cached


def download(source: Source, *, keep: bool = False) -> bytes:
    """The bytes behind the public address (https only). `keep`: an archive from which several
    sources are derived stays in the cache.
    """
    url = source["url"]
    _check_secret(url)
    if not url.startswith("https://"):
        raise InputError(f"The source {url!r} is not an https address.")
    if fault := addresses.fault(url):
        raise InputError(f"The address of the source {url!r} {fault}.")
    kept = cache_folder() / "archives" / f"{digest(url.encode())}{Path(url).suffix}"
    if keep and kept.is_file():
        return kept.read_bytes()
    try:
        with urllib.request.build_opener(_OverHttps).open(url, timeout=TIMEOUT_SECONDS) as response:
            content = _received(response)
    except (
        urllib.error.URLError,
        http.client.HTTPException,
        TimeoutError,
        ConnectionError,
    ) as error:
        reason = getattr(error, "reason", None) or error
        raise ResourceError(
            f"Cannot download {url} ({reason}); to work offline, set {MIRROR} to a folder that holds a copy as "
            f"{source.get('mirror', 'declared')!r}."
        ) from None
    if keep:
        write_whole(kept, lambda part: part.write_bytes(content))
    return content


def _received(response: Any) -> bytes:
    """The whole body. Raises TimeoutError for a server that keeps the connection alive and sends
    next to nothing.
    """
    body, start = bytearray(), time.monotonic()
    while chunk := response.read1(2**20):
        body += chunk
        seconds = time.monotonic() - start
        if seconds > TIMEOUT_SECONDS and len(body) < SLOWEST * seconds:
            raise TimeoutError(f"it sends fewer than {SLOWEST} bytes a second")
    if missing := getattr(
        response, "length", None
    ):  # of a body that was announced longer, `read1` just ends
        raise http.client.IncompleteRead(bytes(body), missing)
    return bytes(body)


class _OverHttps(urllib.request.HTTPRedirectHandler):
    """Follows a redirect to another https address, and to no other."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        if not newurl.startswith("https://"):
            raise urllib.error.URLError(
                f"it sends on to {addresses.shown(newurl)}, which is no https address"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_secret(url: str) -> None:
    if clause := addresses.secret(url):
        raise InputError(f"The address of the source {addresses.shown(url)} {clause}.")


def cache_folder() -> Path:
    """Where verified copies are kept: TRANSECT_CACHE, else the user's cache folder."""
    if folder := os.environ.get(CACHE):
        return Path(folder).expanduser()
    return (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser()
        / "transect"
        / "sources"
    )


def digest(content: bytes) -> str:
    """sha256, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def _uncompress(raw: bytes, origin: str) -> bytes:
    suffix = Path(origin).suffix
    if suffix not in UNPACKED:
        return raw
    try:
        return unpacked(raw, suffix)
    except Unreadable as error:
        raise InputError(
            f"{origin} cannot be uncompressed: the file is damaged or cut off, or too large ({error})."
        ) from None


def _suffix(source: Source) -> str:
    """The suffix of the content, e.g. .jsonl; it only helps a person who looks into the cache."""
    name = Path(source.get("mirror") or source["url"])
    return (name.with_suffix("") if name.suffix in UNPACKED else name).suffix
