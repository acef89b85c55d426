"""Adding to a suite file as text: what stands there, comments included, is kept byte for byte.

YAML that is read and written again loses its comments, its anchors and its line breaks. So the
places are found by a parser and the new text is put in between.
"""

from typing import Any

import yaml


class Template(str):
    """A string of an entry whose braces name fields; those of any other string stand for
    themselves.
    """


def append(
    text: str,
    entry: dict[str, Any],
    additions: dict[str, dict[str, Any]],
    unknown: list[str],
) -> str:
    """The text of a suite file with one more run, and with what `additions` has for its mappings
    (checkpoints, sources) where they lack it.

    unknown: fields of the entry under a comment of their own. The text must be a valid suite file.
    """
    root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    nodes = {key.value: value for key, value in root.value}
    insertions = [_sequence(text, nodes["runs"], entry, unknown)]
    for name, mapping in additions.items():
        existing = {key.value for key, _ in nodes[name].value}
        for key, value in mapping.items():
            if key not in existing:
                insertions.append(_mapping(text, nodes[name], key, value))
    for position, new in sorted(insertions, reverse=True):
        text = text[:position] + new + text[position:]
    return text


def new_file(
    suite: str,
    entry: dict[str, Any],
    additions: dict[str, dict[str, Any]],
    unknown: list[str],
) -> str:
    """The text of a suite file with one run."""
    lines = [
        f"suite: {suite}",
        f"title: {suite}",
        "description: Models that were added with `transect registry add`.",
    ]
    for name, mapping in additions.items():
        lines.append(f"{name}:")
        for key, value in mapping.items():
            lines.append(f"  {key}: {flow(value)}")
    return "\n".join([*lines, "runs:", *_block(entry, unknown, "")]) + "\n"


def flow(value: Any) -> str:
    """A value as YAML on one line; braces of a string are doubled, because a suite file's strings
    are templates.
    """
    text: str = yaml.safe_dump(
        _escaped(value), default_flow_style=True, allow_unicode=True, sort_keys=False, width=10**9
    )
    return text.removesuffix("\n").removesuffix("\n...")


def _escaped(value: Any) -> Any:
    if isinstance(value, Template):
        return str(value)
    if isinstance(value, str) and "{" in value:
        return value.replace("{", "{{").replace("}", "}}")
    return {k: _escaped(v) for k, v in value.items()} if isinstance(value, dict) else value


def _block(entry: dict[str, Any], unknown: list[str], indent: str) -> list[str]:
    """The lines of an entry of a sequence."""
    lines = []
    for name, value in entry.items():
        if name not in unknown:
            lines.append(f"{name}: {flow(value)}")
    if unknown:
        lines.append("# what only a person can know")
        lines += [f"{name}: {flow(entry[name])}" for name in unknown]
    first, *others = lines
    return [f"{indent}- {first}", *(f"{indent}  {line}" for line in others)]


def _sequence(text: str, node: Any, entry: dict[str, Any], unknown: list[str]) -> tuple[int, str]:
    if node.flow_style:
        return _into_flow(text, node, flow(entry))
    lines = _block(entry, unknown, " " * node.start_mark.column)
    return _after(text, _end(node), "\n".join(lines))


def _mapping(text: str, node: Any, key: str, value: Any) -> tuple[int, str]:
    if node.flow_style:
        return _into_flow(text, node, flow({key: value})[1:-1])
    return _after(text, _end(node), f"{' ' * node.start_mark.column}{key}: {flow(value)}")


def _into_flow(text: str, node: Any, new: str) -> tuple[int, str]:
    position = node.end_mark.index - 1  # before the bracket
    before = text[:position].rstrip()
    if not node.value or before.endswith(","):
        return position, new
    return position, f", {new}"


def _after(text: str, end: int, new: str) -> tuple[int, str]:
    """Behind the line on which `end` lies."""
    line_end = text.find("\n", end)
    if line_end < 0:
        return len(text), f"\n{new}\n"
    return line_end + 1, f"{new}\n"


def _end(node: Any) -> int:
    """Where the last thing in a node is written; an alias is written where it is named, not where
    its anchor is.
    """
    if isinstance(node, yaml.ScalarNode) or node.flow_style or not node.value:
        end = int(node.end_mark.index)
        return end - 1 if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">") else end
    last = node.value[-1]
    if isinstance(node, yaml.SequenceNode):
        return _end(last)
    key, value = last
    return _end(value) if value.start_mark.index > key.end_mark.index else int(key.end_mark.index)
