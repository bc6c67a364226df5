"""Checks whether a text can be a path."""

from pathlib import Path

MAX_PATH, MAX_NAME = 3000, 255
"""Bytes of a path and of a name in it. Linux allows 4096; the rest is for names that are added."""


def unusable_path(text: str) -> str:
    """Returns why no file can have this path; "" if one can."""
    if "\0" in text:
        return "a path cannot hold a null character"
    if not text.strip():
        return "a path cannot be empty"
    encoded = text.encode(errors="surrogatepass")
    if len(encoded) > MAX_PATH or max(map(len, encoded.split(b"/"))) > MAX_NAME:
        return f"a path of {len(encoded):,} bytes, or a name in it, is too long for a file system"
    try:
        Path(text).expanduser()
    except RuntimeError:
        return f"{text.split('/')[0][:40]}: no such user"
    return ""
