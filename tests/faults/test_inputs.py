"""Invalid images, speech, captions, manifests and YAML give one reason and never a crash."""

import base64
import io
import json
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from pydantic import TypeAdapter

from bench.common.audio import SpeechError, read_speech
from bench.common.errors import UserError
from bench.common.yamlfile import parse
from bench.datasets.flickr8k import read_csv, read_tokens
from bench.datasets.scenes.load import load_scenes, read_scenes, shipped_folder
from bench.jobs.spec import Job
from bench.report.page.media import pictures
from pixvox.codec.encodec import Codec
from pixvox.images import ImageError, load_pixels
from pixvox.picturefile import load_picture

SIZE = 32


def _picture(**channels: object) -> Image.Image:
    """Red on the left, blue on the right."""
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :20, 0] = 255
    pixels[:, 20:, 2] = 255
    return Image.fromarray(pixels)


def _saved(folder: Path, picture: Image.Image, name: str, **options: object) -> Path:
    picture.save(folder / name, **options)
    return folder / name


def _red_then_blue(path: Path) -> bool:
    pixels = load_pixels(path, SIZE).float()
    return bool(pixels[0, :, :12].mean() > 200 > 60 > pixels[0, :, 20:].mean())


def test_unusual_pictures_are_read_as_viewers_show_them(tmp_path: Path) -> None:
    picture = _picture()
    rotated = picture.rotate(-90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 8
    frames = [picture, Image.new("RGB", picture.size)]
    clear = picture.convert("RGBA")
    for path in (
        _saved(tmp_path, picture, "plain.jpg", quality=95),
        _saved(tmp_path, picture, "jpeg-named.png", format="JPEG", quality=95),
        _saved(tmp_path, picture.convert("CMYK"), "cmyk.jpg", quality=95),
        _saved(tmp_path, picture.convert("P"), "palette.gif"),
        _saved(tmp_path, frames[0], "moving.gif", save_all=True, append_images=frames[1:]),
        _saved(tmp_path, rotated, "turned.jpg", exif=exif, quality=95),
        _saved(tmp_path, clear, "clear.png"),
        _saved(tmp_path, picture, "lossless.webp", lossless=True),
    ):
        assert _red_then_blue(path), path.name
    grey = np.full((8, 8), 32768, np.uint16)
    assert load_pixels(_saved(tmp_path, Image.fromarray(grey), "deep.png"), SIZE).unique() == 127
    hidden = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    assert load_pixels(_saved(tmp_path, hidden, "hidden.png"), SIZE).min() == 255


def _bomb(side: int) -> bytes:
    """The beginning of a PNG that promises `side` x `side` pixels."""
    chunks = [b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0), b"IDAT" + b"0" * 8]
    parts = [
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _cut_jpeg() -> bytes:
    """A picture whose last two bytes are missing."""
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(buffer, "JPEG")
    return buffer.getvalue()[:-2]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not readable as an image: an empty file"),
        (b"hello", "not readable as an image: cannot identify image file"),
        (_bomb(9_000), "9000 x 9000 is too large"),
        (_bomb(60_000), "more than 50,000,000 pixels, is too large"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing; convert it to PNG"),
        (b"<?xml version='1.0'?>\n<svg/>", "an SVG drawing; convert it to PNG"),
        (b"\n<!DOCTYPE html><title>404</title>", "a web page, not a picture; download"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "run: git lfs pull"),
        (b"/annex/objects/SHA256E-s1--0.png\n", "run: git annex get"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC, which is not read here; convert it"),
        (_cut_jpeg(), r"image file is truncated \(\d+ bytes not processed\)$"),
    ],
)
def test_a_file_that_is_no_picture_gives_one_reason(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(ImageError, match=f"x.png: .*{reason}"):
        load_pixels(tmp_path / "x.png", SIZE)


def test_transparent_16_bit_pixels_become_white(tmp_path: Path) -> None:
    grey = Image.fromarray(np.full((8, 8), 1000, np.uint16))
    clear = _saved(tmp_path, grey, "clear.png", transparency=1000)
    assert load_picture(clear).getpixel((4, 4)) == (255, 255, 255)


def test_a_page_shows_pictures_as_models_read_them(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    picture = Image.new("P", (64, 64), 1)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    hidden = _saved(tmp_path, picture, "hidden.png", transparency=1)
    deep = _saved(tmp_path, Image.fromarray(np.full((8, 8), 32768, np.uint16)), "deep.png")
    (tmp_path / "huge.png").write_bytes(_bomb(12_000))
    _saved(tmp_path, Image.new("F", (8, 8)), "float.tiff")
    paths = [hidden, deep, tmp_path / "huge.png", tmp_path / "float.tiff", tmp_path / "none.png"]
    shown = pictures(paths)
    assert [medium is not None for medium in shown] == [True, True, False, False, False]
    for path, medium in zip(paths[:2], shown[:2], strict=True):
        assert medium is not None
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(medium.data))))
        loaded = load_pixels(path, SIZE).permute(1, 2, 0).numpy()
        assert abs(int(pixels[4, 4, 0]) - int(loaded[4, 4, 0])) <= 2
    assert not recwarn.list


def _spoilt(data: bytes, rng: random.Random) -> bytes:
    """The bytes cut, flipped, doubled or filled with noise somewhere."""
    spoilt = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(spoilt))
        match rng.randrange(4):
            case 0:
                spoilt = spoilt[: max(1, at)]
            case 1:
                spoilt[at] ^= 1 << rng.randrange(8)
            case 2:
                spoilt[at:at] = spoilt[at : at + rng.randint(1, 40)]
            case _:
                spoilt[at : at + 8] = rng.randbytes(8)
    return bytes(spoilt)


def _each(tmp_path: Path, originals: dict[str, bytes], rounds: int) -> list[Path]:
    rng = random.Random(0)
    paths = []
    for number in range(rounds):
        name = rng.choice(sorted(originals))
        paths.append(tmp_path / f"{number}-{name}")
        paths[-1].write_bytes(_spoilt(originals[name], rng))
    return paths


def _attempt(read: Callable[[Path], object], path: Path, *expected: type[Exception]) -> bool:
    """Whether the file was read; anything but the expected errors fails the test."""
    try:
        read(path)
    except expected as error:
        message = str(error)
    else:
        return True
    assert message
    assert "\n" not in message
    return False


def test_damaged_pictures_are_read_or_give_one_reason(tmp_path: Path) -> None:
    originals = {}
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"):
        buffer = io.BytesIO()
        _picture().save(buffer, kind)
        originals[f"picture.{kind.lower()}"] = buffer.getvalue()
    read = [
        _attempt(lambda p: load_pixels(p, SIZE), path, ImageError)
        for path in _each(tmp_path, originals, 200)
    ]
    assert 0 < sum(read) < 200


def _wave(seconds: float, rate: int = 16_000) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * 220 * np.arange(int(seconds * rate)) / rate)


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec.load("zoo:encodec-tiny", 1.6)


@pytest.mark.parametrize(
    ("wave", "rate"),
    [
        (_wave(0.5, 8_000), 8_000),
        (np.stack([_wave(0.5, 44_100)] * 2, 1), 44_100),
        (np.zeros(8_000), 16_000),
        (50 * _wave(0.5), 16_000),
        (np.ones(1), 16_000),
    ],
    ids=["8 kHz", "stereo", "silent", "clipped", "one sample"],
)
def test_unusual_speech_is_spoken_again(
    tmp_path: Path, codec: Codec, wave: np.ndarray, rate: int
) -> None:
    soundfile.write(tmp_path / "x.wav", wave, rate, subtype="FLOAT")
    units = codec.encode(read_speech(tmp_path / "x.wav", codec.sample_rate))
    assert units.shape[0] == 4
    assert np.isfinite(codec.decode(units)).all()


@pytest.mark.parametrize(
    ("wave", "rate", "reason"),
    [
        (np.zeros(0), 16_000, "no samples"),
        (np.array([0.0, np.nan]), 16_000, "not numbers"),
        (np.zeros(1_000_000), 1_000, "longer than 900 s"),
        (np.zeros(10), 7, "a sample rate of 7 Hz"),
    ],
)
def test_a_file_that_is_no_speech_gives_one_reason(
    tmp_path: Path, wave: np.ndarray, rate: int, reason: str
) -> None:
    soundfile.write(tmp_path / "x.wav", wave, rate, subtype="FLOAT")
    with pytest.raises(SpeechError, match=f"x.wav: .*{reason}"):
        read_speech(tmp_path / "x.wav", 16_000)


def test_damaged_speech_is_read_or_gives_one_reason(tmp_path: Path) -> None:
    originals = {}
    for kind in ("WAV", "FLAC", "OGG", "MP3"):
        buffer = io.BytesIO()
        soundfile.write(buffer, _wave(0.3), 16_000, format=kind)
        originals[f"speech.{kind.lower()}"] = buffer.getvalue()
    read = [
        _attempt(lambda p: read_speech(p, 16_000), path, SpeechError)
        for path in _each(tmp_path, originals, 200)
    ]
    assert 0 < sum(read) < 200


def test_damaged_text_files_are_read_or_give_one_line(tmp_path: Path) -> None:
    manifest = (shipped_folder() / "manifest.jsonl").read_bytes()[:2000]
    job = (Path(__file__).parents[2] / "jobs" / "demo.yaml").read_bytes()
    tokens = b"a.jpg#0\tA dog runs .\na.jpg#1\tTwo dogs .\nb.jpg#0\tA cat .\n"
    table = b'image,caption\na.jpg,"A dog, running"\nb.jpg,A cat .\n'
    readers: dict[str, Callable[[Path], object]] = {
        "manifest.jsonl": lambda p: read_scenes(p.parent),
        "job.yaml": lambda p: parse(p, Job),
        "tokens.txt": read_tokens,
        "captions.csv": read_csv,
    }
    rng = random.Random(1)
    originals = {"manifest.jsonl": manifest, "job.yaml": job}
    originals |= {"tokens.txt": tokens, "captions.csv": table}
    for name, data in originals.items():
        for _ in range(60):
            (tmp_path / name).write_bytes(_spoilt(data, rng))
            _attempt(readers[name], tmp_path / name, UserError)


def test_a_manifest_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"")
    folder = tmp_path / "split"
    folder.mkdir()
    row = {"id": "a", "image": "../secret.png", "captions": [{"text": "a dog"}]}
    (folder / "manifest.jsonl").write_text(json.dumps(row))
    with pytest.raises(UserError, match="leads out of its folder"):
        load_scenes(folder)
    (folder / "manifest.jsonl").write_text(json.dumps(row | {"id": "../a", "image": "a.png"}))
    with pytest.raises(UserError, match="jsonl:1: not a scene"):
        load_scenes(folder)


def test_yaml_tags_create_no_objects(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("name: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(UserError, match="not readable as YAML"):
        parse(tmp_path / "job.yaml", TypeAdapter(dict).core_schema)
