"""Reads speech files to their end, and compares their length with the header's."""

import mmap
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO, FileIO
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pixvox.containers import Part, mpeg_frame_bytes, parts_of
from pixvox.errors import PixVoxError

if TYPE_CHECKING:
    import av

Wave = npt.NDArray[np.float32]


class SpeechError(PixVoxError, ValueError):
    """Speech of an item that cannot be used; the message is the reason."""


RATES = range(1_000, 655_351)
"""Valid sample rates in Hz, up to FLAC's highest; others come from a damaged header."""
LONGEST_SECONDS = 900
LOUDEST = 100.0
"""The largest sample of speech: 40 dB above full scale, which is 1.

Floating-point mixes exceed full scale by a few dB. Samples far above are unscaled integers or not
sound, for which an ASR would still return a transcript.
"""
MOST_CHANNELS = 64
TOLERANCE_SECONDS = 0.02
"""How much shorter decoded sound may be than promised, and how much two decoders may differ."""
_PADDING_SECONDS = 0.06
"""The same for lengths that containers round, or that include samples that a decoder removes."""
_FILLED_SECONDS = 0.1
"""How much an MP3 encoder may add at the end: about 1400 samples."""
_BLOCK = 1 << 16
"""Samples that are decoded at once if a file does not state its length."""
_STATED = ("mov", "wv", "tta")
"""Containers whose header states the length of the sound; for others FFmpeg estimates it, or
includes samples that a decoder removes."""
_ENDLESS = ("w64", "au")
"""Containers in which decoders continue to read after the end of the sound."""
_TAGGED = ("mp3", "aac")
"""Containers that may start with an ID3 tag; in others decoders do not expect one."""
_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")


class _Undecodable(Exception):
    """A decoder does not read a file; the message is the decoder's."""


@dataclass(frozen=True, kw_only=True)
class _Sound:
    """Decoded sound: mono pieces, each with its rate in Hz.

    `promised` is the length in seconds in the container, if a decoder knows it; `fault` is the
    reason why the decoder did not reach the end, "" if it did.
    """

    pieces: list[tuple[Wave, int]]
    promised: float | None = None
    fault: str = ""

    @property
    def seconds(self) -> float:
        return sum(len(wave) / rate for wave, rate in self.pieces)


def unusable_samples(wave: "npt.NDArray[np.generic]") -> str:
    """Returns why samples `[T, ...]` in -1..1 cannot be speech; "" if they can."""
    if wave.size == 0:
        return "holds no samples"
    if not np.isfinite(wave).all():
        return "holds samples that are not numbers"
    loudest = float(np.abs(wave).max())
    if loudest > LOUDEST:
        return f"holds a sample of {loudest:g}, and full scale is 1; scale the samples to -1..1"
    return ""


def resample(wave: Wave, source: int, target: int) -> Wave:
    """Resamples `[T]` from one rate in Hz to another (soxr, high quality)."""
    if source == target:
        return wave
    import soxr

    return np.asarray(soxr.resample(wave, source, target), dtype=np.float32)


def read_speech(path: Path, rate: int) -> Wave:
    """Returns a speech file as mono float32 `[T]` at `rate` Hz.

    Joined FLAC, Ogg and MP3 files are read one after the other. Raises SpeechError naming the file
    and the reason, also if there is less sound than the file promises.
    """
    try:
        pieces = _read(path)
    except SpeechError as error:
        raise SpeechError(f"{path.name}: {error}") from error
    except (_Undecodable, OSError, ValueError) as error:
        # The system's own message has the whole path.
        why = error.strerror if isinstance(error, OSError) else error
        raise SpeechError(f"{path.name}: not readable as speech ({why})") from error
    reasons = [unusable_samples(wave) for wave, _ in pieces] or ["holds no samples"]
    if reason := next(filter(None, reasons), ""):
        raise SpeechError(f"{path.name}: {reason}")
    speech = np.concatenate([resample(wave, source, rate) for wave, source in pieces])
    if speech.size == 0:
        wave, source = pieces[0]
        raise SpeechError(f"{path.name}: too short, {len(wave)} samples at {source} Hz")
    return speech


def _read(path: Path) -> list[tuple[Wave, int]]:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise _Undecodable("the file is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            parts = parts_of(data)
            if not parts:
                raise _Undecodable("format not recognised; convert it to WAV or FLAC")
            if len(parts) == 1 and _is_all(parts[0], len(data)):
                return _decoded(path, parts[0])
            pieces: list[tuple[Wave, int]] = []
            for part in parts:
                pieces += _decoded(BytesIO(data[part.start : part.end]), part)
                _check_length(sum(len(wave) / rate for wave, rate in pieces))
            return pieces


def _is_all(part: Part, size: int) -> bool:
    """Returns whether the part is the whole file, so that a decoder may read it to its end."""
    begins = part.start == 0 or part.container in _TAGGED
    return begins and (part.end == size or part.container not in _ENDLESS)


def _decoded(source: Path | BytesIO, part: Part) -> list[tuple[Wave, int]]:
    """Returns all sound of a part; raises SpeechError if it promises more."""
    if part.is_joined:
        raise SpeechError(part.fault)
    try:
        sound = _by_libsndfile(source)
    except _Undecodable:
        sound = _by_ffmpeg_alone(source, part)
    else:
        # libsndfile estimates the length at a variable bit rate, and accepts a length of 0.
        if part.container == "mp3" or sound.seconds == 0:
            with suppress(_Undecodable):
                sound = _longer(part, sound, _by_ffmpeg(source, part))
    _check(part, sound)
    return sound.pieces


def _by_ffmpeg_alone(source: Path | BytesIO, part: Part) -> _Sound:
    try:
        return _by_ffmpeg(source, part)
    except _Undecodable as error:
        if part.fault:
            raise SpeechError(f"cut short or damaged: {part.fault}") from error
        raise


def _longer(part: Part, usual: _Sound, other: _Sound) -> _Sound:
    """Returns what libsndfile decoded, unless FFmpeg finds another length or an error."""
    # Before some tags FFmpeg keeps the encoder's padding of the last frame.
    tolerance = TOLERANCE_SECONDS if part.frames is None else _FILLED_SECONDS
    alike = abs(usual.seconds - other.seconds) <= tolerance
    return replace(usual, promised=other.promised) if alike and not other.fault else other


def _check(part: Part, sound: _Sound) -> None:
    """Raises SpeechError if the decoded length differs from the container's."""
    seconds = sound.seconds
    promised, tolerance = seconds / part.share if part.share else 0.0, TOLERANCE_SECONDS
    if part.samples is not None:
        if not sound.pieces:
            raise SpeechError("cut short: its header promises sound, none is there")
        promised = part.samples / sound.pieces[0][1]
    elif sound.promised is not None and part.share == 1:
        promised = sound.promised
        tolerance = TOLERANCE_SECONDS if part.container == "mp3" else _PADDING_SECONDS
    if seconds < promised - tolerance:
        raise SpeechError(
            f"cut short: its header promises {promised:.2f} s, {seconds:.2f} s are there"
        )
    if part.samples is not None and seconds > promised + tolerance:
        raise SpeechError(
            f"damaged: its header promises {promised:.2f} s, {seconds:.2f} s are there"
        )
    if fault := part.fault or sound.fault:
        raise SpeechError(f"cut short or damaged: {fault}, after {seconds:.2f} s")


def _check_length(seconds: float) -> None:
    if seconds > LONGEST_SECONDS:
        raise SpeechError(f"longer than {LONGEST_SECONDS} s")


def _check_form(rate: int, channels: int) -> None:
    if rate not in RATES:
        raise SpeechError(f"a sample rate of {rate} Hz")
    if channels > MOST_CHANNELS:
        raise SpeechError(f"{channels} channels; mono is needed")


def _by_libsndfile(source: Path | BytesIO) -> _Sound:
    import soundfile

    blocks: list[Wave] = []
    try:
        with soundfile.SoundFile(source) as file:
            rate: int = file.samplerate
            _check_form(rate, file.channels)
            if not file.seekable():
                raise _Undecodable("it cannot be sought in")
            # At once if the length is stated, because a decoder rounds differently after a seek.
            stated = file.frames if file.frames <= LONGEST_SECONDS * rate else 0
            buffer = np.empty((stated or _BLOCK, file.channels), np.float32)
            while len(block := file.read(out=buffer)):
                with np.errstate(over="ignore", invalid="ignore"):
                    blocks.append(block.mean(axis=1))
                _check_length(sum(map(len, blocks)) / rate)
    except SpeechError:
        raise
    except soundfile.LibsndfileError as error:
        raise _Undecodable(error.error_string.rstrip(".") or "damaged") from error
    except (soundfile.SoundFileError, OSError, ValueError, TypeError) as error:
        raise _Undecodable(str(error)) from error
    return _Sound(pieces=_joined((block, rate) for block in blocks))


def _joined(blocks: Iterable[tuple[Wave, int]]) -> list[tuple[Wave, int]]:
    """Joins consecutive blocks of the same rate."""
    grouped = groupby(blocks, key=lambda block: block[1])
    return [(np.concatenate([wave for wave, _ in group]), rate) for rate, group in grouped]


class _Bounded(FileIO):
    """A file that can be read; a seek before its start, as FFmpeg does in damaged files, is no
    error.

    PyAV would print such an error with its traceback.
    """

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Returns the new position; a negative number, FFmpeg's error code, for an invalid one."""
        try:
            return super().seek(offset, whence)
        except OSError as error:
            return -(error.errno or 1)


def _by_ffmpeg(source: Path | BytesIO, part: Part) -> _Sound:
    import av

    # FFmpeg opens no file by name and guesses no format, because some formats name files to
    # download.
    opened = _Bounded(source) if isinstance(source, Path) else BytesIO(source.getvalue())
    try:
        with (
            opened as file,
            av.open(file, "r", part.container, metadata_errors="replace") as container,
        ):
            stream = next(iter(container.streams.audio), None)
            if stream is None:
                raise _Undecodable("it holds no sound")
            stated = stream.duration and float(stream.duration * (stream.time_base or 0))
            if stated is None and len(container.streams) == 1 and container.duration:
                stated = container.duration / av.time_base
            decoded = _decode(container.demux(stream), part)
    except av.error.FFmpegError as error:
        raise _Undecodable(error.strerror or str(error)) from error
    if stated is None or part.container not in _STATED:
        return decoded
    return replace(decoded, promised=stated)


def _decode(packets: "Iterable[av.Packet[av.AudioStream]]", part: Part) -> _Sound:
    """Returns the sound of packets, up to the first that cannot be decoded."""
    import av

    blocks: list[tuple[Wave, int]] = []
    seconds, frames, last, fault = 0.0, 0, b"", ""
    for packet in packets:
        data = bytes(packet)
        try:
            decoded = packet.decode()
        except av.error.InvalidDataError:
            if data.startswith(_TAGS) or not data.strip(b"\0"):
                continue
            fault = "a frame cannot be decoded"
            break
        frames += bool(data)
        last = data or last
        for frame in decoded:
            _check_form(frame.sample_rate, frame.layout.nb_channels)
            blocks.append((_mono(frame), frame.sample_rate))
            seconds += frame.samples / frame.sample_rate
            _check_length(seconds)
    promised = None
    if part.container == "mp3":
        fault = fault or ("its last frame is cut" if len(last) < mpeg_frame_bytes(last) else "")
        # Some encoders count the frame that contains the count.
        if part.frames is not None and frames < part.frames - 1:
            promised = seconds / max(1, frames) * part.frames
    return _Sound(pieces=_joined(blocks), promised=promised, fault=fault)


def _mono(frame: "av.AudioFrame") -> Wave:
    samples: npt.NDArray[Any] = frame.to_ndarray()
    # Planar formats are [channels, T]; others have one row of [T * channels].
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)
    if samples.dtype.kind == "u":
        samples = (samples.astype(np.float32) - 128) / 128
    elif samples.dtype.kind == "i":
        samples = samples.astype(np.float32) / 2.0 ** (8 * samples.itemsize - 1)
    # A value beyond float32's range becomes infinite, which is refused.
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(samples, dtype=np.float32).mean(axis=1)
