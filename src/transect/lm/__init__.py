"""One loaded model and everything that is read off it: the only view of a language model that
measures have.
"""

from typing import TYPE_CHECKING, Any

from transect.lm.checkpoint import foreign_code  # noqa: F401  before transformers: it closes a way by which code of others is run

if TYPE_CHECKING:
    from transect.lm.loading import load
    from transect.lm.model import Model

__all__ = ["Model", "load"]


def __getattr__(name: str) -> Any:
    # on first use, so that transect.store.hub.snapshots can be imported (planning, the command line) without
    # torch
    if name == "load":
        from transect.lm.loading import load

        return load
    if name == "Model":
        from transect.lm.model import Model

        return Model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
