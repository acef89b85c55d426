"""Secrets kept out of what is shown: a server may say of a key what it likes, in any dress.

    mask(text, secrets) = text with every run of characters in which PIECE consecutive characters of
    a secret stand replaced by ***

They are found in any casing, with white space between them, backwards, in base64 (both alphabets,
at any offset) and in hexadecimal digits, with letters written as escapes of JSON, of a URL or of
HTML. A text without such a run comes back as it was.
"""

import base64
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache

MASK = "***"
# characters of a secret that are worth something: a server that cuts a key shows its beginning or
# its end
PIECE = 8
# hexadecimal numbers of a URL, of JSON and programs, of HTML; a decimal one of HTML; an escaped
# line break or tab; any other character. A backslash is passed over, so that escapes of escapes are
# found too.
ESCAPE = re.compile(
    r"%(?:25)*([0-9a-f]{2})|\\u([0-9a-f]{4})|\\u\{([0-9a-f]{1,6})\}|\\x([0-9a-f]{2})|&(?:amp;)*#x([0-9a-f]{1,6});"
    r"|&(?:amp;)*#(?P<decimal>\d{1,7});|\\[nrt]|.",
    re.IGNORECASE | re.DOTALL,
)
PASSED_OVER = (
    "Cc",
    "Cf",
    "Zs",
    "Zl",
    "Zp",
)  # Unicode's categories of control, format and space characters


def mask(text: str, secrets: Iterable[str | None]) -> str:
    """The text without the secrets; those of fewer than PIECE characters are not looked for."""
    pieces = frozenset().union(*(_pieces(secret) for secret in secrets if secret))
    if not pieces:
        return text
    letters, places = _letters(text)
    kept = []
    end = 0  # of what was kept or hidden so far
    for i in range(len(letters) - PIECE + 1):
        if letters[i : i + PIECE] not in pieces:
            continue
        start = places[i][0]
        if start >= end:
            kept += [text[end:start], MASK]
        end = max(end, places[i + PIECE - 1][1])
    return "".join([*kept, text[end:]])


@lru_cache(maxsize=16)
def _pieces(secret: str) -> frozenset[str]:
    """All runs of PIECE letters in the forms in which a secret may be written, also backwards."""
    pieces = set()
    for form in (secret, *_encoded(secret.encode("utf-8", errors="replace"))):
        plain = _letters(form)[0]
        for letters in (plain, plain[::-1]):
            for i in range(len(letters) - PIECE + 1):
                pieces.add(letters[i : i + PIECE])
    return frozenset(pieces)


def _encoded(secret: bytes) -> Iterator[str]:
    """In hexadecimal digits, and the part of its base64 that depends on nothing before or after it,
    at each of three offsets.
    """
    yield secret.hex()
    for offset, shared in enumerate((0, 2, 3)):
        whole = (offset + len(secret)) * 8 // 6
        text = base64.b64encode(bytes(offset) + secret).decode()[shared:whole]
        yield from (text, text.translate(str.maketrans("+/", "-_")))


def _letters(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The text in small letters, without escapes, backslashes and white space; and where in the
    text each letter stands.
    """
    letters, places = [], []
    for match in ESCAPE.finditer(text):
        letter = _letter(match)
        if letter and letter != "\\" and unicodedata.category(letter) not in PASSED_OVER:
            letters.append(letter)
            places.append(match.span())
    return "".join(letters), places


def _letter(match: re.Match[str]) -> str:
    """The small letter that stands there, in its plain form; empty where none does."""
    digits = next((group for group in match.groups() if group), "0")
    number = min(int(digits, 10 if match["decimal"] else 16), sys.maxunicode)
    if number:
        letter = chr(number)
    else:
        letter = match[0] if len(match[0]) == 1 else ""
    if letter.isascii():
        small = letter.lower()
    else:
        small = unicodedata.normalize("NFKC", letter).lower()
    return small if len(small) == 1 else letter
