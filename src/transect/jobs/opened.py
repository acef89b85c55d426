"""What a measure opened its texts with, as it is kept with its cell."""

from collections.abc import Mapping
from typing import Any


def used(model: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """`opening`: the tokens that a measure opened its texts with (nothing where it opened none),
    `opening_doubt`: see lm/text/opening.py.
    """
    if model.opened is None:
        return {}
    from transect.lm.text.opening import doubt

    return {
        "opening": list(model.opened),
        "opening_doubt": doubt(model, options.get("bos", "auto")),
    }
