"""Penn Treebank tokens, by the tokeniser that pycocoevalcap uses (Stanford CoreNLP 3.4.1).

pycocoevalcap joins captions with newlines and assumes that as many come back. A carriage return or
U+2028 in a caption shifts all later captions to other images. Here such characters are replaced by
spaces first, and the number of lines is checked.
"""

import importlib.util
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.common.errors import RunFailed
from bench.metrics.java import OPTIONS, java

# pycocoevalcap.tokenizer.ptbtokenizer.PUNCTUATIONS, which are dropped after tokenising.
PUNCTUATION = {"''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"} | {
    f"-{side}{kind}B-" for side in "LR" for kind in "RC"
}
_LINE_BREAKS = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")
_BETWEEN = 'The " \' " end'
"""A line after every text, so that its tokens depend on no other text.

The tokeniser drops final lines without tokens. The next line's first word decides whether a full
stop after a single letter or "etc." also ends a sentence: "The" starts a new one, like the end of
the input. The quotation marks close an SGML tag that a text may leave open.
"""
TIMEOUT_SECONDS = 300


def package_file(name: str) -> Path:
    """Returns a file inside the installed pycocoevalcap package."""
    package = importlib.util.find_spec("pycocoevalcap")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("pycocoevalcap is not installed")
    return Path(package.submodule_search_locations[0]) / name


def _tokenised(command: Sequence[str], data: bytes) -> "subprocess.CompletedProcess[bytes] | None":
    """Returns the tokeniser's result; None if it was killed or gave nothing in time."""
    try:
        done = subprocess.run(
            command, input=data, capture_output=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    return done if done.returncode >= 0 else None


def tokenise(texts: Sequence[str]) -> list[str]:
    """Returns each text as its lower-case tokens joined by spaces, punctuation dropped.

    Raises RunFailed where the tokeniser fails or returns another number of lines.
    """
    if not texts:
        return []
    lines = [line for text in texts for line in (_LINE_BREAKS.sub(" ", text), _BETWEEN)]
    jar = package_file("tokenizer/stanford-corenlp-3.4.1.jar")
    command = [java(), *OPTIONS, "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer"]
    data = "\n".join(lines).encode(errors="replace")
    command += ["-preserveLines", "-lowerCase"]
    # A second failure is not a coincidence.
    done = _tokenised(command, data) or _tokenised(command, data)
    if done is None:
        raise RunFailed("the PTB tokeniser was killed or hung, twice; run: pixvox doctor")
    if done.returncode != 0:
        raise RunFailed(f"the PTB tokeniser failed: {done.stderr.decode()[-300:].strip()}")
    rows = done.stdout.decode(errors="replace").rstrip("\n").split("\n")
    if len(rows) != len(lines) or len(set(rows[1::2])) != 1:
        raise RunFailed(f"the PTB tokeniser returned {len(rows)} lines for {len(lines)}")
    words = (row.rstrip().split(" ") for row in rows[::2])
    return [" ".join(token for token in row if token not in PUNCTUATION) for row in words]
