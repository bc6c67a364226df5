"""Makes foreign text safe to print, and formats errors as reasons.

Labels, names of files, transcripts, and messages of exceptions and of git are printed through
`clean`. `as_reason` formats the reason of a failed row.
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
# Commands in the log of a CI: `::error::` of GitHub, `##[group]` and `##vso[…]` of Azure,
# `##teamcity[…]`. They are broken anywhere in a text, because a table may wrap a line anywhere.
_COMMAND = re.compile(r":(?=:)|#(?=#\w*\[)")


def clean(text: str) -> str:
    """Returns a text as one line without terminal sequences, invisible text and CI commands.

    Escape sequences and invisible characters are removed, control characters become spaces, and
    characters that cannot be encoded become U+FFFD. `::` becomes `: :`.
    """
    text = _INVISIBLE.sub("", _CONTROL.sub(" ", _SEQUENCE.sub("", text)))
    return _COMMAND.sub(r"\g<0> ", _NO_CHARACTER.sub("\ufffd", text))


_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~$])")
# GitHub makes links of these anywhere; a zero-width space after them prevents it.
_LINKED = re.compile(r"(@|#(?=\d)|:(?=//)|www(?=\.))")


def inert_markdown(text: str) -> str:
    """Escapes a text for Markdown, so that it is shown literally and nothing becomes a link."""
    unlinked = _LINKED.sub("\\1\u200b", clean(text))
    return _MARKDOWN.sub(r"\\\1", html.escape(unlinked, quote=False))


LONGEST = 300
"""The most characters of a reason."""
_QUOTED = 120
"""The most characters of a text that a message quotes."""
_READ = 10_000
"""The most characters of a message that are processed."""
_QUOTED_PATH = re.compile(r"(['\"])(?:[A-Za-z]:)?[\\/](?:[^'\"\n]*[\\/])?([^'\"\\/\n]+)[\\/]?\1")
_PATH = re.compile(r"(?<![\w.\\/~-])(?:[A-Za-z]:\\|/(?!/))(?:[^\s\\/:'\"<>|,;()\[\]]+[\\/])+")
# These differ between runs or machines, and say nothing about the item.
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
    """Formats the reason of a failed item as one short line, the same in every run.

    Folders before a file's name, memory addresses, and ids of processes and of Ray are removed.
    """
    text, before = text[:_READ], None
    # Repeated until nothing changes: the reason of a resumed row is formatted again.
    while text != before:
        before = text
        text = " ".join(clean(text).split())
        text = _PATH.sub("", _QUOTED_PATH.sub(r"\1\2\1", text))
        for pattern, put in _RANDOM:
            text = pattern.sub(put, text)
        text = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return text


def short(text: str) -> str:
    """Returns a text cut to the length that a message quotes."""
    return text if len(text) <= _QUOTED else text[: _QUOTED - 1] + "…"


def _lines(text: str) -> list[str]:
    return [line for line in text[:_READ].splitlines() if clean(line).strip()]


def _message(error: BaseException) -> str:
    """Returns the first line of an exception's message that is not blank; "" if there is none."""
    try:
        lines = _lines(str(error))
    except Exception:
        # The exception's own __str__ may raise anything.
        return ""
    if not lines:
        return ""
    # The last line of a quoted traceback has the error.
    return lines[-1 if lines[0].startswith("Traceback (most recent") else 0]


def reason_of(error: BaseException) -> str:
    """Returns the reason for an exception: its class and the first line of its message.

    For an error that Ray reports from an actor it is that of the cause, because Ray's message
    contains ids of processes.
    """
    if any(base.__module__ == "ray.exceptions" for base in type(error).__mro__):
        cause = getattr(error, "cause", None)
        quoted = str(getattr(error, "traceback_str", "") or getattr(error, "error_msg", ""))
        if isinstance(cause, BaseException) and type(cause).__module__ != "ray.exceptions":
            error = cause
        elif _lines(quoted):
            # Ray reports errors of constructors, and those it cannot pickle, as a traceback.
            return as_reason(_lines(quoted[-_READ:])[-1])
    message = _message(error)
    name = type(error).__name__
    return as_reason(f"{name}: {message}" if message else name)


def plural(count: int, singular: str, several: str = "") -> str:
    """Returns a count with its noun, such as "2 images".

    `several` is the plural where that is not `singular` and an s.
    """
    return f"{count} {singular if count == 1 else several or singular + 's'}"
