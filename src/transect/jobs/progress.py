"""What is running now, for people who wait: one small file per job, read by `transect run` and
`transect status`.
"""

import json
import os
import platform
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transect.store.files.whole_files import write_text


@dataclass
class Progress:
    """Says at most once a second what a job does: `done` of `total` units of work, now `what`."""

    folder: Path
    job: str
    total: int
    _last: float = field(default=0.0, init=False)

    def say(self, done: int, what: str, training: str = "", share: float = 0.0) -> None:
        """`training` names the run that is in training, `share` how far it is: what a runner needs
        to tell the time left.
        """
        if time.monotonic() - self._last < 1 and done < self.total:
            return
        self._last = time.monotonic()
        state = {
            "job": self.job,
            "done": done,
            "total": self.total,
            "what": what,
            "training": training,
            "share": share,
        }
        state |= {"host": platform.node(), "pid": os.getpid(), "time": time.time()}
        write_text(self.folder / f"{self.job}.json", json.dumps(state))

    def end(self) -> None:
        with suppress(FileNotFoundError):
            (self.folder / f"{self.job}.json").unlink()


def running(folder: Path) -> list[dict[str, Any]]:
    """The jobs whose process lives on this machine, or that said something in the last ten minutes
    (on another one).
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        with suppress(OSError, ValueError):
            state = json.loads(path.read_text(encoding="utf-8"))
            if _alive(state):
                found.append(state)
    return found


def _alive(state: dict[str, Any]) -> bool:
    if state["host"] != platform.node():
        return bool(time.time() - state["time"] < 600)
    try:
        os.kill(state["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
