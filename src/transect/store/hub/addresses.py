"""Addresses of the net: whether one may be called and kept, whether it lies on this machine, and
what is shown of it.

A user name, a password or a key in an address would be archived with every answer and told in every
error, so such an address is refused, and the sentence does not repeat it.
"""

import ipaddress
import re
from urllib.parse import SplitResult, unquote, urlsplit

WITH_SECRETS = "user names, passwords and keys do not stand in addresses, which are kept and shown"
# bounded, so that a long text without an address is looked at once; a path that was made of an
# address has one slash
ADDRESS = re.compile(r"(?<![a-z0-9+.-])[a-z][a-z0-9+.-]{1,20}://?[^\s\"'<>`|]+", re.IGNORECASE)
SCHEME = re.compile(r"^[^:/]*://?")
FIELD = re.compile(r"(?<=[?&;#])(?P<name>[^=&;#]{0,100})=(?P<value>[^&;#]+)")
# what providers' keys look like, where a field has another name or none
KEY = re.compile(r"(?<=[?&;#=])(?:sk-|sk_|hf_|gsk_|xai-|ghp_|nvapi-|glpat-|AIza|eyJ)[\w.-]{12,}")
# names of fields that hold a secret, without punctuation: those that end so, and those that are
# just so
SECRET_ENDS = (
    *(
        "key",
        "token",
        "secret",
        "password",
        "passwd",
        "passphrase",
        "pwd",
        "signature",
        "credential",
        "credentials",
    ),
    *("auth", "authorization", "authentication", "bearer"),
)
SECRET_NAMES = ("code", "sig", "jwt", "sas", "pass", "pw")
LONGEST_LABEL = 63  # characters of a part of a host's name (RFC 1035)


def fault(url: str) -> str:
    """What keeps an http or https address from being called or kept, as a clause; empty where
    nothing does. Repeats nothing of it.
    """
    odd = next((c for c in url if not "!" <= c <= "~"), None)
    if odd:
        return (
            f"holds {odd!r} at character {url.index(odd) + 1}; an address is ASCII without spaces "
            "(other letters as %C3%A9, a host's name as xn--...)"
        )
    if not re.match("https?://", url, re.IGNORECASE):
        return "does not begin with https:// or http://"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port  # a port that is none raises
    except ValueError:
        return "names no host and port that can be called"
    if not host or any(
        not 0 < len(label) <= LONGEST_LABEL for label in host.rstrip(".").split(".")
    ):
        return "names no host that can be called"
    return secret(url)


def secret(url: str) -> str:
    """Which secret an address carries, as a clause; empty for none. Repeats nothing of it but the
    name of the field.
    """
    if "@" in _place(url):
        return f"carries a user name or a password before its host; {WITH_SECRETS}"
    names = [match["name"] for match in FIELD.finditer(url) if _is_secret(match["name"])]
    if names:
        return f"carries the field {names[0]!r}; {WITH_SECRETS}"
    return f"carries what looks like a key; {WITH_SECRETS}" if KEY.search(url) else ""


def secret_in(text: str) -> tuple[int, str] | None:
    """The first address in a text that carries a secret: its position and `secret`'s clause; None
    for none.

    A user name alone is none where it is part of how a place is called (git@host).
    """
    for match in ADDRESS.finditer(text):
        clause = secret(match[0])
        called_so = (
            "@" in _place(match[0])
            and ":" not in _place(match[0]).split("@")[0]
            and "ssh" in match[0][:8]
        )
        if clause and not called_so and "://" in match[0]:
            return match.start(), clause
    return None


def shown(text: str) -> str:
    """The text with the secrets of every address in it masked: names and passwords before a host,
    values of fields that hold a key.
    """
    return ADDRESS.sub(lambda match: _without_secrets(match[0]), text)


def is_here(parts: SplitResult) -> bool:
    """Whether the host is this machine: localhost, or a loopback address in its full form
    (127.0.0.1 to 127.255.255.255, ::1).
    """
    host = (parts.hostname or "").lower()
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _place(url: str) -> str:
    """What stands between :// and the path: the host, and what may stand before and after it."""
    return re.split(r"[/?#]", SCHEME.sub("", url), maxsplit=1)[0]


def _is_secret(name: str) -> bool:
    plain = re.sub(r"[^a-z0-9]", "", unquote(name).lower())
    return plain.endswith(SECRET_ENDS) or plain in SECRET_NAMES


def _without_secrets(url: str) -> str:
    rest = SCHEME.sub("", url)
    before, sign, _ = _place(url).rpartition("@")
    bare = f"{url[: len(url) - len(rest)]}{'***@' + rest[len(before) + 1 :] if sign else rest}"
    return KEY.sub(
        "***", FIELD.sub(lambda m: f"{m['name']}=***" if _is_secret(m["name"]) else m[0], bare)
    )
