"""Hostile and unlucky files in a model's folder: one sentence that names the file, and nothing
waited for or read without end.
"""

import os
import socket
from pathlib import Path

import pytest

from tests.shelf import tiny_model
from transect.errors import LoadError
from transect.lm import load
from transect.lm.describe.description import describe
from transect.store.model_files.folder import (
    check_files,
    configuration,
    read_object,
    settings,
    weight_files,
)

NESTED = 100_000
FORMS = {
    "[1, 2]": "must be a JSON object, and is a list",
    '"x"': "must be a JSON object, and is a text",
    "null": "must be a JSON object, and is null",
    "7": "must be a JSON object, and is a number",
    '{"a":' * NESTED + "1" + "}" * NESTED: "nested too deeply; at most 64 levels",
    "[" * NESTED: "nested too deeply; at most 64 levels",
    '{"a":' * 70 + "1" + "}" * 70: "nested too deeply; at most 64 levels",
    "": "no readable JSON",
    '{"a": NaN}': "it holds NaN",
    '{"a": 1, "a": 2}': "the name 'a' stands twice, with different values",
    '{"a": ' + "9" * 5000 + "}": "no readable JSON",
}
SETTINGS = [
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "preprocessor_config.json",
    "chat_template.json",
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that the tests below copy nothing of: they link to its files."""
    return tiny_model(tmp_path_factory.mktemp("whole"), "gpt2")


@pytest.fixture
def path(model: Path, tmp_path: Path) -> Path:
    """A folder of links to the files of the model, each of which may be replaced."""
    for file in model.iterdir():
        (tmp_path / file.name).symlink_to(file)
    return tmp_path


def put(file: Path, text: str) -> Path:
    """Another file in the place of a link."""
    file.unlink(missing_ok=True)
    file.write_text(text)
    return file


@pytest.mark.parametrize(("text", "told"), FORMS.items(), ids=range(len(FORMS)))
def test_what_is_no_object_is_told(text, told, tmp_path):
    """Every wrong form of a JSON file, with its name."""
    with pytest.raises(LoadError, match="config.json: .*" + told):
        read_object(put(tmp_path / "config.json", text))


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("text", ["[1, 2]", "null", "[" * NESTED])
def test_every_file_of_settings_is_looked_at(name, text, path):
    """By loading and by describing alike."""
    put(path / name, text)
    for read in (load, describe):
        with pytest.raises(LoadError, match=f"/{name}: "):
            read(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[1]", "must be a JSON object"),
        ('{"a": 1}', "no tokenizer of the tokenizers library"),
        ("[" * NESTED, "too deeply"),
    ],
)
def test_a_tokenizer_of_another_form_is_told(text, told, path):
    """The sentence names tokenizer.json and not only what a library says."""
    put(path / "tokenizer.json", text)
    with pytest.raises(LoadError, match=f"tokenizer.json: .*{told}"):
        load(path)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("config.json", '{"auto_map": [1]}', "auto_map is a list .*must be an object"),
        ("config.json", '{"auto_map": "x"}', "auto_map is a text"),
        ("config.json", '{"auto_map": 7}', "auto_map is a number"),
        ("config.json", '{"auto_map": {"AutoConfig": 7}}', "auto_map: AutoConfig is a number"),
        ("config.json", '{"architectures": [1]}', "architectures holds a number"),
        ("config.json", '{"model_type": 7}', "model_type is a number"),
        ("config.json", '{"return_dict": "x"}', "return_dict is a text .*must be true or false"),
        (
            "config.json",
            '{"eos_token_id": [1, "x"]}',
            "eos_token_id is a list .*a whole number or a list of them",
        ),
        ("config.json", '{"quantization_config": "fp8"}', "quantization_config is a text"),
        ("generation_config.json", '{"eos_token_id": "x"}', "eos_token_id is a text"),
        (
            "tokenizer_config.json",
            '{"model_max_length": "x"}',
            "model_max_length is a text .*must be a number",
        ),
        ("tokenizer_config.json", '{"bos_token": 7}', "bos_token is a number"),
        ("special_tokens_map.json", '{"eos_token": [1]}', "eos_token is a list"),
        ("added_tokens.json", '{"a": "b"}', "a is a text"),
    ],
)
def test_a_field_of_a_wrong_kind_is_told(name, text, told, tmp_path):
    """The file, the field, what it is and what it must be."""
    put(tmp_path / name, text)
    with pytest.raises(LoadError, match=f"{name}: {told}"):
        settings(tmp_path, name)


def test_null_and_unknown_fields_are_left_alone(tmp_path):
    """What readers ignore, or take for absent, is no error."""
    text = '{"auto_map": null, "eos_token_id": null, "something": [1], "dtype": {"": "float32"}}'
    put(tmp_path / "config.json", text)
    assert configuration(tmp_path)["something"] == [1]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"metadata": {}, "weight_map": {"a": 7}}', "7 is no name of a file"),
        ('{"metadata": {}, "weight_map": {"a": 7, "b": "x"}}', "7 is no name of a file"),
        ('{"metadata": {}, "weight_map": {"a": {"b": "c"}}}', "is no name of a file"),
        ('{"metadata": {}, "weight_map": {"a": "' + "x" * 300 + '"}}', "is no name of a file"),
        ('{"metadata": {}, "weight_map": {}}', "it names no file"),
        ('{"weight_map": {"a": "config.json"}}', "no object 'metadata'"),
        ('{"metadata": {}}', "no object 'weight_map'"),
        ("[" * NESTED, "too deeply"),
        *(
            (f'{{"metadata": {{}}, "weight_map": {{"a": "{name}"}}}}', "is no name of a file")
            for name in ("../x", "/etc/passwd", ".", "..", "", "a\\u0000b", "a/b")
        ),
    ],
)
def test_an_index_that_is_none_is_told(text, told, tmp_path):
    """Names of files elsewhere among it: the index is data from outside."""
    put(tmp_path / "model.safetensors.index.json", text)
    put(tmp_path / "config.json", "{}")
    with pytest.raises(LoadError, match=f"model.safetensors.index.json: .*{told}"):
        weight_files(tmp_path)


def sock(file: Path) -> None:
    """A socket at a path of any length."""
    before = os.getcwd()
    os.chdir(file.parent)
    try:
        socket.socket(socket.AF_UNIX).bind(file.name)
    finally:
        os.chdir(before)


def huge(file: Path) -> None:
    """A file of 10 GB that takes no room."""
    file.touch()
    os.truncate(file, 10**10)


SPECIAL = {
    "pipe": (os.mkfifo, "no file but a pipe, device or socket"),
    "device": (lambda file: file.symlink_to("/dev/zero"), "no file but a pipe, device or socket"),
    "socket": (sock, "no file but a pipe, device or socket"),
    "folder": (Path.mkdir, "no file but a folder"),
    "dangling": (
        lambda file: file.symlink_to("/nowhere/at/all"),
        "a link to a file that is not there",
    ),
    "huge": (huge, "10,000,000,000 bytes; a file of this name may have"),
}
OPENED = [
    *SETTINGS,
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
    "adapter_config.json",
    "tokenizer.model",
    "model.safetensors.index.json",
]


@pytest.mark.parametrize("name", OPENED)
@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_file_is_not_opened(name, kind, path):
    """A pipe would be waited for, a device read without end; the limits of sizes are stated."""
    make, told = SPECIAL[kind]
    (path / name).unlink(missing_ok=True)
    make(path / name)
    with pytest.raises(LoadError, match=f"/{name}: this .*{told}"):
        check_files(path)


@pytest.mark.parametrize("kind", ["pipe", "device", "socket", "folder", "dangling"])
def test_weights_that_are_no_file_are_not_opened(kind, path):
    """The same of the weights, which have no limit of size."""
    make, told = SPECIAL[kind]
    (path / "model.safetensors").unlink()
    make(path / "model.safetensors")
    with pytest.raises(LoadError, match=f"model.safetensors: this .*{told}"):
        load(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_told(path):
    """As another user's folder has them."""
    put(path / "config.json", "{}").chmod(0)
    with pytest.raises(LoadError, match="config.json: this may not be read"):
        check_files(path)


def test_other_files_of_the_folder_are_nobodys_matter(path):
    """A log that is a pipe, a large table of a training: no reader opens them, so the model loads."""
    os.mkfifo(path / "training.log")
    huge(path / "trainer_state.json")
    assert load(path).objective == "causal"
