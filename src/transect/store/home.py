"""The user's home folder in texts that others read: reports and stores are shared, and its path
names a person.
"""

import re
from functools import cache
from pathlib import Path


def without_home(text: str) -> str:
    """The text with ~ for the path of the home folder, wherever it begins a path."""
    pattern = _pattern()
    return pattern.sub("~", text) if pattern else text


@cache
def _pattern() -> re.Pattern[str] | None:
    try:
        home = str(Path.home())
    except RuntimeError:  # this process has none
        return None
    return (
        re.compile(rf"(?<![\w.~-]){re.escape(home)}(?![\w.-])")
        if home.count("/") >= 1 and len(home) > 1
        else None
    )
