"""`kind: http` against a server on this machine that answers, waits, refuses or sends garbage."""

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from pydantic import ValidationError

from bench.common.errors import UserError
from bench.datasets.base import Caption, Item
from bench.systems.base import Lookup, Variant
from bench.systems.http import HttpGenerator, HttpSystem, _Timing
from bench.systems.sound import read_flac


def _wav(seconds: float = 0.5) -> bytes:
    buffer = io.BytesIO()
    wave = 0.3 * np.sin(np.arange(int(24_000 * seconds)) / 10)
    soundfile.write(buffer, wave, 24_000, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


Answer = tuple[int, Mapping[str, str], bytes]
GOOD: Answer = (200, {"Content-Type": "audio/wav"}, _wav())


class Service:
    """A server; `answer` is called with a request's body, its headers and its number."""

    def __init__(self) -> None:
        self.answer: Callable[[bytes, Mapping[str, str], int], Answer] = lambda *_: GOOD
        self.bodies: list[bytes] = []
        self.headers: list[Mapping[str, str]] = []
        self.ended = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service.bodies.append(body)
                service.headers.append(dict(self.headers))
                status, headers, content = service.answer(
                    body, dict(self.headers), len(service.bodies)
                )
                if not status:
                    return
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/speak"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("no_proxy", "*")
    service = Service()
    thread = threading.Thread(target=service.server.serve_forever, daemon=True)
    thread.start()
    yield service
    service.ended.set()
    service.server.shutdown()
    service.server.server_close()


def _items(folder: Path, count: int) -> list[Item]:
    items = []
    for number in range(count):
        image = folder / f"{number}.png"
        image.write_bytes(b"picture %d" % number)
        items.append(Item(str(number), image, (Caption("a dog"),)))
    return items


def _spec(service: Service, **changes: Any) -> HttpSystem:
    return HttpSystem(kind="http", label="served", url=service.url, **changes)


def _rows(spec: HttpSystem, items: list[Item], waits: list[float] | None = None) -> list[Any]:
    timing = _Timing(wait=(waits if waits is not None else []).append)
    generator = HttpGenerator(spec, timing)
    rows = generator.generate([(item, (Variant("key", 0.0, spec),)) for item in items])
    assert [key for key, _ in rows] == ["key"] * len(items)
    assert [row.item for _, row in rows] == [item.id for item in items]
    return [row for _, row in rows]


def test_images_are_posted_side_by_side_and_speech_comes_back(
    service: Service, tmp_path: Path
) -> None:
    together = threading.Barrier(3)

    def answer(*_: object) -> Answer:
        # Nobody is answered before three have asked.
        together.wait(timeout=60)
        return GOOD

    service.answer = answer
    rows = _rows(_spec(service, concurrency=3), _items(tmp_path, 6))
    assert [row.status for row in rows] == ["ok"] * 6
    assert sorted(service.bodies) == [b"picture %d" % n for n in range(6)]
    assert service.headers[0]["Content-Type"] == "image/png"
    wave, rate = read_flac(rows[0])
    assert (len(wave), rate) == (8_000, 16_000)


def test_what_the_service_fails_at_is_asked_for_again(service: Service, tmp_path: Path) -> None:
    busy: Answer = (429, {"Retry-After": "7"}, b"slow down")
    answers = [busy, (503, {}, b""), (0, {}, b""), GOOD]
    service.answer = lambda body, headers, number: answers[number - 1]
    waits: list[float] = []
    [row] = _rows(_spec(service), _items(tmp_path, 1), waits)
    assert row.status == "ok"
    # As it asked, then longer and longer.
    assert waits == [7, 2, 4]


@pytest.mark.parametrize(
    ("answer", "reason", "cause", "asked"),
    [
        ((500, {}, b"<b>no\nGPU</b>"), "3 tries: HTTP status 500: <b>no GPU</b>", "machine", 3),
        ((401, {}, b"who?"), "HTTP status 401: who?", "machine", 1),
        ((422, {}, b"too small"), "HTTP status 422: too small", "", 1),
        ((200, {}, b""), "the answer is empty", "", 1),
        ((200, {}, b"<html>welcome</html>"), "answer.wav: ", "", 1),
        ((200, {}, _wav()[:-6000]), "answer.wav: ", "", 1),
    ],
)
def test_a_failure_is_a_row_with_its_reason(
    service: Service, tmp_path: Path, answer: Answer, reason: str, cause: str, asked: int
) -> None:
    service.answer = lambda *_: answer
    [row] = _rows(_spec(service, tries=3), _items(tmp_path, 1))
    assert (row.status, row.cause, len(service.bodies)) == ("failed", cause, asked)
    assert row.reason.startswith(reason)
    assert row.audio == b""


def test_an_answer_that_does_not_come_ends_by_its_deadline(
    service: Service, tmp_path: Path
) -> None:
    def answer(body: bytes, headers: Mapping[str, str], number: int) -> Answer:
        if body == b"picture 1":
            service.ended.wait(timeout=60)
        return GOOD

    service.answer = answer
    rows = _rows(_spec(service, timeout_seconds=0.3, tries=2), _items(tmp_path, 2))
    assert [(row.status, row.cause) for row in rows] == [("ok", ""), ("failed", "machine")]
    assert rows[1].reason == "2 tries: no answer within 0.3 s"


def test_nobody_there_is_the_machine_s_fault(service: Service, tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/speak"
    [row] = _rows(_spec(service, tries=1).model_copy(update={"url": url}), _items(tmp_path, 1))
    assert (row.status, row.cause) == ("failed", "machine")
    assert row.reason.startswith("no answer: ")
    assert "refused" in row.reason


def test_requests_keep_their_rate_and_are_counted(service: Service, tmp_path: Path) -> None:
    waits: list[float] = []
    clock = [0.0]

    def wait(seconds: float) -> None:
        waits.append(seconds)
        clock[0] += seconds

    spec = _spec(service, concurrency=1, requests_per_minute=30, price=0.5)
    generator = HttpGenerator(spec, _Timing(now=lambda: clock[0], wait=wait))
    items = _items(tmp_path, 4)
    service.answer = lambda body, headers, number: (400, {}, b"") if number == 2 else GOOD
    generator.generate([(item, (Variant("key", 0.0, spec),)) for item in items])
    assert waits == [2, 2, 2]
    assert (generator.answered, generator.charged()) == (3, 1.5)


def test_openai_s_forms_are_sent_and_read(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPEECH_TOKEN", "secret")
    asking = {"model": "m", "voice": "v", "instruction": "Say it.", "token": "SPEECH_TOKEN"}
    image = f"data:image/png;base64,{base64.b64encode(b'picture 0').decode()}"
    [row] = _rows(_spec(service, api="openai-speech", **asking), _items(tmp_path, 1))
    assert row.status == "ok"
    assert service.headers[0]["Authorization"] == "Bearer secret"
    assert json.loads(service.bodies[0]) == {
        "model": "m", "voice": "v", "input": "Say it.", "image": image, "response_format": "wav",
    }  # fmt: skip
    audio = {"data": base64.b64encode(_wav()).decode()}
    answer = json.dumps({"choices": [{"message": {"audio": audio}}]}).encode()
    service.answer = lambda body, headers, number: (200, {}, answer if number == 2 else b"{}")
    spec = _spec(service, api="openai-chat", concurrency=1, **asking)
    first, second = _rows(spec, _items(tmp_path, 2))
    assert (first.status, second.reason) == ("ok", "the answer holds no audio: {}")
    content = json.loads(service.bodies[1])["messages"][0]["content"]
    assert content[1] == {"type": "image_url", "image_url": {"url": image}}


def test_a_job_names_a_url_and_a_variable_that_is_set(service: Service) -> None:
    spec = _spec(service, token="NO_SUCH_TOKEN")
    with pytest.raises(UserError, match=r"served: token: \$NO_SUCH_TOKEN is not set; export it"):
        spec.check()
    for url in ("localhost:8000", "ftp://host/a", "http://user:word@host/"):
        with pytest.raises(ValidationError):
            HttpSystem(kind="http", label="served", url=url)
    # How fast it is asked, and what it costs, is no part of what it says.
    fast = _spec(service, concurrency=9, price=2, tries=1, timeout_seconds=5)
    lookup = Lookup(None)  # type: ignore[arg-type]
    assert fast.identified(lookup) == _spec(service).identified(lookup)
    assert _spec(service, version="2").identified(lookup) != fast.identified(lookup)
