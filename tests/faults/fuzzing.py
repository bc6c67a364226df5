"""Damages users' files at random: values, text and folders."""

import hashlib
import io
import os
import random
import shutil
from collections.abc import Callable
from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

CASES = 500
"""How many inputs are spoilt where nothing else is asked for."""
NASTY: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 2**31, 2**63, -(2**63), 10**30, 0.5, -0.0, 1e308, 1e-320,
    float("inf"), float("nan"), "", " ", "\t", "a" * 300, "x" * 5000, "0", "010", "1:30", "yes",
    "no", "null", "~", "[", "{", "\u0000", "\x1b[31mred\x1b[0m", "\u202eevil", "::error::x",
    "a\nb", "é" * 200, "../..", "/", "/dev/null", "/dev/zero", ".", "~", "job.yaml/x", "zoo:nope",
    "zoo:../..", "zoo:", "nowhere/else", "zoo:encodec-tiny", "zoo:pixvox-tiny-delay", "os:C",
    "os.path:join", "json:loads", "tiny.en", "base", "scenes", "flickr8k", "parallel", "delay",
    "faster-whisper",
    "=1+1", "${HOME}", "%s", "{id}", date(2020, 1, 1), [], {}, [[]], [None], {"a": 1}, {"": ""},
    [1, "a", None], b"\xff\xfe",
)  # fmt: skip
FRAGMENTS = (
    "&a [*a]", "!!python/object/apply:os.system ['true']", "\t", ": ", "- ", "010", "1:30",
    "0x1F", "1_000", ".inf", "9" * 5000, "? ", "|", ">", "'", '"', "{", "]", "#", "%YAML 1.1\n",
    "---\n", "...\n", "\x00", "\x85", "\u2028", "\ufeff", "<<: *a", "2020-01-01", "*x", "!", "@",
    "`", "\\", "[" * 3000, "a: " * 40, "&x [1,2]\nb: [*x,*x,*x]", "limit: true\nlimit: 3\n", "\r",
    "\r\n",
)  # fmt: skip


def spoilt_value(value: Any, rng: random.Random) -> Any:
    """Returns a document with one to three nodes replaced, removed, renamed or doubled."""
    document = deepcopy(value)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        node = document
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = rng.choice(keys)
            child = node[key]
            if isinstance(child, dict | list) and child and rng.random() < 0.7:
                node = child
                continue
            _spoil(node, key, rng)
            break
    return document


def _spoil(node: Any, key: Any, rng: random.Random) -> None:
    what = rng.randrange(6)
    if what == 0:
        del node[key]
    elif what == 1 and isinstance(node, dict):
        name = str(key)
        at = rng.randrange(len(name) + 1)
        node[name[:at] + rng.choice("exyz_ ") + name[at + 1 :]] = node.pop(key)
    elif what == 2 and isinstance(node, list):
        node.extend([deepcopy(node[key])] * rng.choice((1, 3, 200)))
    elif what == 3:
        node[key] = [node[key]] * rng.randint(0, 3)
    else:
        node[key] = deepcopy(rng.choice(NASTY))


def spoilt_bytes(data: bytes, rng: random.Random) -> bytes:
    """Returns bytes with one to four places cut, flipped, doubled or filled with odd characters."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed) + 1)
        what = rng.randrange(6)
        if what == 0:
            del changed[at:]
        elif what == 1:
            del changed[at : at + rng.randint(1, 30)]
        elif what == 2 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif what == 3:
            changed[at:at] = changed[at : at + 60]
        elif what == 4:
            changed[at:at] = rng.choice(FRAGMENTS).encode(errors="surrogatepass")
        else:
            changed[at:at] = rng.randbytes(rng.randint(1, 8))
    return bytes(changed)


def _link(path: Path, target: Path) -> None:
    _remove(path)
    path.symlink_to(target)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _as_folder(path: Path, rng: random.Random, outside: Path) -> None:
    _remove(path)
    path.mkdir(parents=True)


def _as_fifo(path: Path, rng: random.Random, outside: Path) -> None:
    _remove(path)
    os.mkfifo(path)


def _as_link(path: Path, rng: random.Random, outside: Path) -> None:
    within = sorted(outside.rglob("*"))
    others = (outside / "not there", path, Path("/dev/zero"), *within)
    _link(path, outside if rng.random() < 0.5 else rng.choice(others))


def _gone(path: Path, rng: random.Random, outside: Path) -> None:
    _remove(path)


def _spoilt(path: Path, rng: random.Random, outside: Path) -> None:
    if path.is_file():
        path.write_bytes(spoilt_bytes(path.read_bytes(), rng))
    elif path.is_dir():
        (path / rng.choice((".DS_Store", "part-x.parquet", "a b", "é" * 80, "x.part"))).write_bytes(
            rng.randbytes(9)
        )


def _renamed(path: Path, rng: random.Random, outside: Path) -> None:
    name = rng.choice(("aaaa", "." + path.name, path.name + "x", "part-0.parquet", "-rf", "\udcff"))
    target = path.with_name(name)
    if not target.exists():
        path.rename(target)


def _copied(path: Path, rng: random.Random, outside: Path) -> None:
    """Replaces a file's content by that of another file."""
    others = [p for p in path.parent.parent.rglob("*") if p.is_file() and not p.is_symlink()]
    if path.is_file() and others:
        path.write_bytes(rng.choice(others).read_bytes())


def _hashed_garbage(path: Path, rng: random.Random, outside: Path) -> None:
    """Writes a file whose name matches its bytes, but which is no part."""
    buffer = io.BytesIO()
    frames = (
        pl.DataFrame({"item": ["a"], "status": ["ok"]}),
        pl.DataFrame({"x": [1]}),
        pl.DataFrame(),
    )
    rng.choice(frames).write_parquet(buffer)
    data = rng.choice((buffer.getvalue(), rng.randbytes(30), b""))
    folder = path if path.is_dir() else path.parent
    name = f"part-{hashlib.sha256(data).hexdigest()[:32]}.parquet"
    (folder / name).write_bytes(data)


Harm = Callable[[Path, random.Random, Path], None]
HARMS: tuple[Harm, ...] = (
    _spoilt, _spoilt, _spoilt, _gone, _as_folder, _as_fifo, _as_link, _as_link, _renamed, _copied,
    _hashed_garbage,
)  # fmt: skip


def spoilt_folder(folder: Path, rng: random.Random, outside: Path) -> None:
    """Damages one or two entries of a folder; links lead to `outside`."""
    for _ in range(rng.randint(1, 2)):
        inside = sorted(p for p in folder.rglob("*") if not p.is_symlink())
        if rng.random() < 0.5:
            # There are far fewer, and most depends on them.
            inside = [p for p in inside if p.is_dir()] or inside
        if inside:
            rng.choice(HARMS)(rng.choice(inside), rng, outside)


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    """Returns the time of change (ns) and the digest of every file below a folder."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    }
