"""Speech files of any encoder are read to their end, or fail with a reason that is true."""

import io
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pixvox.speechfile import SpeechError, read_speech

RATE = 16_000
SECONDS = 1.3


def _wave(rate: int = RATE, seconds: float = SECONDS) -> np.ndarray:
    time = np.arange(int(rate * seconds)) / rate
    # Loud and soft, so that a variable bit rate varies.
    return (0.3 * np.sin(1400 * time) * (time > seconds / 2)).astype(np.float32)


def _by_libsndfile(container: str, subtype: str, rate: int = RATE) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, _wave(rate), rate, format=container, subtype=subtype)
    return buffer.getvalue()


def _by_ffmpeg(container: str, codec: str, rate: int = RATE, **options: str) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate=rate)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "mono"
        if codec == "libmp3lame":
            stream.codec_context.qscale = True
            stream.codec_context.global_quality = 4 * 118
        frame = av.AudioFrame.from_ndarray(_wave(rate)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        output.mux([*stream.encode(frame), *stream.encode(None)])
    return buffer.getvalue()


MAKERS: dict[str, Callable[[], bytes]] = {
    **{
        f"{container} {subtype}": lambda c=container, s=subtype: _by_libsndfile(c, s)
        for container, subtype in (
            ("WAV", "PCM_16"),
            ("WAV", "FLOAT"),
            ("WAV", "ULAW"),
            ("WAV", "MS_ADPCM"),
            ("RF64", "PCM_16"),
            ("AIFF", "PCM_24"),
            ("W64", "PCM_16"),
            ("CAF", "PCM_16"),
            ("CAF", "ALAC_16"),
            ("NIST", "PCM_16"),
            ("AU", "PCM_16"),
            ("FLAC", "PCM_24"),
            ("OGG", "VORBIS"),
            ("OGG", "OPUS"),
            ("MP3", "MPEG_LAYER_III"),
        )
    },
    **{
        f"{container} {codec}": lambda c=container, k=codec, r=rate: _by_ffmpeg(c, k, r)
        for container, codec, rate in (
            ("wav", "pcm_s16le", RATE),
            ("flac", "flac", RATE),
            ("ogg", "flac", RATE),
            ("ogg", "libopus", 48_000),
            ("webm", "libopus", 48_000),
            ("matroska", "libmp3lame", RATE),
            ("asf", "mp2", RATE),
            ("amr", "libopencore_amrnb", 8000),
            ("wav", "adpcm_ms", RATE),
            ("w64", "adpcm_ms", RATE),
            ("mp3", "libmp3lame", RATE),
            ("mp2", "mp2", RATE),
            ("mp4", "alac", RATE),
            ("caf", "alac", RATE),
            ("mp4", "aac", RATE),
            ("adts", "aac", RATE),
        )
    },
}
NO_PROMISE = (
    "mp3 libmp3lame without length",
    "adts aac",
    "mp2 mp2",
    "amr libopencore_amrnb",
    "webm libopus live",
)
MAKERS["webm libopus live"] = lambda: _by_ffmpeg("webm", "libopus", 48_000, live="1")
MAKERS["mp3 libmp3lame without length"] = lambda: _by_ffmpeg("mp3", "libmp3lame", write_xing="0")
WHOLE = {name: make() for name, make in MAKERS.items()}


def _length(folder: Path, data: bytes) -> float:
    (folder / "speech").write_bytes(data)
    return len(read_speech(folder / "speech", RATE)) / RATE


@pytest.mark.parametrize("name", list(WHOLE))
def test_whole_files_are_read_whole_and_joined_ones_twice_or_not(tmp_path: Path, name: str) -> None:
    whole = _length(tmp_path, WHOLE[name])
    # Some codecs fill up their last frame, and do not say with how much.
    assert SECONDS - 0.001 <= whole < SECONDS + 0.15
    try:
        both = _length(tmp_path, 2 * WHOLE[name])
    except SpeechError as error:
        both, reason = 0.0, str(error)
    if not both:
        assert reason.startswith("speech: another file begins behind it, at byte ")
        return
    # Between joined MP3 files stands what their encoder filled up.
    assert 2 * SECONDS - 0.001 <= both < 2 * whole + (0.3 if "MP" in name.upper() else 0.02)


@settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(name=st.sampled_from(sorted(WHOLE)), share=st.floats(0, 0.9), joined=st.booleans())
def test_what_was_cut_is_never_taken_as_whole(
    tmp_path: Path, name: str, share: float, joined: bool
) -> None:
    data = WHOLE[name]
    cut = joined * data + data[: int(share * len(data))]
    try:
        seconds = _length(tmp_path, cut)
    except SpeechError:
        return
    # What promises nothing may end anywhere between two frames. Of a file that has lost even its
    # header nothing is known: what stands before it is whole.
    headless = joined and share * len(data) < 300
    assert name in NO_PROMISE or headless, (name, share, joined, seconds)


@pytest.mark.parametrize("name", [name for name in WHOLE if name not in NO_PROMISE])
def test_a_file_of_which_little_is_missing_does_not_lose_a_block(tmp_path: Path, name: str) -> None:
    for lost in (1, 100):
        try:
            seconds = _length(tmp_path, WHOLE[name][:-lost])
        except SpeechError:
            continue
        assert seconds > _length(tmp_path, WHOLE[name]) - 0.02, lost


@pytest.mark.parametrize("name", ["WAV PCM_16", "W64 PCM_16", "OGG OPUS", "asf mp2"])
def test_a_file_of_another_kind_behind_the_sound_is_named(tmp_path: Path, name: str) -> None:
    for other in ("FLAC PCM_24", "mp3 libmp3lame"):
        with pytest.raises(SpeechError, match=r"another file begins behind it, at byte \d"):
            _length(tmp_path, WHOLE[name] + WHOLE[other])


def test_sound_behind_the_end_that_a_header_states_is_no_whole_file(tmp_path: Path) -> None:
    # As a recorder leaves it that writes its sizes from time to time, and dies.
    data = bytearray(WHOLE["WAV PCM_16"])
    data[40:44] = struct.pack("<I", 20_000)
    with pytest.raises(SpeechError, match=r"ends the sound at byte 20,044, and more follows"):
        _length(tmp_path, bytes(data))
    chunk = b"LIST" + struct.pack("<I", 4) + b"INFO"
    for tail in (chunk, bytes(100), b"TAG" + b"x" * 125):
        assert _length(tmp_path, WHOLE["WAV PCM_16"] + tail) == SECONDS


def test_a_format_that_promises_nothing_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match=r"format not recognised; convert it to WAV or FLAC"):
        _length(tmp_path, _by_libsndfile("VOC", "PCM_16"))


def test_an_mp3_is_counted_by_the_flags_of_its_header(tmp_path: Path) -> None:
    data = bytearray(WHOLE["mp3 libmp3lame"])
    flags = data.index(b"Info") + 7 if b"Info" in data else data.index(b"Xing") + 7
    del data[flags + 1 : flags + 5]
    data[flags] &= 0xFE
    (tmp_path / "speech.mp3").write_bytes(data)
    # Its first number is one of bytes, not of frames.
    assert len(read_speech(tmp_path / "speech.mp3", RATE)) > RATE * (SECONDS - 0.01)


def test_a_damaged_file_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SpeechError):
        _length(tmp_path, WHOLE["caf alac"][:3000])
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["WAV PCM_16", "AIFF PCM_24", "MP3 MPEG_LAYER_III"])
def test_the_reason_says_how_much_is_there(tmp_path: Path, name: str) -> None:
    half = WHOLE[name][: len(WHOLE[name]) // 2]
    with pytest.raises(SpeechError, match=r"its header promises 1\.\d\d s, 0\.\d\d s are there"):
        _length(tmp_path, half)
    with pytest.raises(SpeechError, match=r"its last page is (cut|missing)"):
        _length(tmp_path, WHOLE["OGG OPUS"][:-200])


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x80000000, 0xFFFFFFFF])
def test_a_wav_that_went_through_a_pipe_is_read(tmp_path: Path, size: int) -> None:
    data = bytearray(WHOLE["WAV PCM_16"])
    data[4:8] = struct.pack("<I", min(size + 36, 0xFFFFFFFF))
    data[40:44] = struct.pack("<I", size)
    assert _length(tmp_path, bytes(data)) == pytest.approx(SECONDS, abs=1e-3)


def test_a_flac_of_unknown_length_holds_the_same_samples(tmp_path: Path) -> None:
    data = bytearray(WHOLE["FLAC PCM_24"])
    (tmp_path / "known.flac").write_bytes(data)
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    (tmp_path / "unknown.flac").write_bytes(data)
    known, unknown = (read_speech(tmp_path / f"{n}.flac", RATE) for n in ("known", "unknown"))
    assert np.array_equal(known, unknown)


def test_telephone_speech_is_read(tmp_path: Path) -> None:
    assert _length(tmp_path, _by_libsndfile("WAV", "GSM610", 8000)) == pytest.approx(
        SECONDS, abs=0.05
    )


def test_joined_files_of_two_rates_are_read(tmp_path: Path) -> None:
    data = _by_libsndfile("FLAC", "PCM_16", 8000) + _by_libsndfile("FLAC", "PCM_16", 44_100)
    assert _length(tmp_path, data) == pytest.approx(2 * SECONDS, abs=1e-3)


def test_samples_are_those_that_libsndfile_gives(tmp_path: Path) -> None:
    for suffix in ("wav", "ogg", "mp3"):
        path = tmp_path / f"long.{suffix}"
        soundfile.write(path, np.tile(_wave(), 8), RATE)
        with soundfile.SoundFile(path) as file:
            assert np.array_equal(read_speech(path, RATE), file.read(dtype="float32"))


@pytest.mark.parametrize("name", ["WAV PCM_16", "AU PCM_16", "mp4 aac", "NIST PCM_16"])
def test_a_tag_before_a_file_hides_no_promise(tmp_path: Path, name: str) -> None:
    tag = b"ID3\3\0\0\0\0\0\5" + bytes(5)
    assert _length(tmp_path, tag + WHOLE[name]) == _length(tmp_path, WHOLE[name])
    with pytest.raises(SpeechError, match=r"cut short"):
        _length(tmp_path, tag + WHOLE[name][: len(WHOLE[name]) // 2])


def test_tags_are_no_sound(tmp_path: Path) -> None:
    whole = WHOLE["MP3 MPEG_LAYER_III"]
    ape = b"APETAGEX" + struct.pack("<IIII8x", 2000, 32, 0, 0)
    tags = (b"ID3\3\0\0\0\0\1\0" + bytes(128), ape + b"TAG" + b"x" * 125)
    (tmp_path / "plain.mp3").write_bytes(whole)
    (tmp_path / "tagged.mp3").write_bytes(tags[0] + whole + tags[1])
    plain, tagged = (read_speech(tmp_path / f"{name}.mp3", RATE) for name in ("plain", "tagged"))
    assert np.array_equal(plain, tagged)
