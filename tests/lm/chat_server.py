"""An interface of our own on this machine, in the form of OpenAI's chat completions; and a tiny
model that answers with 1 or 2.

with serve(lambda prompt: "1") as chat:
    model = ApiModel(tmp_path / "run.jsonl", chat.url, "tiny")
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from tests.shelf import tiny_model, word_tokenizer

KEY = "sk-secret-of-the-tests"


@dataclass
class Chat:
    """`served`: what every answer says of the model. `refusals`: (status, message) that the next
    requests are answered with.

    `raw`: what the next ones are answered with, byte for byte, and `pause` the seconds between its
    bytes. `asked`: the bodies of all requests, `keys` their Authorization headers; `got`: the paths
    that were asked for by GET.
    """

    reply: Callable[[str], str]
    served: dict[str, str | None] = field(
        default_factory=lambda: {"model": "tiny-1", "system_fingerprint": "fp_1"}
    )
    refusals: list[tuple[int, str]] = field(default_factory=list)
    asked: list[dict] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    pause: float = 0.0
    got: list[str] = field(default_factory=list)
    url: str = ""


def answer(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """An answer for Chat.raw."""
    told = {"Content-Length": str(len(body)), "Connection": "close", **headers}
    lines = [
        f"HTTP/1.1 {status}",
        *(f"{name.replace('_', '-')}: {value}" for name, value in told.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@contextmanager
def serve(reply: Callable[[str], str]) -> Iterator[Chat]:
    """A server that answers each prompt with `reply(prompt)`."""
    chat = Chat(reply)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Silence: a test's output is not a server's log."""

        def do_GET(self) -> None:
            chat.got.append(self.path)
            self.wfile.write(answer(b"{}"))

        def as_it_is(self, sent: bytes) -> None:
            self.close_connection = True
            with contextlib.suppress(ConnectionError):  # who asked may have heard enough
                for part in [sent[i : i + 1] for i in range(len(sent))] if chat.pause else [sent]:
                    self.wfile.write(part)
                    if chat.pause:
                        time.sleep(chat.pause)

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            chat.asked.append(request)
            chat.keys.append(self.headers["Authorization"])
            if chat.raw:
                return self.as_it_is(chat.raw.pop(0))
            code, body = 200, {}
            if chat.refusals:
                code, told = chat.refusals.pop(0)
                body = {"error": {"message": told}}
            else:
                message = {
                    "role": "assistant",
                    "content": chat.reply(request["messages"][0]["content"]),
                }
                body = {
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                    **chat.served,
                }
            sent = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(sent)))
            self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(sent)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    chat.url = f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
    try:
        yield chat
    finally:
        server.shutdown()
        server.server_close()


def answering_model(folder: Path) -> Path:
    """A tiny llama whose most probable next token is 1 or 2, whatever it reads: their unembeddings
    are v and -v, all others 0.
    """
    tokenizer = word_tokenizer()
    tokenizer.add_tokens(["1", "2"])
    path = tiny_model(folder, "llama", tokenizer=tokenizer, seed=7)  # a seed with which both occur
    network = AutoModelForCausalLM.from_pretrained(path)
    with torch.no_grad():
        head = network.get_output_embeddings().weight
        head[:-2], head[-1] = 0, -head[-2]
    network.save_pretrained(path)
    return path
