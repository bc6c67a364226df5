"""The `encodec` package's own checkpoints (`.th`, 24 kHz) in transformers' EncodecModel.

The two are one architecture under two sets of names (Défossez et al. 2022; the package's
`EncodecModel.encodec_model_24khz`), so loading is renaming.
"""

import re
from pathlib import Path

from transformers import EncodecConfig, EncodecModel

from pixvox.digests import WeightsError, file_digest, load_pickle

_RENAMES = (
    (r"^(encoder|decoder)\.model\.", r"\1.layers."),
    (r"\.conv\.conv\.|\.convtr\.convtr\.", ".conv."),
    (r"\.weight_g$", ".parametrizations.weight.original0"),
    (r"\.weight_v$", ".parametrizations.weight.original1"),
    (r"^quantizer\.vq\.layers\.(\d+)\._codebook\.", r"quantizer.layers.\1.codebook."),
)


def our_name(name: str) -> str:
    """transformers' name of a parameter of the package."""
    for theirs, ours in _RENAMES:
        name = re.sub(theirs, ours, name)
    return name


def load_official(path: Path) -> EncodecModel:
    """The codec of an official checkpoint.

    Raises WeightsError for a file whose bytes are not those that its name promises
    (`encodec_24khz-d7cc33bc.th`: the first digits of its SHA-256), that would run code, or that
    is not the 24 kHz model.
    """
    whole = file_digest(path)
    promised = re.search(r"-([0-9a-f]{8,})\.th$", path.name)
    if promised and not whole.startswith(promised[1]):
        raise WeightsError(
            f"{path}: its SHA-256 begins with {whole[:8]}, not {promised[1]} as its name says; "
            "fetch it again"
        )
    state = {our_name(name): value for name, value in load_pickle(path).items()}
    model = EncodecModel(EncodecConfig())
    own = model.state_dict()
    wrong = sorted(own.keys() ^ state.keys()) or [
        name for name in own if own[name].shape != state[name].shape
    ]
    if wrong:
        raise WeightsError(
            f"{path}: {wrong[0]} does not fit EnCodec's mono 24 kHz model; name that checkpoint"
        )
    model.load_state_dict(state)
    return model.eval()
