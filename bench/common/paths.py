"""Which texts can be paths at all."""

from pathlib import Path

MAX_PATH, MAX_NAME = 3000, 255
"""Bytes for a whole path, of which systems take 4096 with the names that follow, and for a name."""


def unusable_path(text: str) -> str:
    """Why no file can have this path; "" where one can."""
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
