"""What every metric takes and gives."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

References = Mapping[str, Sequence[str]]
"""Item id → its reference captions, tokenised."""

Hypotheses = Mapping[str, str]
"""Item id → its tokenised transcript; "" where the item failed, so that it stays counted."""
