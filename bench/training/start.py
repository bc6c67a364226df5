"""What a PixVoxLM's training starts from: BLIP, an image encoder alone, or a PixVoxLM."""

from pathlib import Path
from typing import Any

import torch
from transformers import BlipVisionModel

from bench.training.spec import PixVoxJob
from pixvox.blip import from_blip
from pixvox.codec.encodec import Codec
from pixvox.codec.facts import fitting_codec
from pixvox.configfile import pixvox_config
from pixvox.configuration import PixVoxConfig
from pixvox.digests import WeightsError
from pixvox.modeling import PixVoxLM
from pixvox.shapes import check_fit, shapes_of, tensor_shapes
from pixvox.weights import resolve


def changed(folder: Path, config: PixVoxConfig, seed: int, **changes: Any) -> PixVoxLM:
    """A folder's PixVoxLM with other values in its `config`; a similarity head is left behind.

    What the folder has no weights for is drawn from `seed`. Raises WeightsError where its weights
    are not whole.
    """
    check_fit(folder, tensor_shapes(folder), shapes_of(PixVoxLM, config))
    before = PixVoxLM.from_pretrained(folder, dtype=torch.float32).state_dict()
    torch.manual_seed(seed)
    model = PixVoxLM(type(config).from_dict(config.to_dict() | changes))
    kept = {n: v for n, v in before.items() if not n.startswith("similarity_head.")}
    model.load_state_dict(kept, strict=False)
    return model.eval()


def new_model(job: PixVoxJob, codec: Codec) -> PixVoxLM:
    """The model that the job starts from, for the codec's units.

    Raises WeightsError or UserError for weights that do not fit the job or its codec.
    """
    torch.manual_seed(job.plan.seed)
    options: dict[str, Any] = {
        "pattern": job.pattern,
        "dropout": job.dropout,
        "codec": job.codec_name or job.codec,
        "codec_digest": codec.digest,
        "bandwidth": job.bandwidth,
        "num_codebooks": codec.codebooks,
        "codebook_size": codec.codebook_size,
        "frame_rate": codec.frame_rate,
        "max_position_embeddings": job.positions,
        "null_image": job.plan.image_dropout > 0,
    }
    if job.blip is not None:
        return from_blip(job.blip, **options)
    if job.vision is None:
        return _continued(job, options)
    vision = BlipVisionModel.from_pretrained(job.vision, dtype=torch.float32)
    # Else config.json would keep the folder that it was loaded from.
    vision.config._name_or_path = ""
    model = PixVoxLM(PixVoxConfig.tiny(**options | {"vision_config": vision.config}))
    model.vision.load_state_dict(vision.state_dict())
    if job.start_from is not None:
        before = PixVoxLM.from_pretrained(resolve(job.start_from), dtype=torch.float32)
        decoder = {n: v for n, v in before.state_dict().items() if not n.startswith("vision.")}
        model.load_state_dict(decoder, strict=False)
    return model.eval()


def _continued(job: PixVoxJob, options: dict[str, Any]) -> PixVoxLM:
    """The PixVoxLM that the job names, to be trained on as it is."""
    assert job.start_from is not None
    folder = resolve(job.start_from)
    config = pixvox_config(folder)
    fitting_codec(job.start_from, config, job.codec)
    for key in ("bandwidth", "max_position_embeddings"):
        if options[key] != (own := getattr(config, key)):
            raise WeightsError(f"{job.start_from}: made for {key} {own}, not {options[key]}")
    options["null_image"] |= config.null_image
    return changed(folder, config, job.plan.seed, **options, similarity_size=0)
