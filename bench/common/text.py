"""Text of others made safe to show, and reasons made of errors.

Labels, names of files, transcripts, messages of exceptions and of git: whatever was not written
here is shown through `clean`, and a row's reason is made by `as_reason`.
"""

import html
import re

_SEQUENCE = re.compile(
    r"(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"  # OSC: titles, links, the clipboard
    r"|(?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x9c]*(?:\x1b\\|\x9c)"  # DCS, SOS, PM, APC
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, the cursor
    r"|\x1b[ -/]*[0-~]"  # the rest
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# What Unicode calls default ignorable: bidirectional controls, joiners, tags, selectors, fillers.
_INVISIBLE = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_NO_CHARACTER = re.compile(r"[\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
# `::error::` of GitHub, `##[group]` and `##vso[…]` of Azure, `##teamcity[…]`: a line that a table
# wraps to may begin anywhere, so none is left anywhere.
_COMMAND = re.compile(r":(?=:)|#(?=#\w*\[)")


def clean(text: str) -> str:
    """One line that drives no terminal, hides nothing, and is no command to a CI's log.

    Escape sequences and invisible characters go, controls become spaces, and what cannot be
    encoded becomes U+FFFD. Any `::` is parted by a space.
    """
    text = _INVISIBLE.sub("", _CONTROL.sub(" ", _SEQUENCE.sub("", text)))
    return _COMMAND.sub(r"\g<0> ", _NO_CHARACTER.sub("\ufffd", text))


_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~$])")
# What GitHub links wherever it stands; a space of no width after it keeps it from that.
_LINKED = re.compile(r"(@|#(?=\d)|:(?=//)|www(?=\.))")


def inert_markdown(text: str) -> str:
    """Text that Markdown shows and does not act on; no address, name or number becomes a link."""
    unlinked = _LINKED.sub("\\1\u200b", clean(text))
    return _MARKDOWN.sub(r"\\\1", html.escape(unlinked, quote=False))


LONGEST = 300
"""Characters of a reason."""
_QUOTED = 120
_READ = 10_000
"""Characters of a message that are looked at; one may be as long as its author likes."""
_QUOTED_PATH = re.compile(r"(['\"])(?:[A-Za-z]:)?[\\/](?:[^'\"\n]*[\\/])?([^'\"\\/\n]+)[\\/]?\1")
_PATH = re.compile(r"(?<![\w.\\/~-])(?:[A-Za-z]:\\|/(?!/))(?:[^\s\\/:'\"<>|,;()\[\]]+[\\/])+")
# Each differs from run to run, or from machine to machine, and says nothing about the item.
_RANDOM = (
    (re.compile(r"\b0[xX][0-9a-fA-F]{6,}"), "0x…"),
    (
        re.compile(
            r"\b((?:actor|task|node|worker|job|object|placement[ _]group)[ _]?(?:id|ref)"
            r"[ :='\"(]{1,4})[0-9a-f]{8,}",
            re.IGNORECASE,
        ),
        r"\1…",
    ),
    (re.compile(r"\b((?:Actor|\w+ID|\w+Ref)\((?:[^()]*, ?)?)[0-9a-f]{8,}"), r"\1…"),
    (re.compile(r"\b(p?pid)([ :=]{1,3})\d+", re.IGNORECASE), r"\1\2…"),
    (re.compile(r"\b(process|thread|ident)([ :=]{1,3})\d{3,}", re.IGNORECASE), r"\1\2…"),
    (re.compile(r"\b(started(?: daemon)?) \d{6,}"), r"\1 …"),
    (re.compile(r"\b(ip)([ :=]{1,3})[\d.]{7,15}", re.IGNORECASE), r"\1\2…"),
    (re.compile(r"\btmp[a-z0-9_]{8}\b"), "tmp…"),
)


def as_reason(text: str) -> str:
    """Why an item failed, in one short line that is the same on every run and machine.

    Folders before a file's name, addresses, and the ids of processes and of Ray go.
    """
    text, before = text[:_READ], None
    # A row that is resumed has its reason made of its reason, which has to be the same.
    while text != before:
        before = text
        text = " ".join(clean(text).split())
        text = _PATH.sub("", _QUOTED_PATH.sub(r"\1\2\1", text))
        for pattern, put in _RANDOM:
            text = pattern.sub(put, text)
        text = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return text


def short(text: str) -> str:
    """Text as a message quotes it that may be as long as its author likes."""
    return text if len(text) <= _QUOTED else text[: _QUOTED - 1] + "…"


def _lines(text: str) -> list[str]:
    return [line for line in text[:_READ].splitlines() if clean(line).strip()]


def _message(error: BaseException) -> str:
    """The first line of an exception's message that says something."""
    try:
        lines = _lines(str(error))
    except Exception:
        # The message is made by the exception's own class, which may fail in any way.
        return ""
    if not lines:
        return ""
    # A message that quotes a traceback ends with what it is about.
    return lines[-1 if lines[0].startswith("Traceback (most recent") else 0]


def reason_of(error: BaseException) -> str:
    """A reason made of an exception: its class and the first line of its message.

    Of one that Ray brings from an actor, the cause's own: Ray's message names processes.
    """
    if any(base.__module__ == "ray.exceptions" for base in type(error).__mro__):
        cause = getattr(error, "cause", None)
        quoted = str(getattr(error, "traceback_str", "") or getattr(error, "error_msg", ""))
        if isinstance(cause, BaseException) and type(cause).__module__ != "ray.exceptions":
            error = cause
        elif _lines(quoted):
            # What cannot be sent, or was raised while the actor was made, comes as a traceback.
            return as_reason(_lines(quoted[-_READ:])[-1])
    message = _message(error)
    name = type(error).__name__
    return as_reason(f"{name}: {message}" if message else name)


def plural(count: int, singular: str, several: str = "") -> str:
    """Returns a count with its noun, such as "2 images".

    `several` is the plural where that is not `singular` and an s.
    """
    return f"{count} {singular if count == 1 else several or singular + 's'}"
