"""The scores of pycocoevalcap by its own scorers, with which ours are compared."""

import importlib.util
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree
from typing import Any

from bench.common.errors import UserError
from bench.metrics.java import java
from bench.metrics.tokens import package_file
from pixvox.cache import cache_folder, is_writable


@contextmanager
def stock_meteor() -> Iterator[Any]:
    """Yields pycocoevalcap's METEOR, from a copy: it hangs if its own path has a space."""
    os.environ["PATH"] = f"{Path(java()).parent}{os.pathsep}{os.environ['PATH']}"
    places = (tempfile.gettempdir(), "/tmp", "/var/tmp", str(cache_folder().parent))
    place = next(
        (folder for folder in places if " " not in folder and is_writable(Path(folder))), None
    )
    if place is None:
        raise UserError("stock METEOR: needs a folder whose path has no space; set TMPDIR")
    with tempfile.TemporaryDirectory(dir=place) as folder:
        copy = Path(folder) / "meteor"
        copytree(package_file("meteor/meteor-1.5.jar").parent, copy)
        spec = importlib.util.spec_from_file_location("meteor", copy / "meteor.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        # Its destructor would wait for a lock for ever after a failed call, so its JVM is ended
        # here.
        del module.Meteor.__del__
        meteor = module.Meteor()
        try:
            yield meteor
        finally:
            meteor.meteor_p.kill()
            meteor.meteor_p.communicate()


def stock_scores(
    references: Mapping[str, Sequence[str]], texts: Mapping[str, str]
) -> dict[str, float]:
    """Returns scores in percent of tokenised texts."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    gts = {name: list(texts_of) for name, texts_of in references.items()}
    res = {name: [text] for name, text in texts.items()}
    bleu, _ = Bleu(4).compute_score(gts, res, verbose=0)
    scores = {f"BLEU-{n}": 100 * float(score) for n, score in enumerate(bleu, 1)}
    with stock_meteor() as meteor:
        for name, tool in {"ROUGE-L": Rouge(), "CIDEr": Cider(), "METEOR": meteor}.items():
            scores[name] = 100 * float(tool.compute_score(gts, res)[0])
    return scores
