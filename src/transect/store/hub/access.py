"""How the hub is asked: at which address, with whose token, and what is shown of its answers.

The public hub, or the mirror that HF_ENDPOINT names. The user's token (HF_TOKEN, or that of `hf
auth login`) goes over https, or to a mirror on this machine through no proxy; over plain http
another machine is asked without it.
"""

import os
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from transect.errors import UnavailableError
from transect.store.hub import addresses
from transect.store.hub.masking import mask

SHOWN, LOOKED_AT = (
    200,
    10_000,
)  # characters of what the hub says that are shown; that are searched for the token before


def access() -> dict[str, Any]:
    """The arguments `endpoint` and `token` of huggingface_hub's functions. Read when asked, not at
    import: a project may set them later.

    Raises UnavailableError for an HF_ENDPOINT that is no address, or that holds a password or a
    key.
    """
    endpoint = os.environ.get("HF_ENDPOINT") or None
    if endpoint and (told := addresses.fault(endpoint)):
        raise UnavailableError(
            f"The environment variable HF_ENDPOINT {told}; the hub's token is read from HF_TOKEN."
        )
    return {
        "endpoint": endpoint,
        "token": None if endpoint is None or _is_safe(endpoint) else False,
    }


def told(error: BaseException) -> str:
    """What an error says, on one line, without the token; for a hub's error that is what the server
    said.
    """
    from huggingface_hub import get_token

    text = addresses.shown(mask(str(error)[:LOOKED_AT], [get_token()]))
    return " ".join(text.split())[:SHOWN] or type(error).__name__


def _is_safe(endpoint: str) -> bool:
    """Whether nobody between this process and the hub can read a token."""
    parts = urlsplit(endpoint)
    proxied = {"http", "all"} & set(
        urllib.request.getproxies()
    ) and not urllib.request.proxy_bypass(parts.netloc)
    return parts.scheme == "https" or addresses.is_here(parts) and not proxied
