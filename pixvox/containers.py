"""What the container of an audio file promises: how much sound there is, and where it ends.

Only headers are read. A decoder reads what is there and cannot say what is missing: a WAV file that
was cut in half, an Ogg file without its last page, the second of two joined files.
"""

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from mmap import mmap

Bytes = bytes | mmap

UNKNOWN_BYTES = 0x7FFFF000
"""From here on, a size in 32 bits is what a program writes that cannot go back to its header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Bytes `start` to `end` of a file, a whole file of their own.

    `container` is FFmpeg's name of the format. `share` is how much of the promised sound is there,
    by its bytes; `samples` how many samples a channel are promised, None where that is unknown;
    `frames` the same in frames of an MPEG stream. `fault` says what else is wrong, "" for nothing;
    where it `is_joined`, another file follows that no decoder reads.
    """

    container: str
    start: int
    end: int
    share: float = 1.0
    samples: int | None = None
    frames: int | None = None
    fault: str = ""
    is_joined: bool = False


def _whole(container: str) -> Callable[[Bytes, int, int], Part]:
    return lambda _, start, end: Part(container=container, start=start, end=end)


def _chunked(container: str, chunks: Iterator[tuple[bytes, int, int]], end: int) -> Part:
    """A file of chunks `(id, start of its content, promised bytes)`, one of which is the sound."""
    for name, start, promised in chunks:
        if name in (b"data", b"SSND") and promised > 0 and start < end:
            share = min(1.0, (end - start) / promised)
            return Part(container=container, start=0, end=end, share=share)
    return Part(container=container, start=0, end=end)


def _known(size: int) -> int:
    return 0 if size >= UNKNOWN_BYTES else size


def _wav(data: Bytes, _: int, end: int) -> Part:
    order = ">" if data[:4] == b"RIFX" else "<"

    def chunks() -> Iterator[tuple[bytes, int, int]]:
        at, long_size = 12, 0
        while at + 8 <= end:
            name, (size,) = data[at : at + 4], struct.unpack(f"{order}I", data[at + 4 : at + 8])
            if name == b"ds64" and at + 24 <= end:
                (long_size,) = struct.unpack("<Q", data[at + 16 : at + 24])
            if name == b"data":
                is_long = size == 0xFFFFFFFF and long_size
                yield name, at + 8, long_size if is_long else _known(size)
                return
            at += 8 + size + size % 2

    return _chunked("wav", chunks(), end)


def _aiff(data: Bytes, _: int, end: int) -> Part:
    def chunks() -> Iterator[tuple[bytes, int, int]]:
        at = 12
        while at + 8 <= end:
            (size,) = struct.unpack(">I", data[at + 4 : at + 8])
            yield data[at : at + 4], at + 8, _known(size)
            at += 8 + size + size % 2

    return _chunked("aiff", chunks(), end)


def _w64(data: Bytes, _: int, end: int) -> Part:
    def chunks() -> Iterator[tuple[bytes, int, int]]:
        at = 40
        while at + 24 <= end:
            (size,) = struct.unpack("<Q", data[at + 16 : at + 24])
            yield data[at : at + 4], at + 24, 0 if size >= 1 << 62 else size - 24
            at += max(24, size + -size % 8)

    return _chunked("w64", chunks(), end)


def _caf(data: Bytes, _: int, end: int) -> Part:
    def chunks() -> Iterator[tuple[bytes, int, int]]:
        at = 8
        while at + 12 <= end:
            (size,) = struct.unpack(">q", data[at + 4 : at + 12])
            yield data[at : at + 4], at + 12, size
            if size < 0:
                return
            at += 12 + size

    return _chunked("caf", chunks(), end)


def _au(data: Bytes, _: int, end: int) -> Part:
    start, size = struct.unpack(">II", data[4:12].ljust(8, b"\0"))
    return _chunked("au", iter([(b"data", start, _known(size))]), end)


def _flac(data: Bytes, start: int, end: int) -> Part:
    packed = int.from_bytes(data[start + 18 : start + 26].ljust(8, b"\0"))
    # 0 says that the encoder did not know it.
    return Part(container="flac", start=start, end=end, samples=packed & (1 << 36) - 1 or None)


def _ogg(data: Bytes, start: int, end: int) -> Part:
    opened: set[bytes] = set()
    closed: set[bytes] = set()
    expected: dict[bytes, int] = {}
    fault, at = "", start
    while at + 27 <= end and data[at : at + 4] == b"OggS":
        flags, serial, number = data[at + 5], data[at + 14 : at + 18], data[at + 18 : at + 22]
        lacing = data[at + 27 : at + 27 + data[at + 26]]
        at += 27 + data[at + 26] + sum(lacing)
        page = int.from_bytes(number, "little")
        if at > end:
            fault = fault or "its last page is cut"
            break
        if page != expected.get(serial, page):
            fault = fault or "a page in its middle is missing"
        expected[serial] = page + 1
        opened.add(serial)
        if flags & 4:
            closed.add(serial)
    if opened - closed:
        fault = fault or "its last page is missing"
    return Part(container="ogg", start=start, end=end, fault=fault)


def _boxes(data: Bytes, _: int, end: int) -> Part:
    at = 0
    while at + 16 <= end:
        (size,) = struct.unpack(">I", data[at : at + 4])
        if size == 1:
            (size,) = struct.unpack(">Q", data[at + 8 : at + 16])
        at += max(8, size) if size else end - at
    return Part(container="mov", start=0, end=end, fault="its end is missing" if at > end else "")


_VBR_HEADER = re.compile(
    rb"\xff[\xe2-\xff][\s\S]{2}[\s\S]{9,34}?(?:Xing|Info)\x00\x00\x00[\x01-\x0f]"
)


def _mpeg(data: Bytes, start: int, end: int) -> Part:
    # Joined files have a header each.
    promised = [
        int.from_bytes(data[found.end() : found.end() + 4]) for found in _VBR_HEADER.finditer(data)
    ]
    return Part(container="mp3", start=start, end=end, frames=sum(promised) or None)


_V1_LAYER_2 = (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
_V1_LAYER_3 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_V2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


def mpeg_frame_bytes(header: bytes) -> int:
    """How long an MPEG audio frame of layer 2 or 3 is, by its first four bytes; 0 if unknown."""
    if len(header) < 4 or header[0] != 0xFF or header[1] < 0xE2:
        return 0
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bitrate, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer not in (2, 3) or bitrate in (0, 15) or rate == 3:
        return 0
    hertz = (44_100, 48_000, 32_000)[rate] // {3: 1, 2: 2, 0: 4}[version]
    table = _V2 if version != 3 else _V1_LAYER_3 if layer == 3 else _V1_LAYER_2
    samples = 576 if version != 3 and layer == 3 else 1152
    return samples // 8 * 1000 * table[bitrate - 1] // hertz + padding


_W64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0"
_matroska, _tta, _asf = _whole("matroska"), _whole("tta"), _whole("asf")
_KINDS: tuple[tuple[bytes, Callable[[Bytes, int, int], Part]], ...] = (
    (rb"(?:RIFF|RIFX|RF64|BW64)[\s\S]{4}WAVE", _wav),
    (rb"FORM[\s\S]{4}AIF[FC]", _aiff),
    (re.escape(_W64), _w64),
    (rb"caff\x00\x01\x00\x00desc", _caf),
    (rb"\.snd\x00\x00[\x00-\x0f][\s\S]{5}\x00\x00\x00[\x01-\x20]", _au),
    (rb"fLaC[\x00\x80]\x00\x00\x22", _flac),
    (rb"OggS\x00\x02", _ogg),
    (rb"\x00\x00\x00[\x08-\xff]ftyp", _boxes),
    (rb"\x1aE\xdf\xa3[\s\S]{1,60}?\x42\x82.(?:matroska|webm)", _matroska),
    (rb"#!AMR", _whole("amr")),
    (rb"wvpk[\s\S]{4}[\x00-\x20]\x04", _whole("wv")),
    (rb"TTA1\x01\x00", _tta),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", _asf),
    (rb"\xff[\xf0\xf1\xf8\xf9]", _whole("aac")),
    (rb"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff]", _mpeg),
)
"""How a file of a kind begins, and what reads its promises; the first that fits is taken."""
_DIVISIBLE = (_flac, _ogg, _matroska)
_MARKED = (_wav, _aiff, _w64, _caf, _au, _boxes, _tta, _asf)
"""Kinds whose beginning cannot stand inside of a file of that kind by chance."""


def _after_tag(data: Bytes) -> int:
    """Where the file begins after an ID3v2 tag, if it has one."""
    if data[:3] != b"ID3" or len(data) < 10:
        return 0
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size


def _link_starts(data: Bytes, starts: list[int]) -> list[int]:
    """Where each link of a chained Ogg begins: several streams of one link begin together."""
    links: list[int] = []
    end_of_page = -1
    for start in starts:
        if start != end_of_page or not links:
            links.append(start)
        segments = data[start + 26] if start + 26 < len(data) else 0
        end_of_page = start + 27 + segments + sum(data[start + 27 : start + 27 + segments])
    return links


def parts_of(data: Bytes) -> list[Part]:
    """The files that stand one behind the other in an audio file; [] for an unknown format."""
    begin = _after_tag(data)
    for pattern, read in _KINDS:
        signature = re.compile(pattern)
        if signature.match(data, begin) is None:
            continue
        starts = [begin]
        if read in (*_DIVISIBLE, *_MARKED):
            starts += [found.start() for found in signature.finditer(data, begin + 1)]
        if read is _ogg:
            starts = _link_starts(data, starts)
        if read in _DIVISIBLE:
            ends = [*starts[1:], len(data)]
            return [read(data, *bounds) for bounds in zip(starts, ends, strict=True)]
        part = read(data, begin, len(data))
        if len(starts) > 1:
            fault = f"another file begins behind it, at byte {starts[1]:,}; split them"
            return [replace(part, fault=fault, is_joined=True)]
        return [part]
    # After an ID3 tag, players look for the first frame.
    return [_mpeg(data, begin, len(data))] if begin else []
