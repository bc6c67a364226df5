"""A caption as a voice reads it: its words and the punctuation between them.

Captions are often tokenised ("a man 's dog ."), and Piper reads some isolated symbols aloud: if
another full stop follows " .", eSpeak says "dot" at the start of the next text.
"""

import re

VERSION = "spoken 1"
"""Part of a voice's identity; raise it with every change of the result of `spoken`."""

_QUOTES = re.compile("[\"“”„‟«»]|``|''")
_PUNCTUATION = ".,;:!?…"
_APOSTROPHE = re.compile(
    r"(?<=\w)\s+'(?=(?:s|t|d|m|re|ve|ll|n)\b)"  # a man 's dog
    r"|(?<=\bn)\s+'(?=\w)",  # rock n 'roll
    re.IGNORECASE,
)
_WORDED = frozenset("#%$€£¥¢+=@°§©®™")
"""Symbols that are read as a word."""


def spoken(text: str) -> str:
    """Returns the text without quotation marks, final punctuation, and isolated symbols.

    An isolated `&` becomes "and"; brackets, dashes and other symbols without a word are removed.
    Spaces before punctuation and before the 's of a tokenised text are removed too. The voice adds
    the final punctuation. The result is "" if there is no word.
    """
    text = _QUOTES.sub("", text.replace("’", "'").replace("‘", "'"))
    words: list[str] = []
    for word in map(_readable, _APOSTROPHE.sub("'", text).split()):
        if not set(word) <= set(_PUNCTUATION):
            words.append(word)
        elif words:
            words[-1] += word
    sentence = " ".join(words).rstrip(_PUNCTUATION + " ")
    return sentence if has_word(sentence) else ""


def has_word(text: str) -> bool:
    """Returns whether a text has a letter or a digit."""
    return any(character.isalnum() for character in text)


def _readable(word: str) -> str:
    """Returns a word unchanged; for isolated symbols their word, their punctuation, or ""."""
    if word == "&":
        return "and"
    if has_word(word) or _WORDED & set(word):
        return word
    return "".join(character for character in word if character in _PUNCTUATION)
