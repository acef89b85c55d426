"""What can be measured, read from the measures' files without importing them: what `transect
measures` prints.
"""

from typing import Any

from transect.registry.run import access_needed
from transect.store import units
from transect.store.project import Project


def describe(name: str, project: Project) -> dict[str, Any]:
    """One measure: what it is, what it reads, its options with their defaults (None: it must be
    given), its metrics with their units.
    """
    unit = units.find("measure", name, project)
    text, function = unit.documentation()
    return {
        "name": name,
        "what": text.split("\n\n")[0].replace("\n", " "),
        "stimuli": list(unit["STIMULI"]),
        "options": unit.options(),
        "examples": {option: unit.example(option) for option in unit.get("EXAMPLE", {})},
        "metrics": dict(unit["UNIT"]),
        "requires": list(unit["REQUIRES"]),
        "access": access_needed(unit["REQUIRES"]),
        "source": unit.get("SOURCE", ""),
        "file": str(unit.path),
        "text": text,
        "rows": function,
    }


def described(name: str | None, project: Project) -> list[dict[str, Any]]:
    """The measure of that name, or all."""
    return [
        describe(n, project)
        for n in ([name] if name else sorted(units.available("measure", project)))
    ]


def told(facts: dict[str, Any], whole: bool) -> str:
    """The lines of one measure; `whole`: with the texts of its file."""
    options = [
        f"{option}={default}"
        if default is not None
        else f"{option} (needed, e.g. {facts['examples'].get(option, '...')})"
        for option, default in facts["options"].items()
    ]
    lines = {
        "stimuli": ", ".join(facts["stimuli"]) or "none: it makes its own sequences",
        "options": ", ".join(options) or "none",
        "metrics": ", ".join(f"{metric} ({unit})" for metric, unit in facts["metrics"].items()),
        "needs": f"a model with {', '.join(facts['requires'])} (lowest access: {facts['access']})",
        "source": facts["source"],
    }
    head = [facts["name"], *([] if whole else [f"  {facts['what']}"])]
    body = [f"  {key:8} {line}" for key, line in lines.items() if line]
    return "\n".join(
        [
            *head,
            *body,
            *(["", facts["text"], "", facts["rows"], "", facts["file"]] if whole else []),
        ]
    )
