"""Loads models of transformers from folders, with checks that the weights are complete."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixvox.digests import WeightsError
from pixvox.shapes import tensor_shapes

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


def load_whole(
    model_class: "type[PreTrainedModel]",
    folder: Path,
    config: "PreTrainedConfig",
    **options: Any,
) -> "PreTrainedModel":
    """Returns a model in float32, in evaluation mode, with all of its weights from the folder.

    Weights that the model does not have are ignored. Raises WeightsError if they are not complete
    safetensors that fit its configuration.
    """
    import torch

    if not any(folder.glob("*.safetensors")):
        raise WeightsError(f"{folder}: no .safetensors file; other formats are not loaded")
    # Reads only the headers, which reveal a truncated file.
    tensor_shapes(folder)
    try:
        with _quiet(), without_bars():
            model, loading = model_class.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **options,
            )
    except (RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"{folder}: not loaded ({reason}); save or fetch the model again"
        ) from error
    if missing := sorted(loading["missing_keys"]):
        raise WeightsError(
            f"{folder}: the weights have no {missing[0]}, which its config.json asks for; save or "
            "fetch the model again"
        )
    if wrong := sorted(loading["mismatched_keys"]):
        name, held, wanted = wrong[0]
        raise WeightsError(
            f"{folder}: {name} is {tuple(held)}, and by its config.json {tuple(wanted)}; save or "
            "fetch the model again"
        )
    loaded: PreTrainedModel = model.eval()
    return loaded


@contextmanager
def without_bars() -> Iterator[None]:
    """Hides transformers' progress bars, and restores the caller's setting afterwards."""
    from transformers.utils import logging

    before = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if before:
            logging.enable_progress_bar()


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides transformers' list of weights that were not loaded, which are checked here."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
