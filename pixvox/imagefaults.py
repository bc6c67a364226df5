"""Explains in words why a file cannot be read as a picture."""

from pathlib import Path

_BEGINNINGS = (
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer; run: git lfs pull"),
    (b"/annex/objects/", "a git-annex pointer; run: git annex get"),
    (b"../.git/annex/", "a git-annex pointer; run: git annex get"),
    (b"<!doctype html", "a web page, not a picture; download the picture itself"),
    (b"<html", "a web page, not a picture; download the picture itself"),
    (b"<svg", "an SVG drawing; convert it to PNG"),
    (b"%pdf-", "a PDF; convert it to PNG"),
)
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "HEIC"),
    **dict.fromkeys((b"mif1", b"msf1"), "HEIF"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
}
_READ = 512


def unreadable(path: Path, error: Exception) -> str:
    """Returns why a file raised `error` when it was read as a picture.

    If no format was recognised, it is explained by the file's first bytes; otherwise in the words
    of the library, without the path.
    """
    from PIL import UnidentifiedImageError

    known = _by_beginning(path) if isinstance(error, UnidentifiedImageError) else ""
    return known or _said(path, error)


def _by_beginning(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            begin = stream.read(_READ)
    except OSError:
        return ""
    if not begin:
        return "an empty file"
    if begin[4:8] == b"ftyp" and (kind := _BRANDS.get(begin[8:12])):
        return f"{kind}, which is not read here; convert it to JPEG or PNG"
    text = begin.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<?xml") and b"<svg" in text:
        text = text[text.index(b"<svg") :]
    return next((what for start, what in _BEGINNINGS if text.startswith(start)), "")


def _said(path: Path, error: Exception) -> str:
    text = str(error)
    for name in (repr(str(path)), str(path), repr(path.name)):
        text = text.replace(name, "")
    # Libraries put the file's name last: "[Errno 13] Permission denied: '...'".
    return " ".join(text.split()).rstrip(" :") or type(error).__name__
