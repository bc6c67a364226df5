"""The scores of stock pycocoevalcap, by its own scorers: what ours are held against."""

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import copytree
from typing import Any

from bench.metrics.java import java
from bench.metrics.tokens import package_file


def stock_meteor(folder: Path) -> Any:
    """pycocoevalcap's METEOR, from a copy: it hangs where its own path holds a space."""
    os.environ["PATH"] = f"{Path(java()).parent}{os.pathsep}{os.environ['PATH']}"
    copytree(package_file("meteor/meteor-1.5.jar").parent, folder / "meteor")
    spec = importlib.util.spec_from_file_location("meteor", folder / "meteor" / "meteor.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Meteor()


def stock_scores(
    references: Mapping[str, Sequence[str]], texts: Mapping[str, str], folder: Path
) -> dict[str, float]:
    """Scores in percent of tokenised texts; `folder` is empty, and may be thrown away."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    gts = {name: list(found) for name, found in references.items()}
    res = {name: [text] for name, text in texts.items()}
    bleu, _ = Bleu(4).compute_score(gts, res, verbose=0)
    found = {f"BLEU-{n}": 100 * float(score) for n, score in enumerate(bleu, 1)}
    for name, tool in {
        "ROUGE-L": Rouge(),
        "CIDEr": Cider(),
        "METEOR": stock_meteor(folder),
    }.items():
        found[name] = 100 * float(tool.compute_score(gts, res)[0])
    return found
