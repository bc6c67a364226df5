"""A system behind a URL that takes an image and returns speech.

Requests are made side by side and are tried again where the service, not the item, is at fault: no
connection, no answer in time, too many requests, an error of the server's. What is then still not
answered fails as the machine's fault, so that the next run asks again.
"""

import base64
import json
import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from bench.common.audio import SpeechError, read_speech
from bench.common.bounds import Label, Note
from bench.common.errors import UserError
from bench.common.text import clean, short
from bench.datasets.base import Item
from bench.store.rows import SpeechRow
from bench.systems.base import RATE, Asked, Charging, Content, Generator, Lookup, Made, System
from bench.systems.sound import flac

_MOST_BYTES = 64 * 1024 * 1024
_OF_THE_ITEM = (400, 413, 415, 422)
"""HTTP statuses that say that the image cannot be spoken; all others are the service's fault."""
_AGAIN = (408, 425, 429, *range(500, 600))
"""HTTP statuses that may be gone a little later."""
_LONGEST_WAIT = 120.0
_MIME = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be a URL, such as http://localhost:8000/speak")
    if parts.username or parts.password:
        raise ValueError("holds a password; put a token into a variable, and name it in `token`")
    return url


Address = Annotated[str, AfterValidator(_address), Field(max_length=2000)]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$", max_length=100)]


class HttpSystem(System):
    """A model behind a URL (see bench.systems.http)."""

    kind: Literal["http"]
    label: Label
    url: Address
    """Where it is asked, by POST."""
    api: Literal["post", "openai-speech", "openai-chat"] = "post"
    """How: `post` sends the image file's bytes and reads an audio file; `openai-speech` sends JSON
    as OpenAI's `/v1/audio/speech` takes it, with the image as a data URL in `image`, and reads an
    audio file; `openai-chat` sends a message with the image as `/v1/chat/completions` takes it, and
    reads the audio of the answer."""
    model: Note = ""
    """The model that is asked for, in JSON."""
    voice: Note = ""
    """The voice that is asked for, in JSON."""
    instruction: Annotated[str, Field(max_length=2000)] = "Describe the image in one sentence."
    """What is asked of the model, in JSON."""
    token: Variable | None = None
    """The environment variable that holds a bearer token; `null` sends none."""
    version: Note = ""
    """Part of the speech's key, as the URL is: change it when the service has changed."""
    training: Note = "unknown"
    """What tables say of its training, such as `single model`."""
    concurrency: Annotated[int, Field(ge=1, le=256)] = 4
    """How many requests each generating actor has under way."""
    requests_per_minute: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """The most requests that each generating actor begins in a minute."""
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """How long an answer may take."""
    tries: Annotated[int, Field(ge=1, le=20)] = 5
    """How often an item is asked for: after 1 s, 2 s, 4 s and so on, or as `Retry-After` says."""
    price: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """What an answered request costs, in any currency; `speed.md` adds it up."""

    needs_images: ClassVar[bool] = True

    def generator(self, device: str) -> Generator:
        return HttpGenerator(self)

    def content(self, lookup: Lookup) -> Content:
        names = ("kind", "url", "api", "model", "voice", "instruction", "version")
        return Content({name: getattr(self, name) for name in names})

    def is_timed(self) -> bool:
        return True

    def batch(self, usual: int) -> int:
        return max(usual, self.concurrency)

    def check(self) -> None:
        self.headers()

    def headers(self) -> dict[str, str]:
        """What every request is sent with; raises UserError where the token is not there."""
        if self.token is None:
            return {}
        value = os.environ.get(self.token, "")
        if not value:
            raise UserError(f"{self.label}: token: ${self.token} is not set; export it first")
        return {"Authorization": f"Bearer {value}"}


class _Unanswered(Exception):
    """A try that failed; `seconds` is how long the service asks to wait, `may_pass` whether to."""

    def __init__(self, reason: str, *, may_pass: bool, of_item: bool, seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.may_pass = may_pass
        self.of_item = of_item
        self.seconds = seconds


@dataclass(frozen=True)
class _Timing:
    """The clock, and what waits; replaced in tests."""

    now: Callable[[], float] = time.monotonic
    wait: Callable[[float], object] = time.sleep


class _Limit:
    """Spaces the beginnings of requests."""

    def __init__(self, per_minute: float | None, timing: _Timing) -> None:
        self._interval = 60.0 / per_minute if per_minute else 0.0
        self._timing = timing
        self._lock = threading.Lock()
        self._following = 0.0

    def pass_one(self) -> None:
        """Returns when a request may begin."""
        with self._lock:
            now = self._timing.now()
            begin = max(now, self._following)
            self._following = begin + self._interval
        if begin > now:
            self._timing.wait(begin - now)


class HttpGenerator(Charging):
    """Asks the service for each item; `answered` counts what it may charge for."""

    def __init__(self, spec: HttpSystem, timing: _Timing | None = None) -> None:
        self._spec = spec
        self._timing = timing or _Timing()
        self._headers = spec.headers()
        self._limit = _Limit(spec.requests_per_minute, self._timing)
        self._lock = threading.Lock()
        self.answered = 0

    def charged(self) -> float:
        return self.answered * self._spec.price

    def generate(self, asked: Asked) -> Made:
        pairs = [(item, variant.key) for item, variants in asked for variant in variants]
        with ThreadPoolExecutor(self._spec.concurrency) as threads:
            rows = list(threads.map(self._row, [item for item, _ in pairs]))
        return [(key, row) for (_, key), row in zip(pairs, rows, strict=True)]

    def _row(self, item: Item) -> SpeechRow:
        try:
            body, kind = _body(self._spec, item)
            return SpeechRow(item.id, "ok", audio=_as_flac(self._answer(body, kind)))
        except SpeechError as error:
            return SpeechRow(item.id, "failed", str(error))
        except _Unanswered as error:
            cause = "" if error.of_item else "machine"
            return SpeechRow(item.id, "failed", str(error), cause)

    def _answer(self, body: bytes, kind: str) -> bytes:
        """Returns the audio file that the service answers with, tried as often as the job says.

        Raises _Unanswered, or SpeechError for an answer that holds no audio.
        """
        for number in range(1, self._spec.tries + 1):
            self._limit.pass_one()
            try:
                answer = self._ask(body, kind)
                break
            except _Unanswered as error:
                if not error.may_pass:
                    raise
                if number == self._spec.tries:
                    many = f"{number} tries: " if number > 1 else ""
                    raise _Unanswered(f"{many}{error}", may_pass=False, of_item=False) from error
                self._timing.wait(error.seconds or min(2.0 ** (number - 1), _LONGEST_WAIT))
        with self._lock:
            self.answered += 1
        return _audio_of(answer) if self._spec.api == "openai-chat" else answer

    def _ask(self, body: bytes, kind: str) -> bytes:
        headers = {"Content-Type": kind, "Accept": "audio/wav, */*", **self._headers}
        request = urllib.request.Request(self._spec.url, body, headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=self._spec.timeout_seconds) as response:
                answer: bytes = response.read(_MOST_BYTES + 1)
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error.code, error.read(300), error.headers) from error
        except TimeoutError as error:
            reason = f"no answer within {self._spec.timeout_seconds:g} s"
            raise _Unanswered(reason, may_pass=True, of_item=False) from error
        except (OSError, HTTPException) as error:
            cause = getattr(error, "reason", error)
            if isinstance(cause, TimeoutError):
                cause = f"no connection within {self._spec.timeout_seconds:g} s"
            reason = f"no answer: {' '.join(str(cause).split()) or type(error).__name__}"
            raise _Unanswered(reason, may_pass=True, of_item=False) from error
        if len(answer) > _MOST_BYTES:
            raise SpeechError(f"the answer is larger than {_MOST_BYTES:,} bytes")
        return answer


def _refusal(status: int, said: bytes, headers: Message) -> _Unanswered:
    """Returns what an HTTP status means."""
    text = short(clean(" ".join(said.decode(errors="replace").split())))
    given = headers.get("Retry-After", "")
    seconds = min(float(given), _LONGEST_WAIT) if re.fullmatch(r"\d{1,6}", given) else 0.0
    return _Unanswered(
        f"HTTP status {status}{f': {text}' if text else ''}",
        may_pass=status in _AGAIN,
        of_item=status in _OF_THE_ITEM,
        seconds=seconds,
    )


def _body(spec: HttpSystem, item: Item) -> tuple[bytes, str]:
    """What is sent of an item, and its media type; raises SpeechError for a missing image."""
    try:
        image = item.image.read_bytes()
    except OSError as error:
        raise SpeechError(f"{item.image.name}: not readable ({error.strerror})") from error
    media = _MIME.get(item.image.suffix.lower(), "application/octet-stream")
    if spec.api == "post":
        return image, media
    data = f"data:{media};base64,{base64.b64encode(image).decode()}"
    build = _speech_request if spec.api == "openai-speech" else _chat_request
    return json.dumps(build(spec, data)).encode(), "application/json"


def _speech_request(spec: HttpSystem, image: str) -> dict[str, Any]:
    return {
        "model": spec.model,
        "voice": spec.voice,
        "input": spec.instruction,
        "image": image,
        "response_format": "wav",
    }


def _chat_request(spec: HttpSystem, image: str) -> dict[str, Any]:
    return {
        "model": spec.model,
        "modalities": ["text", "audio"],
        "audio": {"voice": spec.voice, "format": "wav"},
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": spec.instruction},
                    {"type": "image_url", "image_url": {"url": image}},
                ],
            }
        ],
    }


def _audio_of(answer: bytes) -> bytes:
    """Returns the audio of a chat's answer; raises SpeechError where it has none."""
    try:
        content: Mapping[str, Any] = json.loads(answer)
        return base64.b64decode(content["choices"][0]["message"]["audio"]["data"], validate=True)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        start = short(clean(answer[:80].decode(errors="replace")))
        raise SpeechError(f"the answer holds no audio: {start}") from error


def _as_flac(audio: bytes) -> bytes:
    """Returns an audio file's sound as a row keeps it; raises SpeechError for what is none."""
    if not audio:
        raise SpeechError("the answer is empty")
    with TemporaryDirectory(prefix="answer-") as folder:
        path = Path(folder) / "answer.wav"
        path.write_bytes(audio)
        return flac(read_speech(path, RATE), RATE)
