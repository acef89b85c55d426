"""The data sets of Brennan (2001), Generalizability Theory, with the variance components that he
publishes.

Typed from the test fixtures of GeneralizIT (commit 8af4faef), which cite the book's tables; one
digit per score. Where the last digit of a published value differs from exact arithmetic on these
data, it is said.
"""

from collections.abc import Callable

import pandas as pd

# 10 persons, 12 items, right or wrong (Brennan's synthetic data set 1)
PERSON_ITEM = (
    "101000000000 111001000000 111110000000 110110010000 111110100000 "
    "111011100000 111111100000 111101111100 111111111110 111111111111"
)
# 10 persons; 8 items of each person's own, or 4 items on each of 2 occasions (items vary faster)
PERSON_EIGHT = (
    "26752555 45676757 55465455 59865776 43564564 44476478 26652775 34456664 05455553 68766886"
)
# 10 persons; 3 tasks with 4 raters each
PERSON_TASK_RATER = (
    "565553456733 937775557752 343353356516 755331435335 929777372753 "
    "343533634512 737775575554 585775543211 998866655811 444335655711"
)
# 8 items in 3 tests (2, 4 and 2 of them); 8 persons
TEST_ITEM_PERSON = "42213130 51433251 32456561 33747682 51655460 44557474 54848577 76759688"

# design -> effect -> published component
PUBLISHED = {
    "p x i": {"p": 0.0574, "i": 0.0754, "p x i": 0.1269},
    "i:p": {"p": 0.6108, "i:p": 2.0250},
    "p x i x o": {
        "p": 0.5528,
        "i": 0.4417,
        "o": 0.0074,
        "p x i": 0.5750,
        "p x o": 0.1009,
        "i x o": 0.1565,
        "p x i x o": 0.9352,
    },
    "p x (r:t)": {"p": 0.4731, "t": 0.3252, "r:t": 0.6475, "p x t": 0.5596, "p x r:t": 2.3802},
    "p x (i:h)": {
        "p": 1.2014,
        "h": 2.9161,
        "i:h": 0.2946,
        "p x h": 0.9914,
        "p x i:h": 0.8429,
    },  # fixture: p x h 0.9913
}


# design -> its scores, and the facets of the b-th digit of the a-th block
_LAYOUT: dict[str, tuple[str, Callable[[int, int], dict[str, object]]]] = {
    "p x i": (PERSON_ITEM, lambda a, b: {"p": a, "i": b}),
    "i:p": (PERSON_EIGHT, lambda a, b: {"p": a, "i": b}),
    "p x i x o": (PERSON_EIGHT, lambda a, b: {"p": a, "i": b % 4, "o": b // 4}),
    "p x (r:t)": (PERSON_TASK_RATER, lambda a, b: {"p": a, "t": b // 4, "r": b % 4}),
    "p x (i:h)": (TEST_ITEM_PERSON, lambda a, b: {"p": b, "h": "uuvvvvww"[a], "i": a}),
}


def scores(design: str) -> pd.DataFrame:
    """One row per score `y` with the facets of the design."""
    text, facets = _LAYOUT[design]
    digits = ((a, b, y) for a, block in enumerate(text.split()) for b, y in enumerate(block))
    return pd.DataFrame([{**facets(a, b), "y": int(y)} for a, b, y in digits])
