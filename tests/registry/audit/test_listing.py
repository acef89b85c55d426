"""The JSON form of a listing: what was written is read again, and what is malformed is told with
its place.
"""

import json

import pytest

from tests.registry.audit.listings import tree
from transect.errors import InputError
from transect.registry.audit.listing import Repository, parse, to_json


def test_what_is_saved_is_read_again() -> None:
    """Files, contents, revisions that were not read, and repositories that were refused."""
    data = {
        "lab/m": {"step0": tree("a"), "step1": {"error": "HTTP 500"}, "other": None},
        "lab/gated": {"error": "gated"},
    }
    read = parse(data, "here")
    assert read["lab/m"].unread == {"step1": "HTTP 500", "other": ""}
    again = parse(json.loads(json.dumps(to_json(read))), "there")
    assert again == read
    assert again["lab/m"].revisions["step0"][-1].content == tree("a")[-2]["content"]


def test_the_hash_of_a_large_file_is_that_of_its_content() -> None:
    """lfs.oid where there is one, else the git blob's; folders are left out."""
    weights, tokenizer, _, _ = entries = tree("a")
    files = parse({"step0": entries}, "here", "lab/m")["lab/m"].revisions["step0"]
    assert [f.digest for f in files[:2]] == [weights["lfs"]["oid"], tokenizer["oid"]]
    assert [f.path for f in files] == ["model.safetensors", "tokenizer.json", "config.json"]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ([], r"^f: a listing is a JSON object.*this is \[\]"),
        ({}, r"^f: a listing is a JSON object"),
        ({"step0": []}, r"^f: this lists the revisions of one repository \('step0', ...\).*--run"),
        ({"lab/m": 3}, r"^f: lab/m: expected revision -> tree entries, not 3"),
        (
            {"lab/m": {"step0": "x"}},
            r"^f: lab/m: revision 'step0': expected a list of tree entries, not 'x'",
        ),
        (
            {"lab/m": {"step0": ["x"]}},
            r"revision 'step0', entry 1: expected an object with path, size and oid, not 'x'",
        ),
        (
            {"lab/m": {"step0": [{"path": "a", "size": "1", "oid": "b"}]}},
            r"entry 1: size is '1'; it must be a whole number",
        ),
        (
            {"lab/m": {"step0": [{"path": "a", "size": 1}]}},
            r"entry 1: oid is absent; it must be text",
        ),
        (
            {"lab/m": {"step0": [{"path": "a", "size": 1, "oid": "b", "lfs": 4}]}},
            r"lfs is 4; it must be an object",
        ),
        (
            {"lab/m": {"step0": [{"path": "a", "size": 1, "oid": "b", "content": "{}"}]}},
            r"content is '{}'",
        ),
    ],
)
def test_malformed(data: object, told: str) -> None:
    """One sentence: file, place, what stands there, what must."""
    with pytest.raises(InputError, match=told):
        parse(data, "f")


def test_existing_revisions() -> None:
    """What was listed and what was not are both there."""
    assert Repository({"a": ()}, {"b": ""}).existing == {"a", "b"}
