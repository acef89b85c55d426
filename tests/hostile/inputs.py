"""Hostile and unlucky inputs, drawn from a seed: model folders, suites, studies, stimuli, answers
of a server.

A case is a function that spoils one healthy input in a fresh sandbox and says which command reads
it. What a spoilt input would run, if anything ran it, makes a file RAN.
"""

import copy
import gzip
import json
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import yaml

RUNS = "open('RAN', 'w').write('x')"
DEEP = 100_000
VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    10**12,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    0.5,
    "",
    " ",
    "x",
    "\n",
    "\x00",
    "é" * 300,
    "../../../../outside/x",
    "/etc/passwd",
    "{id:>3000000000}",
    "{id.__class__.__mro__}",
    "{{7*7}}",
    "$(touch RAN)",
    "`touch RAN`",
    "; touch RAN",
    "=cmd|' /C touch RAN'!A0",
    "<script>x</script>",
    "org/name",
    "kernels-community/flash-attn",
    "http://127.0.0.1:9/x",
    "file:///etc/passwd",
    "__import__('os').system('touch RAN')",
    "(a+)+$",
    "range(10**9)",
    "CON",
    "a\u202eb",
    "\ud800",
    "x" * 100_000,
    [],
    {},
    [[]],
    [None],
    [1, "x"],
    {"a": {"b": {}}},
    {"": ""},
    [0] * 10_000,
    {"$ref": "#"},
    "1" * 5_000,
]


class _Call:
    """A pickle that runs code when it is read."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, (RUNS,)


@dataclass(frozen=True)
class Case:
    """One hostile input: `spoil` changes the sandbox and returns the command."""

    name: str
    spoil: Callable[[Path], list[str]]


def _places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    return [path, *(place for key, value in inner for place in _places(value, (*path, key)))]


def spoilt(document: Any, rng: Random, times: int) -> Any:
    """A copy of a document with `times` places changed: another value, nothing, another name, one
    more level.
    """
    document = copy.deepcopy(document)
    for _ in range(times):
        place = rng.choice(_places(document)[1:] or [()])
        if not place:
            return rng.choice(VALUES)
        holder = document
        for key in place[:-1]:
            holder = holder[key]
        last, way = place[-1], rng.randrange(8)
        if way == 0:
            del holder[last]
        elif way == 1 and isinstance(holder, dict):
            holder[rng.choice([v for v in VALUES if isinstance(v, str)])] = holder.pop(last)
        elif way == 2:
            holder[last] = [holder[last]]
        else:
            holder[last] = copy.deepcopy(rng.choice(VALUES))
    return document


def _unlucky_file(path: Path, rng: Random) -> None:
    """Another thing in the place of a file."""
    content = path.read_bytes() if path.is_file() else b""
    path.unlink(missing_ok=True)
    way = rng.randrange(10)
    if way == 0:
        os.mkfifo(path)
    elif way == 1:
        path.symlink_to(
            rng.choice(["/dev/zero", "/etc/passwd", "/dev/stdin", "nowhere", path.name, "/"])
        )
    elif way == 2:
        path.mkdir()
    elif way == 3:
        with path.open("wb") as file:
            file.truncate(6 * 2**30)
    elif way == 4:
        path.write_bytes(content[: rng.randrange(len(content) + 1)])
    elif way == 5:
        path.write_bytes(
            rng.choice([b"[", b'{"a":', b"- ", b"(", b"\x00", b"\xff\xfe", b"'", b"1"]) * DEEP
        )
    elif way == 6:
        spoilt_bytes = bytearray(content or b"\x00")
        for _ in range(20):
            spoilt_bytes[rng.randrange(min(len(spoilt_bytes), 2_000))] = rng.randrange(256)
        path.write_bytes(bytes(spoilt_bytes))
    elif way == 7:
        path.write_bytes(pickle.dumps(_Call()))
    elif way == 8:
        path.write_bytes(content.decode("utf-8", "replace").encode("utf-16"))
    else:
        path.write_bytes(b"")


# ----- model folders: sandbox/project/model is healthy


def _own_code(folder: Path, rng: Random) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "modeling_own.py").write_text(RUNS)
    name = rng.choice(
        ["modeling_own.Own", "other/repo--modeling_own.Own", "../modeling_own.Own", "os.system"]
    )
    config |= rng.choice(
        [
            {
                "auto_map": {
                    "AutoModelForCausalLM": name,
                    "AutoConfig": name,
                    "AutoTokenizer": [name, name],
                }
            },
            {"attn_implementation": "evil-org/evil-kernel"},
            {"_attn_implementation": "evil-org/evil-kernel@main:own"},
            {"experts_implementation": "evil-org/evil-kernel"},
            {"use_kernels": True},
            {"quantization_config": {"quant_method": "evil-org/own"}},
            {"model_type": "own", "auto_map": {"AutoModelForCausalLM": name}},
            {"custom_generate": "evil-org/own"},
            {"architectures": [name]},
        ]
    )
    (folder / "config.json").write_text(json.dumps(config))
    if rng.random() < 0.3:
        tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
        (folder / "tokenizer_config.json").write_text(
            json.dumps(
                tokenizer | {"auto_map": {"AutoTokenizer": [name, name]}, "tokenizer_class": name}
            )
        )
    if rng.random() < 0.3:
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Call()))
        if rng.random() < 0.5:
            (folder / "model.safetensors").unlink()


def _header(folder: Path, rng: Random) -> None:
    """Weights whose header lies."""
    path = folder / "model.safetensors"
    content = path.read_bytes()
    n = int.from_bytes(content[:8], "little")
    header = spoilt(json.loads(content[8 : 8 + n]), rng, rng.randrange(1, 4))
    written = json.dumps(header).encode("utf-8", "surrogatepass")
    length = rng.choice([len(written)] * 3 + [0, 2**60, len(written) + 1, 2**63])
    path.write_bytes(length.to_bytes(8, "little") + written + content[8 + n :])


def _model(rng: Random) -> Callable[[Path], list[str]]:
    names = [
        "config.json",
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
        "model.safetensors",
    ]
    way, name = rng.randrange(10), rng.choice(names)
    command = (
        ["registry", "add", "model", "--suite", "mine"]
        if rng.random() < 0.3
        else [
            "measure",
            "model",
            "--measure",
            rng.choice(["minimal_pair", "fertility", "induction"]),
            "--stimuli",
            "pairs.csv",
            "--out",
            "out.csv",
        ]
    )
    command = [
        part
        for part in command
        if not ("induction" in command and part in ("--stimuli", "pairs.csv"))
    ]

    def spoil(project: Path) -> list[str]:
        folder = project / "model"
        if way < 2:
            _own_code(folder, rng)
        elif way < 4:
            _unlucky_file(folder / name, rng)
        elif way < 6 or name == "model.safetensors":
            _header(folder, rng)
        else:
            document = json.loads((folder / name).read_text()) if (folder / name).is_file() else {}
            (folder / name).write_text(json.dumps(spoilt(document, rng, rng.randrange(1, 4))))
        return command

    return spoil


# ----- suites and studies: sandbox/project is the tiny world


TAGS = [
    "!!python/object/apply:os.system ['touch RAN']",
    "!!python/name:os.system",
    "!!int abc",
    "!!timestamp xyz",
    "!!float abc",
    "!!binary '@'",
]


def _yaml(path: Path, rng: Random) -> None:
    way = rng.randrange(10)
    text = path.read_text()
    if way < 5:
        document = spoilt(yaml.safe_load(text), rng, rng.randrange(1, 4))
        path.write_text(
            yaml.safe_dump(document, allow_unicode=False), encoding="utf-8", errors="surrogatepass"
        )
    elif way == 5:
        lines = text.splitlines()
        at = rng.randrange(len(lines))
        lines[at] = lines[at].split(":")[0] + ": " + rng.choice(TAGS)
        path.write_text("\n".join(lines))
    elif way == 6:
        levels = [
            "notes_0: &a0 [x, x, x, x, x, x, x, x, x]",
            *(f"notes_{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)),
        ]
        path.write_text(text + "\n" + "\n".join(levels) + "\n")
    elif way == 7:
        path.write_text(
            text
            + "\n"
            + rng.choice(
                [
                    "x: " + "[" * DEEP,
                    "x: " + "{a: " * DEEP,
                    "- " * DEEP,
                    "x: " + "9" * 5_000,
                    "&a [*a]",
                    "x: 'y" * 9,
                ]
            )
        )
    else:
        _unlucky_file(path, rng)


SUITE_COMMANDS = [
    ["plan", "tiny"],
    ["registry", "list"],
    ["registry", "check"],
    ["status", "tiny"],
    ["registry", "contrasts"],
    ["verify", "tiny"],
]


def _suite(rng: Random) -> Callable[[Path], list[str]]:
    command, way = rng.choice(SUITE_COMMANDS), rng.randrange(10)

    def spoil(project: Path) -> list[str]:
        path = project / "model_registry/tiny.yaml"
        if way > 1:
            _yaml(path, rng)
            return command
        document = yaml.safe_load(
            path.read_text()
        )  # aimed at what becomes a path, a text or a loop
        hostile = rng.choice([v for v in VALUES if isinstance(v, str)])
        checkpoints, run = document["checkpoints"]["trained"], document["runs"][0]
        rng.choice(
            [
                lambda: checkpoints.update(revision=hostile),
                lambda: run.update(id=hostile),
                lambda: document.update(suite=hostile),
                lambda: run.update(path=hostile),
                lambda: run.update(hf=hostile),
                lambda: checkpoints.update(steps=[0, 10**15]),
                lambda: run.update(
                    each={"d_model": list(range(3_000)), "seed": list(range(3_000))}
                ),
                lambda: run.update(notes=hostile),
            ]
        )()
        path.write_text(yaml.safe_dump(document))
        return command

    return spoil


def _study(rng: Random) -> Callable[[Path], list[str]]:
    command, way = (
        rng.choice(
            [
                ["plan", "tiny"],
                ["status", "tiny"],
                ["verify", "tiny"],
                ["plan", "studies/tiny.yaml"],
            ]
        ),
        rng.randrange(10),
    )
    texts = [
        *(v for v in VALUES if isinstance(v, str)),
        "suite == 'tiny' and " * 20_000 + "seed == 0",
        "(" * 50_000,
        "9**9**9**9",
        "suite.__class__",
        "~" * 9_999,
        "score ~ " + " * ".join(f"f{i}" for i in range(22)),
        "score ~ " + " + ".join(f"x{i}" for i in range(20_000)),
        "score ~ x | (" * 500,
    ]

    def spoil(project: Path) -> list[str]:
        path = project / "studies/tiny.yaml"
        if way > 2:
            _yaml(path, rng)
            return command
        document, text = yaml.safe_load(path.read_text()), rng.choice(texts)
        rng.choice(
            [
                lambda: document["population"].update(where=text),
                lambda: document.update(study=text),
                lambda: document["measures"][0].update(stimuli=text),
                lambda: document["measures"][0].update(measure=text),
                lambda: document["measures"][1].update(options={text: text}),
                lambda: document["analyses"].append({"analysis": text}),
                lambda: document["analyses"].append({"analysis": "attribution", "formula": text}),
                lambda: document["measures"][0].update(stimuli_options={"frames": 10**12}),
                lambda: document["measures"][1]["options"].update(n=10**12),
            ]
        )()
        path.write_text(yaml.safe_dump(document))
        return command

    return spoil


# ----- stimuli: sandbox/project/pairs.csv is healthy


def _stimuli(rng: Random) -> Callable[[Path], list[str]]:
    measure = rng.choice(
        ["minimal_pair", "surprisal", "forced_choice", "fertility", "activation_patching"]
    )
    way, suffix = (
        rng.randrange(9),
        rng.choice(
            [
                ".csv",
                ".tsv",
                ".txt",
                ".jsonl",
                ".csv.gz",
                ".jsonl.gz",
                ".parquet",
                ".feather",
                ".json",
                ".zip",
                "",
            ]
        ),
    )
    command = ["measure", "model", "--measure", measure, "--stimuli"]
    texts = [
        "the cat sleeps",
        *(v for v in VALUES if isinstance(v, str)),
        "the " * 50_000,
        "<s>" * 50,
        "\u0301" * 5_000,
        "=1+1",
        "\ufeffx",
        "a\rb",
    ]

    def spoil(project: Path) -> list[str]:
        path = project / f"items{suffix}"
        rows = [
            {
                "item": rng.choice([i, rng.choice(VALUES)]),
                "sentence_good": rng.choice(texts),
                "sentence_bad": rng.choice(texts),
            }
            for i in range(5)
        ]
        if way < 3:  # as JSON lines, whatever the suffix says
            written = "\n".join(
                json.dumps(row if rng.random() < 0.7 else spoilt(row, rng, 1)) for row in rows
            ).encode("utf-8", "surrogatepass")
        elif way < 5:
            joint = rng.choice([",", ";", "\t", "|"])
            quoted = [
                joint.join('"' + str(v).replace('"', '""') + '"' for v in row.values())
                for row in rows
            ]
            written = "\n".join([joint.join(rows[0]), *quoted]).encode("utf-8", "surrogatepass")
        elif way == 5:
            written = rng.choice(
                [
                    b'{"a":' * DEEP,
                    b"[" * DEEP,
                    b"," * 10**6,
                    b"a\x00b,c\n" * 99,
                    b"\xff" * 999,
                    b"PAR1" * 99,
                    b"ARROW1" * 99,
                    b'"' * 9_999,
                ]
            )
        elif way == 6:
            written = (
                b"0" * 300 * 2**20
                if rng.random() < 0.5
                else b"sentence_good,sentence_bad\n" + b"a,b\n" * 10**6
            )
            path = path if suffix.endswith(".gz") else project / "items.csv.gz"
        else:
            path.write_bytes((project / "pairs.csv").read_bytes())
            _unlucky_file(path, rng)
            return [*command, path.name, "--out", "out.csv"]
        path.write_bytes(gzip.compress(written, 1) if path.suffix == ".gz" else written)
        return [*command, path.name, "--out", rng.choice(["out.csv", "out.parquet"])]

    return spoil


# ----- answers: what a server sends, the whole of it


def answer(rng: Random, key: str) -> bytes:
    """The bytes of one HTTP answer; a part of them echoes the key."""
    healthy = {
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "1"}, "finish_reason": "stop"}
        ],
        "model": "tiny-1",
        "system_fingerprint": "fp_1",
    }
    aspects = rng.sample(["document", "body", "status", "headers", "length"], rng.choice([1, 1, 2]))
    document = spoilt(healthy, rng, rng.randrange(1, 4)) if "document" in aspects else healthy
    body = json.dumps(document).encode("utf-8", "surrogatepass")
    bodies = [
        b"[" * 200_000,
        b"",
        b"\xff" * 99,
        b"<html>",
        b"null",
        b"9" * 20_000_000,
        body[: len(body) // 2],
        f"Invalid key: {key}".encode(),
    ]
    statuses = [
        "301 Moved",
        "302 Found",
        "307 Temporary",
        "400 Bad",
        f"401 {key}",
        "404 No",
        "500 Down",
        "999 What",
        "abc",
        "",
    ]
    others = [
        "Location: http://127.0.0.1:9/other\r\n",
        "Location: file:///etc/passwd\r\n",
        "Retry-After: 1e9\r\n",
        f"X-Echo: {key}\r\n",
        "a" * 70_000 + "\r\n",
    ]
    body = rng.choice(bodies) if "body" in aspects else body
    status = rng.choice(statuses) if "status" in aspects else "200 OK"
    headers = rng.choice(others) if "headers" in aspects or status[:2] == "30" else ""
    length = rng.choice([0, len(body) + 9, -1, 10**18]) if "length" in aspects else len(body)
    retry = "" if "Retry-After" in headers else "Retry-After: 0\r\n"
    return (
        f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}{retry}Connection: close\r\n\r\n".encode()
        + body
    )


KINDS: dict[str, Callable[[Random], Callable[[Path], list[str]]]] = {
    "model": _model,
    "suite": _suite,
    "study": _study,
    "stimuli": _stimuli,
}


def cases(kind: str, n: int) -> list[Case]:
    """The first n cases of a kind; each has a generator of its own, so that one more case changes
    no other.
    """
    return [Case(f"{kind}-{i}", KINDS[kind](Random(f"{kind} {i}"))) for i in range(n)]
