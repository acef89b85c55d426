"""Models behind an interface: asked over HTTP by a server of our own, once; everything else comes
from the transcript.
"""

import json
import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.lm.chat_server import KEY, answer, serve
from transect.errors import InputError, NotApplicable, ResourceError, UnavailableError
from transect.lm import api
from transect.lm.api import ApiModel
from transect.store.cell_store import digest


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def transcript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRANSECT_API_KEY", KEY)
    monkeypatch.setattr(api, "WAIT", 0.0)  # a server that is gone is not waited for
    return tmp_path / "transcripts" / "run.jsonl"


def test_a_request_is_asked_once_and_kept(transcript: Path) -> None:
    """The canary and one prompt, asked three times: two requests, two lines with all that is needed
    to replay and to date them.
    """
    with serve(lambda prompt: prompt[::-1]) as chat:
        model = ApiModel(transcript, chat.url, "tiny")
        for _ in range(3):
            assert [a.text for a in model.write(["abc"], max_new_tokens=4)] == ["cba"]
    assert [len(chat.asked), len(lines(transcript))] == [2, 2]
    line = lines(transcript)[1]
    assert line["request"] == chat.asked[1]
    assert (
        line["request"]["model"],
        line["request"]["temperature"],
        line["request"]["max_tokens"],
    ) == ("tiny", 0, 4)
    assert line["digest"] == digest({"endpoint": chat.url, "request": line["request"]})
    assert (line["text"], line["error"], line["served"]) == (
        "cba",
        "",
        {"model": "tiny-1", "fingerprint": "fp_1"},
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line["date"])


def test_the_transcript_answers_without_a_network(transcript: Path) -> None:
    """The server is gone: what was asked is answered, what was not is a resource error that names
    both.
    """
    with serve(str.upper) as chat:
        first = ApiModel(transcript, chat.url, "tiny")
        first.write(["abc"], max_new_tokens=4)
    again = ApiModel(transcript, chat.url, "tiny")
    assert (
        again.write(["abc"], max_new_tokens=4)[0].text == "ABC"
        and again.fingerprint == first.fingerprint
    )
    with pytest.raises(ResourceError, match="cannot be asked .*5 tries.*is not in .*run.jsonl"):
        again.write(["abc"], max_new_tokens=5)


def test_the_key_is_sent_and_never_kept(transcript: Path) -> None:
    """It goes to this machine; the transcript and a refusal do not hold it."""
    with serve(str.upper) as chat:
        model = ApiModel(transcript, chat.url, "tiny")
        assert chat.keys == [f"Bearer {KEY}"] and KEY not in transcript.read_text()
        chat.refusals = [(401, f"Incorrect key {KEY}")]
        with pytest.raises(
            UnavailableError, match=r"HTTP 401, Incorrect key \*\*\*.*variable TRANSECT_API_KEY"
        ) as told:
            model.write(["abc"], max_new_tokens=4)
        assert "\n" not in str(told.value)


def test_busy_servers_are_asked_again(transcript: Path) -> None:
    """Too many requests, then an error of the server, then the answer; five in a row are too many."""
    with serve(str.upper) as chat:
        chat.refusals = [(429, "slow down"), (503, "busy")]
        model = ApiModel(transcript, chat.url, "tiny")
        assert len(chat.asked) == 3 and len(lines(transcript)) == 1
        chat.refusals = [(500, "broken")] * 5
        with pytest.raises(ResourceError, match="HTTP 500, broken; 5 tries"):
            model.write(["abc"], max_new_tokens=4)


def test_a_refused_prompt_is_an_error_of_its_own(transcript: Path) -> None:
    """The others are answered, and the refusal is replayed like an answer; half a character is not
    sent.
    """
    with serve(str.upper) as chat:
        model = ApiModel(transcript, chat.url, "tiny")
        chat.refusals = [(400, "too long")]
        found = model.write(["long", "short", "\ud800"], max_new_tokens=4)
    assert [a.text for a in found] == ["", "SHORT", ""]
    assert (
        "refused the request (HTTP 400, too long)" in found[0].error
        and "surrogate" in found[2].error
    )
    assert (
        ApiModel(transcript, chat.url, "tiny").write(["long", "short", "\ud800"], max_new_tokens=4)
        == found
    )


def test_a_name_that_is_not_served_is_one_sentence(transcript: Path) -> None:
    """Nothing is kept of an interface that never answered."""
    with serve(str.upper) as chat:
        for status in (404, 400):
            chat.refusals = [(status, "no such model")]
            with pytest.raises(
                UnavailableError, match=f"answer for 'tinny'.*HTTP {status}, no such model"
            ):
                ApiModel(transcript, chat.url, "tinny")
    assert lines(transcript) == []


@pytest.mark.parametrize(
    "change", [{"system_fingerprint": "fp_2"}, {"model": "tiny-2"}, {"system_fingerprint": None}]
)
def test_another_model_under_the_name_is_refused(transcript: Path, change: dict) -> None:
    """Its answer is neither given nor kept; earlier ones still are."""
    with serve(str.upper) as chat:
        model = ApiModel(transcript, chat.url, "tiny")
        model.write(["abc"], max_new_tokens=4)
        before = transcript.read_bytes()
        chat.served |= change
        for asked in (model, ApiModel(transcript, chat.url, "tiny")):
            assert asked.write(["abc"], max_new_tokens=4)[0].text == "ABC"
            with pytest.raises(
                UnavailableError,
                match="^the interface now serves another model: .* tiny-1 .fingerprint fp_1. did on 20",
            ):
                asked.write(["def"], max_new_tokens=4)
        assert transcript.read_bytes() == before


def test_another_name_begins_anew(transcript: Path) -> None:
    """An entry that comes to name another model is no silent change: it has a canary of its own in
    the same file.
    """
    with serve(str.upper) as chat:
        ApiModel(transcript, chat.url, "tiny")
        chat.served["model"] = "large-1"
        assert "large-1" in ApiModel(transcript, chat.url, "large").fingerprint["interface"]


def test_half_a_line_is_cut_off(transcript: Path) -> None:
    """What a killed writer left does no harm; a whole line that is damaged is told with its file."""
    with serve(str.upper) as chat:
        ApiModel(transcript, chat.url, "tiny")
        whole = transcript.read_bytes()
        transcript.write_bytes(whole + b'{"digest": "12')
        ApiModel(transcript, chat.url, "tiny").write(["abc"], max_new_tokens=4)
        assert transcript.read_bytes().startswith(whole) and len(lines(transcript)) == 2
        transcript.write_bytes(whole + b"{}\n")
        with pytest.raises(InputError, match="run.jsonl: this transcript is damaged, at .*{}"):
            ApiModel(transcript, chat.url, "tiny")


def test_of_two_writers_the_first_answer_stands(transcript: Path) -> None:
    """Both give what stands in the transcript, so that a replay gives what both measured."""
    with serve(str.upper) as chat:
        one, other = (ApiModel(transcript, chat.url, "tiny") for _ in range(2))
        one.write(["abc"], max_new_tokens=4)
        chat.reply = str.lower
        assert (
            other.write(["abc"], max_new_tokens=4)[0].text == "ABC" and len(lines(transcript)) == 2
        )


def test_another_form_of_answer_is_one_sentence(transcript: Path) -> None:
    """A server that does not speak this form is named with what it said."""
    with serve(str.upper) as chat:
        for choices in (None, [], [{"text": "ABC"}], [{"message": {"content": ["ABC"]}}]):
            chat.served["choices"] = choices
            with pytest.raises(
                InputError,
                match="completions does not answer in the form of OpenAI's chat completions: '{.*choices",
            ):
                ApiModel(transcript, chat.url, "tiny")


def test_it_offers_text_only(transcript: Path) -> None:
    """Tokens and probabilities are not applicable, with the reason."""
    with serve(str.upper) as chat:
        model = ApiModel(transcript, chat.url, "tiny")
    assert model.capabilities == {"text"}
    for use in (
        lambda: model.encode("abc"),
        lambda: model.token_scores([[1]]),
        lambda: model.anatomy,
    ):
        with pytest.raises(NotApplicable):
            use()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_told_and_not_followed(transcript: Path, status: int) -> None:
    """Another server is not asked, neither with nor without the prompt; its address is told without
    what it carries of secrets.
    """
    with serve(str.upper) as other, serve(str.upper) as chat:
        place = other.url.replace("//", "//user:S3CRETPW@") + "?api-key=S3CRETQ"
        chat.raw = [answer(b"", f"{status} Moved", Location=place)]
        with pytest.raises(UnavailableError, match="asks to be called at http://.*HTTP") as told:
            ApiModel(transcript, chat.url, "tiny")
        assert other.asked == other.got == [] and lines(transcript) == []
        chat.raw = [answer(b"", f"{status} Moved", Location="/v2/chat")]
        with pytest.raises(
            UnavailableError,
            match=r"called at http://127.0.0.1:\d+/v2/chat .*; put that into `endpoint`",
        ):
            ApiModel(transcript, chat.url, "tiny")
    assert "S3CRET" not in str(told.value) and KEY not in str(told.value)


@pytest.mark.parametrize(
    "after", ["9" * 400, "-5", "nan", "1e400", "\u0661".encode().decode("latin-1"), "soon"]
)
def test_an_absurd_wait_is_not_waited(
    transcript: Path, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    """At most LONGEST_WAIT, and nothing for what is no number of seconds."""
    waits: list[float] = []
    clock = SimpleNamespace(sleep=waits.append, strftime=time.strftime, gmtime=time.gmtime)
    monkeypatch.setattr(api, "time", clock)
    with serve(str.upper) as chat:
        chat.raw = [answer(b"", "429 Busy", Retry_After=after)]
        ApiModel(transcript, chat.url, "tiny")
    assert waits == [0.0, api.LONGEST_WAIT if after.startswith("9") else 0.0]


@pytest.mark.parametrize(
    "body",
    [b"[" * 200_000, b'{"a":' * 200_000, b"\xff\xfe", b"", b"null", b"7", b'{"choices": {}}'],
)
def test_a_body_that_is_no_answer_is_one_sentence(transcript: Path, body: bytes) -> None:
    """Nested without end, of no encoding, empty, or of another form."""
    with serve(str.upper) as chat:
        chat.raw = [answer(body)]
        with pytest.raises(
            InputError, match="does not answer in the form of OpenAI's chat completions: .*\\.$"
        ) as told:
            ApiModel(transcript, chat.url, "tiny")
    assert len(str(told.value)) < 250


@pytest.mark.parametrize(
    "url",
    [
        "http://user:S3CRET@h.example/v1",
        "https://h.example/v1?api-key=S3CRET",
        "https://h\u2024example/",
        "file:///etc/passwd",
    ],
)
def test_an_address_that_cannot_be_called_is_refused(transcript: Path, url: str) -> None:
    """Before anything is sent or written, and without its secrets."""
    with pytest.raises(InputError, match="the key is read from TRANSECT_API_KEY") as told:
        ApiModel(transcript, url, "tiny")
    assert "S3CRET" not in str(told.value) and not transcript.exists()
