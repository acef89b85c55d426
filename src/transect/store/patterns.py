"""A user's own regular expression, searched for within a time: (z+)+! in 40 z takes Python's re
longer than anybody waits.

Nothing stops `re` but the end of its process, so it has one. Its results are those of `re`,
whatever the pattern.
"""

import json
import subprocess
import sys
from collections.abc import Sequence

from transect.errors import InputError

SECONDS = 10.0
LONGEST = 1_000  # characters of a pattern
SEARCH = """
import json, re, sys
pattern, texts = json.load(sys.stdin)
try:
    found = re.compile(pattern)
    print(json.dumps([bool(found.search(text)) for text in texts]))
except (re.error, OverflowError, RecursionError) as error:
    print(json.dumps(str(error)))
"""


def found_in(
    pattern: str, texts: Sequence[str], place: str, seconds: float = SECONDS
) -> list[bool]:
    """Whether the pattern is found in each text.

    Raises InputError, beginning with `place`, for what is no pattern, is longer than LONGEST or
    takes longer than `seconds`.
    """
    if len(pattern) > LONGEST:
        raise InputError(
            f"{place}: a regular expression of {len(pattern):,} characters; at most {LONGEST:,} are read."
        )
    try:
        ended = subprocess.run(
            [sys.executable, "-I", "-c", SEARCH],
            input=json.dumps([pattern, list(texts)]),
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            f"{place}: the search for {pattern!r} in {len(texts):,} texts took more than {seconds:g} seconds and was ended; a repetition "
            "within a repetition, as in (z+)+, may take for ever: write it without."
        ) from None
    result = json.loads(ended.stdout) if ended.returncode == 0 else "it ended Python"
    if isinstance(result, str):
        raise InputError(f"{place}: {pattern!r} is not a regular expression ({result}).")
    return list(result)
