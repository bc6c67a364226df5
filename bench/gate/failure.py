"""The files of a gate that could not judge, written also when little else works.

It imports nothing large, because a gate may have failed for lack of memory.
"""

import json
from pathlib import Path
from xml.etree import ElementTree

from bench.common.errors import UserError
from bench.common.text import clean, inert_markdown

_FILES = ("junit.xml", "comment.md", "badge.json")


def xml(suite: ElementTree.Element) -> str:
    """Returns an XML document."""
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def escaped(text: str, more: str = "") -> str:
    """Escapes a message for GitHub's workflow commands, so that it cannot start another command."""
    text = clean(text)
    for char in "%\r\n" + more:
        text = text.replace(char, f"%{ord(char):02X}")
    return text


def prepare(folder: Path) -> None:
    """Creates the folder, and removes an earlier gate's files.

    Raises UserError if it is a file.
    """
    if folder.is_file():
        raise UserError(f"--out {folder}: is a file; name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*(folder / name for name in _FILES), *(folder / "audio").glob("*.wav")]:
        old.unlink(missing_ok=True)


def failure_texts(why: str) -> tuple[str, str, str]:
    """Returns the texts of a gate's three files if nothing was judged: a JUnit error, no
    failure."""
    suite = ElementTree.Element("testsuite", name="pixvox gate", tests="1", errors="1")
    case = ElementTree.SubElement(suite, "testcase", classname="gate", name="run")
    ElementTree.SubElement(case, "error", message=clean(why))
    text = f"## pixvox gate: FAILED\n\nNothing was judged: {inert_markdown(why)}\n"
    facts = {"schemaVersion": 1, "label": "pixvox gate", "message": "failed", "color": "red"}
    return xml(suite), text, json.dumps(facts) + "\n"


def github_error(why: str) -> str:
    """Returns the same as a GitHub workflow command."""
    return f"::error title=pixvox gate::{escaped(why)}"


def write(folder: Path, *texts: str) -> None:
    """Writes the texts of a gate's three files."""
    for name, text in zip(_FILES, texts, strict=True):
        # A CI reads the files after the gate has ended, so writing need not be atomic.
        (folder / name).write_text(text, encoding="utf-8")
