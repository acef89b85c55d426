"""Whether a model may be measured: by the flags that its code needs, and by what it offers."""

from typing import Any

from transect.errors import NotApplicable, UnavailableError
from transect.registry.run import Run
from transect.store.units import Unit


def code_allowed(run: Run, trust_remote_code: bool) -> bool:
    """Whether a run's own Python files may be run. Raises UnavailableError where the registry says
    so and the flag was not given.
    """
    if run.get("remote_code") and not trust_remote_code:
        raise UnavailableError(
            f"run {run.id!r} is computed by code of its own (`remote_code: true` in the registry), which is run only with the flag "
            "--trust-remote-code."
        )
    return bool(run.get("remote_code"))


def check_offered(measure: Unit, model: Any) -> None:
    """Raise NotApplicable for what a measure REQUIRES and the loaded model does not offer."""
    lacking = [name for name in measure["REQUIRES"] if name not in model.capabilities]
    if lacking:
        what = f"{measure.name} needs {', '.join(lacking)}"
        raise NotApplicable(
            f"{what}; this is {model.lacks}"
            if model.lacks
            else f"{what}, which this model does not offer"
        )
