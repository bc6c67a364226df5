"""The length of sound that the header of an audio file promises, and where the file ends.

Only headers are read. A decoder reads what exists and cannot report what is missing: half of a WAV
file, an Ogg file without its last page, the second of two joined files.
"""

import re
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from mmap import mmap

Bytes = bytes | mmap

UNKNOWN_BYTES = 0x7FFFF000
"""Sizes in 32 bits from here on are written by programs that cannot seek back to their header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Bytes `start` to `end` of a file, which are a complete file.

    `container` is FFmpeg's name of the format. `share` is the share of the promised sound that
    exists, by bytes; `samples` is the promised number of samples a channel, None if unknown;
    `frames` is the same in frames of an MPEG stream. `fault` describes other damage, "" for none;
    if it `is_joined`, another file follows that no decoder reads.
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


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A chunk of a file: its name, and the start and promised end of its content.

    `end` is None if the size is not known.
    """

    name: bytes
    start: int
    end: int | None


def _chunks(data: Bytes, at: int, head: struct.Struct, align: int) -> Iterator[_Chunk]:
    """Yields the chunks from byte `at` on, up to one of unknown size; `head` is their name and
    size.

    They start at multiples of `align` bytes from there.
    """
    first = at
    while at + head.size <= len(data):
        name, size = head.unpack_from(data, at)
        if head is _W64_CHUNK:
            # The size includes the head.
            size = max(0, size - head.size)
        start = at + head.size
        end = start + size if 0 <= size < UNKNOWN_BYTES else None
        yield _Chunk(name[:4], start, end)
        if end is None:
            return
        at = end + (first - end) % align


def _chunked(
    whole: Part, data: Bytes, chunks: Iterable[_Chunk], *, in_blocks: bool = False
) -> Part:
    """Returns a file of these chunks, one of which is the sound.

    For sound `in_blocks`, any missing byte may belong to a block, which is then lost.
    """
    size, rest = len(data), iter(chunks)
    for chunk in rest:
        if chunk.name not in (b"data", b"SSND"):
            continue
        if chunk.end is None or chunk.end <= chunk.start or chunk.start >= size:
            break
        share = min(1.0, (size - chunk.start) / (chunk.end - chunk.start))
        fault = _CUT if share < 1 and in_blocks else ""
        following = next(rest, None)
        if following is not None and not _CHUNK_NAME.match(following.name):
            fault = _ends_early(data, chunk.end)
        return replace(whole, end=min(size, chunk.end), share=share, fault=fault)
    return whole


_CHUNK_NAME = re.compile(rb"[ -~]{4}")


def _ends_early(data: Bytes, end: int) -> str:
    """Returns a fault if bytes after the sound are not a chunk: they may be more sound."""
    is_filled = not data[end:].strip(b"\0")
    return "" if is_filled else f"its header ends the sound at byte {end:,}, and more follows"


_CUT = "its end is missing"
_RIFF_CHUNK, _BIG_CHUNK = struct.Struct("<4sI"), struct.Struct(">4sI")
_W64_CHUNK, _CAF_CHUNK = struct.Struct("<16sQ"), struct.Struct(">4sq")
_BY_SAMPLE = (b"\x01\0", b"\x03\0", b"\x06\0", b"\x07\0", b"\xfe\xff")
"""Formats of a WAV file with independent samples: PCM, A-law, mu-law, and those with a GUID."""


def _is_in_blocks(data: Bytes, chunks: Iterable[_Chunk], order: str = "<") -> bool:
    """Returns whether the sound of a WAV or W64 file is coded in blocks."""
    start = next((chunk.start for chunk in chunks if chunk.name == b"fmt "), len(data))
    kind = data[start : start + 2]
    return (kind if order == "<" else kind[::-1]) not in (b"", *_BY_SAMPLE)


def _wav(data: Bytes, start: int, end: int) -> Part:
    order = ">" if data[start : start + 4] == b"RIFX" else "<"
    head = _BIG_CHUNK if order == ">" else _RIFF_CHUNK

    def chunks() -> Iterator[_Chunk]:
        long_size = 0
        for chunk in _chunks(data, start + 12, head, 2):
            if chunk.name == b"ds64" and chunk.start + 16 <= end:
                (long_size,) = struct.unpack_from("<Q", data, chunk.start + 8)
            is_long = chunk.name == b"data" and chunk.end is None and long_size
            yield replace(chunk, end=chunk.start + long_size) if is_long else chunk

    whole = Part(container="wav", start=start, end=end)
    return _chunked(whole, data, chunks(), in_blocks=_is_in_blocks(data, chunks(), order))


def _aiff(data: Bytes, start: int, end: int) -> Part:
    whole = Part(container="aiff", start=start, end=end)
    return _chunked(whole, data, _chunks(data, start + 12, _BIG_CHUNK, 2))


def _w64(data: Bytes, start: int, end: int) -> Part:
    whole = Part(container="w64", start=start, end=end)
    chunks = list(_chunks(data, start + 40, _W64_CHUNK, 8))
    return _chunked(whole, data, chunks, in_blocks=_is_in_blocks(data, chunks))


def _caf(data: Bytes, start: int, end: int) -> Part:
    chunks = list(_chunks(data, start + 8, _CAF_CHUNK, 1))
    # Packets without a stated size have a table of their sizes, which may be after them.
    described = start + 8 + _CAF_CHUNK.size
    is_packed = data[described + 16 : described + 20] == bytes(4)
    whole = Part(container="caf", start=start, end=end)
    part = _chunked(whole, data, chunks, in_blocks=is_packed)
    has_table = any(chunk.name == b"pakt" and (chunk.end or 0) <= end for chunk in chunks)
    return part if has_table or not is_packed else replace(part, fault=_CUT)


def _au(data: Bytes, start: int, end: int) -> Part:
    sound, size = struct.unpack(">II", data[start + 4 : start + 12].ljust(8, b"\0"))
    sound += start
    chunk = _Chunk(b"data", sound, sound + size if size < UNKNOWN_BYTES else None)
    part = _chunked(Part(container="au", start=start, end=end), data, [chunk])
    return replace(part, fault=_ends_early(data, part.end))


def _nist(data: Bytes, start: int, end: int) -> Part:
    count = re.search(rb"\nsample_count -i (\d+)", data[start : start + 4096])
    samples = int(count[1]) if count else None
    return Part(container="nistsphere", start=start, end=end, samples=samples)


def _asf(data: Bytes, start: int, end: int) -> Part:
    whole = Part(container="asf", start=start, end=end)
    properties = data.find(_ASF_PROPERTIES, start, start + (1 << 16))
    (size,) = struct.unpack("<Q", data[properties + 40 : properties + 48].ljust(8, b"\0"))
    if properties < 0 or not size:
        return whole
    return replace(whole, end=min(start + size, end), fault=_CUT if end < start + size else "")


_SEGMENT, _CLUSTER = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"


def _matroska(data: Bytes, start: int, end: int) -> Part:
    at, fault = start, ""
    # Padding starts with 0, which no element does.
    while at < end and data[at] and not fault:
        width = 9 - data[at].bit_length()
        name, size_at = data[at : at + width], at + width
        width = 9 - data[size_at].bit_length() if size_at < end else 9
        most = (1 << 7 * width) - 1
        size = int.from_bytes(data[size_at : size_at + width]) & most
        at = size_at + width
        # The size is not known if the file was streamed while it was recorded.
        if size == most and name in (_SEGMENT, _CLUSTER):
            continue
        at += size
        fault = _CUT if at > end else ""
    return Part(container="matroska", start=start, end=min(at, end), fault=fault)


def _flac(data: Bytes, start: int, end: int) -> Part:
    packed = int.from_bytes(data[start + 18 : start + 26].ljust(8, b"\0"))
    # 0 means that the encoder did not know it.
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
    return Part(container="ogg", start=start, end=min(at, end), fault=fault)


def _boxes(data: Bytes, start: int, end: int) -> Part:
    at = start
    while at + 8 <= end:
        (size,) = struct.unpack(">I", data[at : at + 4])
        if size == 1:
            (size,) = struct.unpack(">Q", data[at + 8 : at + 16].ljust(8, b"\xff"))
        at += max(8, size) if size else end - at
    is_cut = at > end or bool(data[at:end].strip(b"\0"))
    return Part(container="mov", start=start, end=end, fault=_CUT if is_cut else "")


_VBR_HEADER = re.compile(
    rb"\xff[\xe2-\xff][\s\S]{2}(?:"
    rb"[\s\S]{9,34}?(?:Xing|Info)\x00\x00\x00[\x01\x03\x05\x07\x09\x0b\x0d\x0f]"
    rb"|[\s\S]{32}VBRI\x00\x01[\s\S]{8})"
)
"""The first frame of an MP3 file with the number of frames, up to that number."""


def _mpeg(data: Bytes, start: int, end: int) -> Part:
    # Joined files have a header each.
    promised = [
        int.from_bytes(data[match.end() : match.end() + 4]) for match in _VBR_HEADER.finditer(data)
    ]
    return Part(container="mp3", start=start, end=end, frames=sum(promised) or None)


_V1_LAYER_2 = (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
_V1_LAYER_3 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_V2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


def mpeg_frame_bytes(header: bytes) -> int:
    """Returns an MPEG audio frame's length by its first four bytes (layer 2 or 3); 0 if unknown."""
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


def _adts(data: Bytes, start: int, end: int) -> Part:
    at = start
    while at + 6 <= end and data[at] == 0xFF and data[at + 1] & 0xF6 == 0xF0:
        size = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
        at += max(6, size)
    is_cut = at > end or (0 < end - at < 6 and data[at] == 0xFF)
    return Part(container="aac", start=start, end=min(at, end), fault=_CUT if is_cut else "")


_W64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0"
_ASF_PROPERTIES = b"\xa1\xdc\xab\x8c\x47\xa9\xcf\x11\x8e\xe4\0\xc0\x0c\x20\x53\x65"
_tta, _amr = _whole("tta"), _whole("amr")
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
    (rb"NIST_1A\n +\d+\n", _nist),
    (rb"#!AMR(?:-WB)?\n", _amr),
    (rb"wvpk[\s\S]{4}[\x00-\x20]\x04", _whole("wv")),
    (rb"TTA1\x01\x00", _tta),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", _asf),
    (rb"\xff[\xf0\xf1\xf8\xf9]", _adts),
    (rb"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff]", _mpeg),
)
"""The first bytes of each kind of file, and its header's reader; the first match is used."""
_DIVISIBLE = (_flac, _ogg, _matroska)
_MARKED = (_wav, _aiff, _w64, _caf, _au, _nist, _boxes, _tta, _amr, _asf)
"""Kinds whose first bytes cannot occur inside such a file by chance."""


def _after_tag(data: Bytes) -> int:
    """Returns where the file starts after an ID3v2 tag, if it has one."""
    if data[:3] != b"ID3" or len(data) < 10:
        return 0
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size


def _link_starts(data: Bytes, starts: list[int]) -> list[int]:
    """Returns the starts of the links of a chained Ogg; a link's streams start together."""
    links: list[int] = []
    end_of_page = -1
    for start in starts:
        if start != end_of_page or not links:
            links.append(start)
        segments = data[start + 26] if start + 26 < len(data) else 0
        end_of_page = start + 27 + segments + sum(data[start + 27 : start + 27 + segments])
    return links


_ID3 = rb"ID3[\x02-\x04]\x00"
_SEARCHED = 4096
"""The first frame of an MPEG stream starts within this many bytes."""
_PADDING = 8
"""At most this many bytes are between the end of a file's sound and what follows."""


def _behind(data: Bytes, part: Part) -> int | None:
    """Returns where another file starts directly after the sound of a part; None if none does."""
    if part.end == len(data):
        return None
    places = range(part.end, min(part.end + _PADDING, len(data)))
    signatures = [re.compile(pattern) for pattern in (_ID3, *(pattern for pattern, _ in _KINDS))]
    return next(
        (at for at in places if any(signature.match(data, at) for signature in signatures)), None
    )


def _joined(part: Part, other: int) -> Part:
    fault = f"another file begins behind it, at byte {other:,}; split them"
    return replace(part, fault=fault, is_joined=True)


def parts_of(data: Bytes) -> list[Part]:
    """Returns the files that are joined in an audio file; [] for an unknown format."""
    begin = _after_tag(data)
    for pattern, read in _KINDS:
        signature = re.compile(pattern)
        if signature.match(data, begin) is None:
            continue
        starts = [begin]
        if read in (*_DIVISIBLE, *_MARKED):
            starts += [match.start() for match in signature.finditer(data, begin + 1)]
        if read is _ogg:
            starts = _link_starts(data, starts)
        if read not in _DIVISIBLE:
            part = read(data, begin, len(data))
            return [_joined(part, starts[1])] if len(starts) > 1 else [_checked(data, part)]
        ends = [*starts[1:], len(data)]
        *before, last = [read(data, *bounds) for bounds in zip(starts, ends, strict=True)]
        return [*before, _checked(data, last)]
    # Players search for the first frame.
    return [_mpeg(data, begin, len(data))] if begin or _has_frames(data) else []


def _has_frames(data: Bytes) -> bool:
    """Returns whether an MPEG stream starts in the first bytes: two similar frames."""
    for at in range(min(len(data), _SEARCHED)):
        size = mpeg_frame_bytes(data[at : at + 4])
        follows = data[at + size : at + size + 4]
        if size and follows[1:2] == data[at + 1 : at + 2] and mpeg_frame_bytes(follows):
            return True
    return False


def _checked(data: Bytes, part: Part) -> Part:
    other = _behind(data, part)
    return part if other is None else _joined(part, other)
