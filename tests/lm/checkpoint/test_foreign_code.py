"""No value of a configuration has code from elsewhere run."""

import contextlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import jinja2
import numpy as np
import pytest

from tests.shelf import random_sequences, tiny_model
from transect.errors import LoadError, UnavailableError
from transect.lm import load
from transect.lm.checkpoint import foreign_code
from transect.lm.describe.description import describe
from transect.lm.text import opening
from transect.lm.text.tokenizer import read_tokenizer

NAMES = [
    "org/name",
    "kernels-community/flash-attn2",
    "org/name@main:attend",
    "paged|org/name",
    {"": "org/name"},
]
FIELDS = [
    "attn_implementation",
    "_attn_implementation",
    "experts_implementation",
    "_experts_implementation",
    "mlp_kernel",
]
# the package `kernels` as transformers asks for it: whoever gets a kernel leaves a file
STUB = """
import os
def use_kernel_forward_from_hub(*names):
    return lambda it: it
use_kernelized_func = use_kernel_forward_from_hub
def __getattr__(name):
    return type(name, (), {"__init__": lambda *given, **named: None, "INFERENCE": 1, "TRAINING": 2})
def get_kernel(name, **more):
    open(os.environ["CALLED"], "a").write(name)
    raise SystemExit("a kernel was asked for")
"""
LOAD = """
import sys
from transect.errors import LoadError
if sys.argv[2] == "open":
    import transect.lm.checkpoint.foreign_code as f
    f.refuse = f.replace = lambda given: None
    del sys.modules["kernels"]
from transect.lm import load
for path in sys.argv[3:]:
    try:
        print(load(path).n_layers)
    except LoadError as error:
        print(error)
"""


def changed(path: Path, name: str = "config.json", **fields: object) -> Path:
    """The folder, after fields of a file of settings were set."""
    file = path / name
    given = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps(given | fields))
    return path


@pytest.mark.parametrize("name", NAMES, ids=str)
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("inside", ["", "text_config", "quantization_config"])
def test_a_repository_in_the_place_of_a_program_is_told(
    field: str, name: object, inside: str
) -> None:
    """Of attention, experts or a kernel, at the top or within: with the place and the repository."""
    settings = {"model_type": "gpt2", **({inside: {field: name}} if inside else {field: name})}
    place = f"{inside}.{field}" if inside else field
    told = foreign_code.fault(settings)
    assert (
        "of the repository" in told
        and "org/name" in told + "org/name" * ("community" in told)
        and place in told
    )


@pytest.mark.parametrize("field", foreign_code.WISHES)
def test_a_wish_for_kernels_is_told(field: str) -> None:
    """Also in a list within; a wish against them is none."""
    assert f"layers.{field}" in foreign_code.fault(
        {"layers": [{field: {"RMSNorm": "org/name:RMSNorm"}}]}
    )
    assert not foreign_code.fault({field: False})


def test_what_only_sounds_like_it_is_left_alone() -> None:
    """Widths of convolutions, xLSTM's names of kernels, the paths and addresses of other fields."""
    kept = {
        "conv_kernel": 4,
        "conv_kernel_size": [3, 3],
        "step_kernel": "native",
        "chunkwise_kernel": "chunkwise--native",
        "use_mamba_kernels": True,
        "_name_or_path": "org/name",
        "cache_implementation": "static",
        "quantization_config": {"meta": {"uri": "https://github.com/modelcloud/gptqmodel"}},
    }
    assert foreign_code.fault(kept) == ""


def test_depth_and_shape_do_not_matter() -> None:
    """A list, a text, a number, and 100,000 levels: read without recursion."""
    deep: object = {"attn_implementation": "org/name"}
    for _ in range(100_000):
        deep = {"": deep}
    assert [foreign_code.fault(x) for x in ([1, "a/b"], "a/b", None, 7)] == [""] * 4
    assert "org/name" in foreign_code.fault(deep)


@pytest.mark.parametrize(
    "file",
    ["config.json", "generation_config.json", "tokenizer_config.json", "processor_config.json"],
)
def test_loading_and_describing_refuse_it(file: str, tmp_path: Path) -> None:
    """In every file of settings of a folder, by one sentence that names it and gives no advice to
    install anything.
    """
    path = changed(tiny_model(tmp_path, "llama"), file, attn_implementation="org/name")
    for use in (load, describe):
        with pytest.raises(
            LoadError, match=rf"{file}: it asks for code of the repository 'org/name'"
        ) as told:
            use(path)
        assert "install" not in str(told.value)


@pytest.mark.parametrize(
    "name", ["flash_attention_2", "flash_attention_3", "flex_attention", "paged|eager", "none"]
)
def test_other_programs_of_the_attention_are_replaced(name: str, tmp_path: Path) -> None:
    """The network computes with torch's, and so the same numbers as without the field."""
    path = tiny_model(tmp_path, "llama")
    ids = random_sequences(1, 60)
    before = load(path).token_logprobs(ids)[0]
    model = load(changed(path, attn_implementation=name, _attn_implementation=name))
    assert np.array_equal(model.token_logprobs(ids)[0], before, equal_nan=True)


def test_advice_to_open_the_way_is_not_repeated() -> None:
    """An ImportError that says `pip install kernels` becomes a sentence without it; others stay as
    they are.
    """
    assert "pip" not in foreign_code.told(
        ImportError("run `pip install kernels==0.18.2` to use it")
    )
    assert foreign_code.told(KeyError("x")) == "KeyError: 'x'"


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package `kernels` of a version that transformers takes."""
    folder = tmp_path_factory.mktemp("stub")
    (folder / "kernels").mkdir()
    (folder / "kernels/__init__.py").write_text(STUB)
    (folder / "kernels-0.18.2.dist-info").mkdir()
    (folder / "kernels-0.18.2.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: kernels\nVersion: 0.18.2\n"
    )
    return folder


def loaded(stub: Path, way: str, *paths: Path) -> tuple[str, bool]:
    """What a process with that package says of the folders, and whether a kernel was asked for."""
    called = stub / f"called-{way}"
    called.unlink(missing_ok=True)
    where = os.pathsep.join(filter(None, [str(stub), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": where, "CALLED": str(called), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", LOAD, "", way, *map(str, paths)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return done.stdout + done.stderr[-2000:], called.exists()


def test_no_kernel_is_asked_for(stub: Path, tmp_path: Path) -> None:
    """Where the package is installed: refused or computed by torch. Without our checks the same
    folder asks for it (control).
    """
    fields = [
        {"attn_implementation": "org/name"},
        {"attn_implementation": "flash_attention_2"},
        {"use_kernels": True},
    ]
    paths = [
        changed(tiny_model(tmp_path / str(i), "llama"), **given) for i, given in enumerate(fields)
    ]
    said, called = loaded(stub, "closed", *paths)
    assert not called and said.count("asks for") == 2 and "\n2\n" in said, said
    said, called = loaded(stub, "open", paths[0])
    assert called, said


class _Call:
    """Pickled: a call that leaves a file where it is read."""

    def __init__(self, ran: Path) -> None:
        self.ran = ran

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.ran), "w")


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.safetensors", "model-00001-of-00001.safetensors", "a.bin"]
)
def test_pickles_are_never_read(name: str, tmp_path: Path) -> None:
    """Beside right weights they are left alone; in their place, under any name that the index may
    give, they are refused.
    """
    path = tiny_model(tmp_path, "gpt2")
    (path / "pytorch_model.bin").write_bytes(pickle.dumps(_Call(tmp_path / "RAN")))
    assert load(path).n_layers == 2
    (path / "model.safetensors").unlink()
    (path / name).write_bytes(pickle.dumps(_Call(tmp_path / "RAN")))
    if name not in ("pytorch_model.bin", "model.safetensors"):
        changed(path, "model.safetensors.index.json", metadata={}, weight_map={"wte.weight": name})
    with pytest.raises(LoadError):
        load(path)
    assert not (tmp_path / "RAN").exists()
    pickle.loads((path / name).read_bytes()).close()
    assert (tmp_path / "RAN").exists()  # control


REFERENCES = ["evil.Own", "sub/evil.Own", "../evil.Own", "org/name--evil.Own"]


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("kind", ["llama", "unknown"])
def test_code_that_files_name_is_not_run(kind: str, reference: str, tmp_path: Path) -> None:
    """By auto_map of the model and the tokenizer, custom_generate, custom_pipelines,
    trust_remote_code: a known type is computed by transformers, an unknown one refused."""
    path = tiny_model(tmp_path, "llama")
    for place in (path, path / "sub", path / "custom_generate", tmp_path):
        place.mkdir(exist_ok=True)
        for name in ("evil", "generate"):
            (place / f"{name}.py").write_text(f"open({str(tmp_path / 'RAN')!r}, 'w').close()\n")
    names = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoModelForMultimodalLM")
    more = {
        "trust_remote_code": True,
        "custom_generate": reference,
        "custom_pipelines": {"x": {"impl": reference, "pt": [reference]}},
    }
    changed(path, model_type=kind, auto_map=dict.fromkeys(names, reference), **more)
    changed(path, "generation_config.json", **more)
    changed(
        path,
        "tokenizer_config.json",
        auto_map={"AutoTokenizer": [reference, reference]},
        tokenizer_class=reference,
        **more,
    )
    if kind == "llama":
        assert load(path).n_layers == 2
        describe(path)
    else:
        with pytest.raises(
            (LoadError, UnavailableError), match="another repository|remote_code: true"
        ):
            load(path)
    assert not (tmp_path / "RAN").exists()


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_tokenizer_that_is_converted_runs_no_code_of_its_own(
    reference: str, tmp_path: Path
) -> None:
    """tokenizer_config.json names a class in the folder: transformers' own class for the vocabulary
    is taken, or it is refused.
    """
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'RAN')!r}, 'w').close()\n")
    (tmp_path / "vocab.txt").write_text(
        "\n".join(
            ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz,:", "##e"]
        )
    )
    auto_map = {"AutoTokenizer": [reference, reference]}
    changed(tmp_path, "tokenizer_config.json", tokenizer_class="BertTokenizer", auto_map=auto_map)
    changed(tmp_path, model_type="bert")
    assert read_tokenizer(tmp_path).convert_tokens_to_ids("[MASK]") == 4
    changed(tmp_path, "tokenizer_config.json", tokenizer_class="EvilTokenizer", auto_map=auto_map)
    with contextlib.suppress(LoadError):
        read_tokenizer(tmp_path)
    assert not (tmp_path / "RAN").exists()


def test_a_template_of_chats_is_only_read(tmp_path: Path) -> None:
    """It is a program of Jinja: loading, describing and looking for an opening run nothing of it."""
    path = tiny_model(tmp_path, "llama")
    call = f"cycler.__init__.__globals__.os.system('touch {tmp_path / 'RAN'}')"
    changed(path, "tokenizer_config.json", chat_template="{{ bos_token }}{{ " + call + " }}")
    model = load(path)
    describe(path)
    assert "cycler" in model.tokenizer.chat_template and opening.around(model.tokenizer) is not None
    assert not (tmp_path / "RAN").exists()
    jinja2.Template("{{ " + call + " }}").render()
    assert (tmp_path / "RAN").exists()  # control
