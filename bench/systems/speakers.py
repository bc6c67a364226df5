"""PixVoxLM as a speaker, and the speaker of any system."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.audio import SpeechError
from bench.datasets.types import Item
from bench.rows import Spoken, packed
from bench.systems.specs import (
    DecodingSpec,
    NoiseSpec,
    PixVoxSpec,
    PromptSpec,
    PythonSpec,
    RecordedSpec,
    ResynthesisSpec,
    ShuffledSpec,
    SilenceSpec,
    SystemSpec,
    TextSpec,
    UnitsSpec,
    WavsSpec,
)
from bench.systems.types import Asked, Made, Speaker, Variant

if TYPE_CHECKING:
    from torch import Tensor

    from pixvox.decoding import Engine, Request


class PixVoxSpeaker:
    """A PixVoxLM on one device. An image is encoded once for all its variants."""

    def __init__(self, spec: PixVoxSpec, device: str) -> None:
        import torch

        from pixvox.codec import Codec
        from pixvox.modeling import PixVoxLM
        from pixvox.weights import resolve

        self.spec = spec
        self.device = device
        self.model = PixVoxLM.from_pretrained(resolve(spec.weights), dtype=torch.float32).eval()
        self.model.to(device)
        config = self.model.config
        self.codec = Codec.load(spec.codec or config.codec, config.bandwidth)
        self.engines: dict[DecodingSpec, Engine] = {}
        self.encoded = 0

    def _engine(self, decoding: DecodingSpec) -> "Engine":
        """One engine for all seeds: the noise is the request's."""
        from pixvox.decoding import Engine
        from pixvox.sampling import Decoding

        if decoding not in self.engines:
            self.engines[decoding] = Engine(self.model, Decoding(**decoding.model_dump()))
        return self.engines[decoding]

    def _prompt(self, item: Item, variant: Variant) -> "Tensor":
        import torch

        from bench.systems.recorded import prompt_units

        if variant.prompt == 0:
            return torch.zeros(self.codec.codebooks, 0, dtype=torch.long)
        prompt = prompt_units(item, self.spec.prompt_caption, variant.prompt, self.codec)
        limit = round(variant.decoding.max_seconds * self.model.config.frame_rate)
        if prompt.shape[1] >= limit:
            raise SpeechError(f"a prompt of {prompt.shape[1]} frames leaves no room")
        return prompt

    def _encode(self, images: "Sequence[Tensor]") -> "Tensor":
        import torch

        self.encoded += len(images)
        # One at a time, so that a state does not depend on which images share the batch.
        with torch.inference_mode():
            states = [self.model.encode_images(image[None].to(self.device)) for image in images]
            return torch.cat(states)

    def speak(self, asked: Asked) -> Made:
        """See Speaker; one row for every item and variant, in order."""
        from pixvox.decoding import Request
        from pixvox.images import ImageError, load_image

        images: list[Tensor] = []
        wanted: dict[DecodingSpec, list[tuple[Request, Variant]]] = {}
        done: dict[tuple[str, str], Spoken] = {}
        size = self.model.config.vision_config.image_size
        for item, variants in asked:
            try:
                images.append(load_image(item.image, size))
            except ImageError as error:
                done |= {(item.id, v.key): Spoken(item.id, "failed", str(error)) for v in variants}
                continue
            for variant in variants:
                try:
                    prompt = self._prompt(item, variant)
                except SpeechError as error:
                    done[item.id, variant.key] = Spoken(item.id, "failed", str(error))
                    continue
                seed = variant.decoding.seed
                request = Request(item.id, len(images) - 1, prompt, seed)
                engine = variant.decoding.model_copy(update={"seed": 0})
                wanted.setdefault(engine, []).append((request, variant))
        states = self._encode(images) if wanted else None
        for decoding, pairs in wanted.items():
            assert states is not None
            made = self._engine(decoding).generate(states, [request for request, _ in pairs])
            for (request, variant), speech in zip(pairs, made, strict=True):
                row = self._row(request, variant, speech.units, speech.ended)
                done[request.item, variant.key] = row
        return [(v.key, done[item.id, v.key]) for item, variants in asked for v in variants]

    def _row(self, request: "Request", variant: Variant, units: "Tensor", ended: bool) -> Spoken:
        caption = self.spec.prompt_caption if variant.prompt > 0 else -1
        if units.shape[1] == 0:
            reason = "the model ended before it spoke"
            return Spoken(request.item, "failed", reason, caption=caption)
        return Spoken(
            request.item,
            "ok",
            units=packed(units.cpu().numpy()),
            codebooks=units.shape[0],
            prompt_frames=request.prompt.shape[1],
            caption=caption,
            ended=ended,
        )


def make_speaker(spec: SystemSpec, device: str) -> Speaker:
    """The speaker of a system; a text is not spoken at all."""
    from bench.systems import files, floors, plugin, recorded

    match spec:
        case PixVoxSpec():
            return PixVoxSpeaker(spec, device)
        case RecordedSpec() | ShuffledSpec():
            return recorded.RecordedSpeaker(spec)
        case ResynthesisSpec() | PromptSpec():
            return recorded.CodecSpeaker(spec)
        case SilenceSpec() | NoiseSpec():
            return floors.FloorSpeaker()
        case WavsSpec():
            return files.WavsSpeaker(spec)
        case UnitsSpec():
            return files.UnitsSpeaker(spec)
        case PythonSpec():
            return plugin.PythonSpeaker(spec, device)
        case TextSpec():
            raise ValueError(f"{spec.label}: a text is not spoken")
