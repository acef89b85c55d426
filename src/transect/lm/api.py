"""A model behind an interface: text for text, asked over HTTP; every answer is kept, and asked for
only once.

    answer = the text that POST endpoint {model, messages: [{user: prompt}], temperature: 0,
    max_tokens} gives

The form is that of OpenAI's chat completions, which most servers and local engines speak. The key
is read from the environment variable TRANSECT_API_KEY, sent only over https or to this machine, and
written nowhere, whatever the server says of it (store/hub/post.py). An answer in which a piece of the key
stands has *** there.

The transcript holds one JSON line per request: its digest, the endpoint and the request, the text,
the model's name and fingerprint as the server gave them (`served`), the date; of a request that was
refused (too long, not allowed) the error. What stands there is not asked again, so a study is
replayed from its transcripts without a network. Temperature 0 does not make a provider's answers
repeatable: the transcript is the measurement.

What an interface serves may change under one name. The first request of a transcript is a canary:
it shows what is served before anything is measured; an answer of another model or fingerprint is
never mixed with the earlier ones. A server that tells neither is not found out.
"""

import fcntl
import json
import os
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from transect.errors import InputError, NotApplicable, ResourceError, UnavailableError
from transect.lm.model import Answer, Model, TokenScores
from transect.lm.text.cutting import unreadable
from transect.store.cell_store import digest
from transect.store.hub import addresses
from transect.store.hub.post import KEY, Reply, key_for, post

ENGINE_PART = "api"  # its name in the keys of cells: it stays when the file moves
VERSION = 1  # raise it when values change

CANARY = "Reply with the word yes."
CANARY_TOKENS = 8
TRIES, WAIT, LONGEST_WAIT = 5, 1.0, 60.0  # the wait doubles from try to try; seconds
PASSING = (408, 429)  # and all from 500: asked again
OF_THE_REQUEST = (400, 413, 422)  # this prompt is refused, others may not be
NO_KEY = (401, 403)


class ApiModel(Model):
    """What answers under `name` at an endpoint; `path` is its transcript.

    Raises UnavailableError where the interface refuses (key, name) or serves another model than the
    transcript's, ResourceError where it cannot be reached, InputError for a transcript that is
    damaged, an answer in another form or an address that cannot be called.
    """

    objective = "causal"
    capabilities = frozenset({"text"})
    vocab_size = 0

    def __init__(self, path: Path, endpoint: str, name: str) -> None:
        if told := addresses.fault(endpoint):
            raise InputError(
                f"The address at which {name!r} is to be asked {told}; the key is read from {KEY}."
            )
        self.path, self.endpoint, self.name = path, endpoint, name
        self.context_length = None
        self._answered: dict[str, dict[str, Any]] = {}
        self._read = 0  # bytes of the transcript
        self._settle()
        if not any(line["served"] for line in self._answered.values()):
            self._ask(CANARY, CANARY_TOKENS)

    @property
    def tokenizer(self) -> Any:  # type: ignore[override]
        raise NotApplicable("this model is behind an interface: its tokenizer cannot be had")

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """``interface``: the model's name and fingerprint as the server tells them."""
        served = self._first["served"]
        return {"interface": f"{served['model']} (fingerprint {served['fingerprint']})"}

    def token_scores(self, *sequences: Any, **options: Any) -> list[TokenScores]:
        raise NotApplicable("this model is behind an interface: it gives text and no probabilities")

    def write(self, prompts: Sequence[str], *, max_new_tokens: int) -> list[Answer]:
        """See Model; from the transcript where the request stands there."""
        return [
            Answer("", reason)
            if (reason := unreadable(prompt))
            else self._ask(prompt, max_new_tokens)
            for prompt in prompts
        ]

    @property
    def _first(self) -> dict[str, Any]:
        return next(line for line in self._answered.values() if line["served"])

    def _ask(self, prompt: str, max_tokens: int) -> Answer:
        request = {
            "model": self.name,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": max_tokens,
        }
        key = digest({"endpoint": self.endpoint, "request": request})
        if key not in self._answered:
            found = self._posted(request)
            self._refuse_another(found)
            date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            self._settle(
                {
                    "digest": key,
                    "endpoint": self.endpoint,
                    "request": request,
                    **found,
                    "date": date,
                }
            )
        return Answer(self._answered[key]["text"], self._answered[key]["error"])

    def _refuse_another(self, found: dict[str, Any]) -> None:
        """Refuse the answer of another model than the one that answered before."""
        if not any(line["served"] for line in self._answered.values()):
            if found["error"]:  # the canary's: nothing of this prompt, so all would be refused
                raise UnavailableError(
                    f"{self.endpoint} does not answer for {self.name!r}: {found['error']}."
                )
            return
        before, now = self._first, found["served"]
        if now and now != before["served"]:
            raise UnavailableError(
                f"the interface now serves another model: {now['model']} (fingerprint {now['fingerprint']}) answers for {self.name!r}, and "
                f"{self.fingerprint['interface']} did on {before['date'][:10]}; what was measured is kept and not mixed with it. To measure all "
                f"of it anew, delete {self.path} and the run's folders in cells and provenance beside it."
            )

    def _posted(self, request: dict[str, Any]) -> dict[str, Any]:
        """`text`, `error` and `served` of a request; asked again where that may help."""
        told, wait = "", 0.0
        for attempt in range(TRIES):
            time.sleep(wait)
            wait = WAIT * 2**attempt
            try:
                reply = post(self.endpoint, request)
            except ConnectionError as error:
                told = str(error)
                continue
            if reply.status < 300:
                return _read_answer(reply, self.endpoint)
            told = f"HTTP {reply.status}, {reply.told}"
            if reply.status in OF_THE_REQUEST:
                return {
                    "text": "",
                    "error": f"the interface refused the request ({told})",
                    "served": None,
                }
            if reply.status not in PASSING and reply.status < 500:
                raise self._refused(reply)
            wait = wait if reply.after is None else min(reply.after, LONGEST_WAIT)
        raise ResourceError(
            f"{self.endpoint} cannot be asked ({told}; {TRIES} tries), and the request is not in {self.path}."
        )

    def _refused(self, reply: Reply) -> UnavailableError:
        """What the server has against every request, and the way out."""
        if reply.place and reply.status < 400:
            put = "" if addresses.fault(reply.place) else "; put that into `endpoint`"
            return UnavailableError(
                f"{self.endpoint} asks to be called at {reply.place} (HTTP {reply.status}){put}."
            )
        way = (
            f"; the key is read from the environment variable {KEY}"
            if reply.status in NO_KEY
            else ""
        )
        if way and os.environ.get(KEY) and not key_for(self.endpoint):
            way = f"; the key in {KEY} is sent over https only, or to this machine"
        return UnavailableError(
            f"{self.endpoint} refuses to answer for {self.name!r} (HTTP {reply.status}, {reply.told}){way}."
        )

    def _settle(self, entry: dict[str, Any] | None = None) -> None:
        """Read what stands in the transcript by now, and add a line unless another process got that
        answer first.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._take(file)
            if entry and entry["digest"] not in self._answered:
                file.write(json.dumps(entry, sort_keys=True).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
                file.seek(self._read)
                self._take(file)

    def _take(self, file: BinaryIO) -> None:
        """The lines that were not yet read; half a line is what a killed writer left, and is cut
        off.
        """
        file.seek(self._read)
        new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        if len(whole) < len(new):
            file.truncate(self._read + len(whole))
        for text in whole.split(b"\n")[:-1]:
            try:
                line = json.loads(text)
                same = (line["endpoint"], line["request"]["model"]) == (self.endpoint, self.name)
            except (ValueError, KeyError, TypeError):
                raise InputError(
                    f"{self.path}: this transcript is damaged, at {text[:40]!r}; put back a whole one, or delete the line."
                ) from None
            if same:  # an entry of the registry may come to name another model
                self._answered.setdefault(line["digest"], line)
        self._read += len(whole)


def _read_answer(reply: Reply, endpoint: str) -> dict[str, Any]:
    try:
        text = reply.content["choices"][0]["message"]["content"]
        if not isinstance(text, str | None):
            raise TypeError
        served = {
            "model": reply.content.get("model"),
            "fingerprint": reply.content.get("system_fingerprint"),
        }
        return {"text": text or "", "error": "", "served": served}
    except (KeyError, IndexError, TypeError, AttributeError):
        raise InputError(
            f"{endpoint} does not answer in the form of OpenAI's chat completions: {reply.told[:80]!r}."
        ) from None
