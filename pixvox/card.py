"""The model card that is written beside saved weights, and the parameter counts in it."""

import os
from dataclasses import dataclass
from pathlib import Path

from torch import nn
from transformers import PreTrainedModel

PUBLISHED_TOTAL = 211e6
PUBLISHED_TRAINABLE = 125e6
"""Parameters as printed by Tran & Sakti: 125M of 211M are trained."""

_MARK = "<!-- written by pixvox; a card without this line is left alone -->"


@dataclass(frozen=True)
class Counts:
    """Parameters of a PixVoxLM: of the image encoder, and of all the rest."""

    vision: int
    decoder: int

    @property
    def total(self) -> int:
        """The sum of both."""
        return self.vision + self.decoder


def count(model: nn.Module) -> Counts:
    """Counts a PixVoxLM's parameters."""
    vision = sum(p.numel() for name, p in model.named_parameters() if name.startswith("vision."))
    return Counts(vision, sum(p.numel() for p in model.parameters()) - vision)


def write_card(model: PreTrainedModel, folder: str | os.PathLike[str]) -> None:
    """Writes `README.md` into a folder of saved weights, unless it has one by somebody else."""
    path = Path(folder) / "README.md"
    if path.exists() and _MARK not in path.read_text(encoding="utf-8"):
        return
    config, counts = model.config, count(model)
    states = f"{config.image_positions} states of {config.image_state_size}"
    rows = [
        ("pattern", config.pattern),
        ("codec", f"{config.codec} at {config.bandwidth} kbps (digest `{config.codec_digest}`)"),
        ("units", f"{config.num_codebooks} codebooks of {config.codebook_size}"),
        ("frame rate", f"{config.frame_rate} Hz"),
        ("decoder", f"{config.num_hidden_layers} layers of {config.hidden_size}"),
        ("positions", f"{config.max_position_embeddings} decoding steps"),
        ("image encoder", f"{config.vision_type}, {states} for each picture"),
        ("pictures", f"{config.image_size} px"),
        *([("similarity", f"vectors of {size}")] if (size := config.similarity_size) else []),
        *([("trained on", ", ".join(config.trained_on))] if config.trained_on else []),
        ("parameters", f"{counts.total:,}, of which {counts.vision:,} in the image encoder"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    path.write_text(
        f"""---
library_name: transformers
tags: [pixvox, image-to-speech]
---
{_MARK}
# A PixVoxLM

Speaks a description of an image without any text in between: an image encoder, a decoder over
EnCodec units, EnCodec (Tran & Sakti, "From Pixels to Voice").

| | |
|---|---|
{table}

```python
import pixvox

model = pixvox.load("path/to/this/folder")
model.speak("dog.jpg", temperature=0.5).save("dog.wav")
```

After `import pixvox`, transformers' `AutoModel`, `AutoConfig` and `AutoProcessor` load it too.

Its units mean something to the codec named above only. Add here how it scores (`pixvox run`), and
what it should not be used for.
""",
        encoding="utf-8",
    )
