"""Text that is put into suite files: what stood there stays, byte for byte, and the result is the
old content and the new entry.
"""

import pytest
import yaml

from transect.registry.suite_file import append
from transect.store.files.yaml_file import LOADER
from transect.store.project import SHIPPED

HEAD = """# a comment at the top
suite: demo   # the file's name
title: "Demo: with a colon"
description: >
  Two
  lines.
sources: {here: a test}  # flow
checkpoints:
  # a rule
  steps: {revision: "step{step}", steps: [1, 2]}   # rule's end
"""
RUNS = {
    "last in the file": """runs:
- id: a
  notes: |
    long
    text
# the end
""",
    "contrasts follow": """runs:
  - {id: a, each: {seed: [1, 2]}}

  # about b
  - id: b
    d_model: 3   # wide

contrasts:
  - {name: x, factor: size}
""",
    "anchors": """runs:
- &base
  id: a
  verified: &v {size: count}
- <<: *base
  id: b
  verified: *v
contrasts: []
""",
    "flow": "runs: [{id: a}, {id: b}]\ncontrasts: []\n",
    "flow on lines": "runs: [\n  {id: a},  # first\n  {id: b},\n]\n",
    "no newline at the end": "runs:\n- id: a",
    "deep": "runs:\n- id: a\n  tokenizer:\n    key: x\n    parts:\n    - one\n    - two\n",
}
ENTRY = {
    "id": "new",
    "hub_id": "lab/{model}",
    "tied": True,
    "tokenizer": {"bos": "{", "vocab": 3},
    "notes": "no: 'yes'\n",
    "corpus": "unknown",
}


@pytest.mark.parametrize("runs", RUNS.values(), ids=RUNS)
def test_what_stood_there_stays(runs):
    """Every other character is kept in its order, and as YAML only the three new things are there."""
    text = HEAD + runs
    more = {
        "sources": {"files": "read: here"},
        "checkpoints": {"last": {"revision": "main", "steps": [None]}, "steps": {}},
    }
    new = append.append(text, ENTRY, more, ["corpus"])
    rest = iter(new)
    assert all(character in rest for character in text)
    before, after = yaml.safe_load(text), yaml.safe_load(new)
    assert after["runs"][:-1] == before["runs"]
    assert after["sources"] == before["sources"] | more["sources"]
    assert after["checkpoints"] == before["checkpoints"] | {"last": more["checkpoints"]["last"]}
    assert {k: v for k, v in after.items() if k not in ("runs", *more)} == {
        k: v for k, v in before.items() if k not in ("runs", *more)
    }
    assert all(line[line.index("#") :] in new for line in text.splitlines() if "#" in line)


def test_every_shipped_suite_can_be_extended():
    """Real files, whatever their style: the content is the old one and the new entry."""
    for path in (SHIPPED / "model_registry").glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        before = yaml.load(text, Loader=LOADER)
        if "runs" not in before:  # schema.yaml
            continue
        more = {
            "sources": {"files": "read, here"},
            "checkpoints": {"new_rule": {"revision": "main", "steps": [None]}},
        }
        after = yaml.load(
            append.append(text, {"id": "new", "corpus": "unknown"}, more, ["corpus"]),
            Loader=LOADER,
        )
        assert after == before | {
            "runs": [*before["runs"], {"id": "new", "corpus": "unknown"}],
            "sources": before["sources"] | more["sources"],
            "checkpoints": before["checkpoints"] | more["checkpoints"],
        }, path


def test_braces_are_doubled():
    """A string of a suite file is a template: formatted, the entry says what was to be written."""
    new = append.append(HEAD + RUNS["anchors"], ENTRY, {}, [])
    entry = yaml.safe_load(new)["runs"][-1]
    assert entry["hub_id"].format() == ENTRY["hub_id"] and entry["tokenizer"]["bos"].format() == "{"
    assert entry["notes"] == ENTRY["notes"] and entry["tied"] is True


def test_a_new_file():
    """The head that the schema asks for, then the run, with what only a person can know under a
    comment.
    """
    text = append.new_file(
        "mine",
        ENTRY,
        {"sources": {"files": "x"}, "checkpoints": {"last": {"revision": "main", "steps": [None]}}},
        ["corpus"],
    )
    found = yaml.safe_load(text)
    assert found["suite"] == "mine" and [r["id"] for r in found["runs"]] == ["new"]
    assert text.endswith("  # what only a person can know\n  corpus: unknown\n")
