"""transect.store.sources: fetch a declared source from cache, mirror or network, and refuse any other
version.
"""

import http.client
import http.server
import io
import lzma
import threading
import urllib.error
import urllib.request
import zipfile

import pytest

from tests.lm import chat_server
from transect.errors import InputError, ResourceError
from transect.store import sources

# The test vector of FIPS 180-4 for the message "abc".
ABC = {
    "url": "https://example.org/data/abc.txt",
    "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    "licence": "CC0",
    "mirror": "set/abc.txt.xz",
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRANSECT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TRANSECT_MIRROR", raising=False)


def serve(monkeypatch, content: bytes | Exception) -> list[str]:
    """Answer every download with `content`; the returned list records the addresses."""
    asked: list[str] = []

    def opened(opener: object, url: str, timeout: float) -> io.BytesIO:
        asked.append(url)
        if isinstance(content, Exception):
            raise content
        return io.BytesIO(content)

    monkeypatch.setattr("urllib.request.OpenerDirector.open", opened)
    return asked


def mirror_with(tmp_path, monkeypatch, content: bytes) -> None:
    path = tmp_path / "mirror" / ABC["mirror"]
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    monkeypatch.setenv("TRANSECT_MIRROR", str(tmp_path / "mirror"))


def test_mirror_is_uncompressed_and_verified(tmp_path, monkeypatch):
    """A compressed local copy gives the declared content, and nothing is downloaded."""
    asked = serve(monkeypatch, b"never")
    mirror_with(tmp_path, monkeypatch, lzma.compress(b"abc"))
    assert sources.fetch(ABC).read_bytes() == b"abc"
    assert asked == []


def test_without_a_mirror_the_url_is_read_once(monkeypatch):
    """The first call downloads, the second finds the verified copy."""
    asked = serve(monkeypatch, b"abc")
    assert sources.fetch(ABC).read_bytes() == sources.fetch(ABC).read_bytes() == b"abc"
    assert asked == [ABC["url"]]


def test_damaged_cache_is_replaced(monkeypatch):
    """A cached file whose content changed is not handed out."""
    serve(monkeypatch, b"abc")
    sources.fetch(ABC).write_bytes(b"abd")
    assert sources.fetch(ABC).read_bytes() == b"abc"


def test_another_version_in_the_mirror_is_refused(tmp_path, monkeypatch):
    """Other content in the mirror is an input error that names the file."""
    mirror_with(tmp_path, monkeypatch, lzma.compress(b"abcd"))
    with pytest.raises(
        InputError, match=r"abc\.txt\.xz is not the declared version.*declared is ba7816bf8f01"
    ):
        sources.fetch(ABC)


def test_another_version_behind_the_url_is_refused(monkeypatch):
    """Other content behind the address is refused too."""
    serve(monkeypatch, b"abcd")
    with pytest.raises(InputError, match=r"example\.org/data/abc\.txt is not the declared version"):
        sources.fetch(ABC)


def test_a_mirror_without_the_file_is_named(tmp_path, monkeypatch):
    """A mirror that lacks the file gives one sentence with both places."""
    monkeypatch.setenv("TRANSECT_MIRROR", str(tmp_path))
    with pytest.raises(
        InputError, match=r"has no file 'set/abc\.txt\.xz', the local copy of https://example"
    ):
        sources.fetch(ABC)


def test_a_cut_off_file_is_named(tmp_path, monkeypatch):
    """A damaged compressed file is told apart from another version."""
    mirror_with(tmp_path, monkeypatch, lzma.compress(b"abc")[:-4])
    with pytest.raises(InputError, match="damaged or cut off"):
        sources.fetch(ABC)


def test_offline_names_the_way_out(monkeypatch):
    """Without a network the sentence says where a local copy would be looked for."""
    serve(monkeypatch, urllib.error.URLError("no route"))
    with pytest.raises(ResourceError, match=r"no route.*TRANSECT_MIRROR.*set/abc\.txt\.xz"):
        sources.fetch(ABC)


def test_only_https(monkeypatch):
    """Another kind of address is refused before it is opened."""
    asked = serve(monkeypatch, b"abc")
    with pytest.raises(InputError, match="not an https address"):
        sources.fetch(ABC | {"url": "file:///etc/passwd"})
    assert asked == []


@pytest.mark.parametrize(
    "url",
    [
        "https://user:S3CRET@example.org/abc",
        "https://example.org/abc?token=S3CRET",
        "http://u:S3CRET@h/abc",
    ],
)
def test_a_secret_in_an_address_is_refused(monkeypatch, url):
    """Before the cache is looked at, and without repeating it."""
    asked = serve(monkeypatch, b"abc")
    for use in (sources.fetch, sources.download):
        with pytest.raises(InputError) as told:
            use(ABC | {"url": url})
        assert "S3CRET" not in str(told.value)
    assert asked == []


@pytest.mark.parametrize(
    "place", ["http://127.0.0.1:9/x", "file:///etc/passwd", "ftp://127.0.0.1/x", "//127.0.0.1:9/x"]
)
def test_a_redirect_leads_to_https_only(place):
    """A server (of plain http, which is what can be served here) that sends elsewhere is not
    followed.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            """Silence."""

        def do_GET(self):
            self.send_response(302)
            self.send_header("Location", place)
            self.end_headers()

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.handle_request, daemon=True).start()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), sources._OverHttps)
    with pytest.raises(urllib.error.URLError, match="no https address|not allowed"):
        opener.open(f"http://127.0.0.1:{server.server_port}/", timeout=5)
    server.server_close()


def test_a_download_that_stands_still_ends(monkeypatch):
    """A byte now and then, and a body that breaks off, are errors; the same server's whole body is
    read.
    """
    monkeypatch.setattr(sources, "TIMEOUT_SECONDS", 0.2)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def received(sent: bytes, pause: float) -> bytes:
        with chat_server.serve(str.upper) as chat:
            chat.raw, chat.pause = [sent], pause
            with opener.open(urllib.request.Request(chat.url, b"{}"), timeout=5) as response:
                return sources._received(response)

    assert received(chat_server.answer(b"abc"), 0) == b"abc"
    with pytest.raises(TimeoutError, match="fewer than 1000 bytes a second"):
        received(chat_server.answer(b"x" * 500), 0.01)
    with pytest.raises(http.client.IncompleteRead):
        received(chat_server.answer(b"abc").replace(b": 3", b": 9"), 0)


def test_a_mirror_that_leads_elsewhere_still_gives_the_declared_content(tmp_path, monkeypatch):
    """A name with `../` is read, and what it reads has the digest or is refused."""
    monkeypatch.setenv("TRANSECT_MIRROR", str(tmp_path / "mirror"))
    (tmp_path / "mirror").mkdir()
    (tmp_path / "abc.txt").write_bytes(b"abc")
    assert sources.fetch(ABC | {"mirror": "../abc.txt"}).read_bytes() == b"abc"
    sources.fetch(ABC | {"mirror": "../abc.txt"}).unlink()
    (tmp_path / "abc.txt").write_bytes(b"root:x:0:0")
    with pytest.raises(InputError, match="is not the declared version"):
        sources.fetch(ABC | {"mirror": "../abc.txt"})


def test_a_mirrored_source_needs_no_https(tmp_path, monkeypatch):
    """An old address of plain http still names a source of which there is a copy: nothing is asked
    over it.
    """
    mirror_with(tmp_path, monkeypatch, lzma.compress(b"abc"))
    assert sources.fetch(ABC | {"url": "http://example.org/abc.txt"}).read_bytes() == b"abc"


def test_a_mirror_is_a_folder(monkeypatch):
    """An address in its place is refused without being repeated."""
    monkeypatch.setenv("TRANSECT_MIRROR", "https://user:S3CRET@mirror.example/")
    with pytest.raises(InputError, match="the mirror is a folder") as told:
        sources.fetch(ABC)
    assert "S3CRET" not in str(told.value)


def test_archive_is_downloaded_once_for_several_sources(monkeypatch):
    """What is derived from an archive has the declared content; the archive is kept for the next
    one.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a/b", "abc")
        archive.writestr("a/c", "")
    asked = serve(monkeypatch, packed.getvalue())

    def member(name: str):
        return lambda raw: zipfile.ZipFile(io.BytesIO(raw)).read(name)

    empty = ABC | {
        "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    }  # FIPS 180-4, no message
    assert sources.fetch(ABC, from_url=member("a/b")).read_bytes() == b"abc"
    assert sources.fetch(empty, from_url=member("a/c")).read_bytes() == b""
    assert asked == [ABC["url"]]
