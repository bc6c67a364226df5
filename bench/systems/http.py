"""A system behind a URL that takes an image and returns speech.

Requests run concurrently. A request is repeated if the service is at fault, not the item: no
connection, a timeout, too many requests, or a server error. If the service still does not answer,
the row fails as a fault of the machine, so the next run asks again.
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
"""HTTP statuses that mean that this image gets no speech; all others are the service's fault."""
_AGAIN = (408, 425, 429, *range(500, 600))
"""HTTP statuses after which the request is repeated."""
_LONGEST_WAIT = 120.0
_MIME = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be a URL, such as http://localhost:8000/speak")
    if parts.username or parts.password:
        raise ValueError(
            "holds a password; set an environment variable to a token and name it in `token`"
        )
    return url


Address = Annotated[str, AfterValidator(_address), Field(max_length=2000)]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$", max_length=100)]


class HttpSystem(System):
    """A model behind a URL (see bench.systems.http)."""

    kind: Literal["http"]
    label: Label
    url: Address
    """The URL to which requests are sent, by POST."""
    api: Literal["post", "openai-speech", "openai-chat"] = "post"
    """The form of requests: `post` sends the image file's bytes and reads an audio file;
    `openai-speech` sends JSON as for OpenAI's `/v1/audio/speech`, with the image as a data URL in
    `image`, and reads an audio file; `openai-chat` sends a message with the image as for
    `/v1/chat/completions`, and reads the audio of the answer."""
    model: Note = ""
    """The model's name in the request's JSON."""
    voice: Note = ""
    """The voice's name in the request's JSON."""
    instruction: Annotated[str, Field(max_length=2000)] = "Describe the image in one sentence."
    """The text of the request to the model."""
    token: Variable | None = None
    """The environment variable that holds a bearer token; `null` sends none."""
    version: Note = ""
    """Part of the speech's key, like the URL: change it when the service has changed."""
    training: Note = "unknown"
    """The entry in the tables' column `training`, such as `single model`."""
    concurrency: Annotated[int, Field(ge=1, le=256)] = 4
    """How many requests each generator has open at once."""
    requests_per_minute: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """The most requests that each generator starts in a minute."""
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """The longest time to wait for an answer, in seconds."""
    tries: Annotated[int, Field(ge=1, le=20)] = 5
    """How often an item is tried: again after 1 s, 2 s, 4 s and so on, or as `Retry-After` says."""
    price: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """The price of an answered request, in any currency; `speed.md` has the total."""

    needs_images: ClassVar[bool] = True

    def generator(self, device: str) -> Generator:
        return HttpGenerator(self)

    def content(self, lookup: Lookup) -> Content:
        names = ("kind", "url", "api", "model", "voice", "instruction", "version")
        return Content(depends={name: getattr(self, name) for name in names})

    def is_timed(self) -> bool:
        return True

    def batch(self, usual: int) -> int:
        return max(usual, self.concurrency)

    def check(self) -> None:
        self.headers()

    def headers(self) -> dict[str, str]:
        """Returns the headers of every request; raises UserError if the token is not set."""
        if self.token is None:
            return {}
        value = os.environ.get(self.token, "")
        if not value:
            raise UserError(f"{self.label}: token: ${self.token} is not set; export it")
        return {"Authorization": f"Bearer {value}"}


class _Unanswered(Exception):
    """A failed try. `seconds` is the pause that the service asks for; `may_pass` allows a retry."""

    def __init__(self, reason: str, *, may_pass: bool, of_item: bool, seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.may_pass = may_pass
        self.of_item = of_item
        self.seconds = seconds


@dataclass(frozen=True)
class _Timing:
    """The clock and the wait function, which tests replace."""

    now: Callable[[], float] = time.monotonic
    wait: Callable[[float], object] = time.sleep


class _Limit:
    """Limits how many requests start in a minute."""

    def __init__(self, per_minute: float | None, timing: _Timing) -> None:
        self._interval = 60.0 / per_minute if per_minute else 0.0
        self._timing = timing
        self._lock = threading.Lock()
        self._following = 0.0

    def pass_one(self) -> None:
        """Waits until a request may start."""
        with self._lock:
            now = self._timing.now()
            begin = max(now, self._following)
            self._following = begin + self._interval
        if begin > now:
            self._timing.wait(begin - now)


class HttpGenerator(Charging):
    """Asks the service for each item; `answered` counts the requests that it may charge for."""

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
            return SpeechRow(item=item.id, status="ok", audio=_as_flac(self._answer(body, kind)))
        except SpeechError as error:
            return SpeechRow(item=item.id, status="failed", reason=str(error))
        except _Unanswered as error:
            cause = "" if error.of_item else "machine"
            return SpeechRow(item=item.id, status="failed", reason=str(error), cause=cause)

    def _answer(self, body: bytes, kind: str) -> bytes:
        """Returns the audio file in the service's answer, after as many tries as the job allows.

        Raises _Unanswered, or SpeechError for an answer without audio.
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
    """Returns the error that an HTTP status stands for."""
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
    """Returns a request's body for an item, and its media type; raises SpeechError."""
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
    """Returns the audio of a chat's answer; raises SpeechError if it has none."""
    try:
        content: Mapping[str, Any] = json.loads(answer)
        return base64.b64decode(content["choices"][0]["message"]["audio"]["data"], validate=True)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        start = short(clean(answer[:80].decode(errors="replace")))
        raise SpeechError(f"the answer holds no audio: {start}") from error


def _as_flac(audio: bytes) -> bytes:
    """Returns an audio file's sound as FLAC; raises SpeechError for another kind of file."""
    if not audio:
        raise SpeechError("the answer is empty")
    with TemporaryDirectory(prefix="answer-") as folder:
        path = Path(folder) / "answer.wav"
        path.write_bytes(audio)
        return flac(read_speech(path, RATE), RATE)
