"""PixVoxLM's generator: the weights on a device, and the engines that decode with them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, cast

from bench.common.audio import SpeechError
from bench.common.errors import ActorUnusable
from bench.common.machinefaults import is_out_of_memory
from bench.common.text import reason_of
from bench.datasets.base import Choice, Item
from bench.store.rows import SpeechRow, packed
from bench.systems.base import Asked, Made, Variant, caption_of
from bench.systems.decoding import DecodingSpec
from bench.systems.resynthesis import caption_units, first

if TYPE_CHECKING:
    from torch import Tensor

    from pixvox.codec.encodec import Codec
    from pixvox.decoding.engine import Engine
    from pixvox.decoding.requests import Generation, Request


class Decodes(Protocol):
    """A system with settings of decoding."""

    decoding: DecodingSpec


def _decoding(variant: Variant) -> DecodingSpec:
    return cast(Decodes, variant.system).decoding


@contextmanager
def enough_memory(slots: int) -> Iterator[None]:
    """Raises ActorUnusable if memory runs out: a smaller batch needs the same buffers."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        reason = reason_of(error)
        if not is_out_of_memory(reason):
            raise
        raise ActorUnusable(f"decoding.slots {slots}: {reason}; lower decoding.slots") from error


class Recorded:
    """Units of captions' recorded speech by a codec; each caption is encoded once."""

    def __init__(self, codec: "Codec") -> None:
        self.codec = codec
        self.known: dict[tuple[str, int], Tensor | SpeechError] = {}

    def __call__(self, item: Item, caption: int) -> "Tensor":
        """Returns a caption's units `[K, N]`; raises SpeechError."""
        key = item.id, caption
        if key not in self.known:
            try:
                self.known[key] = caption_units(item, caption, self.codec)
            except SpeechError as error:
                self.known[key] = error
        units = self.known[key]
        if isinstance(units, SpeechError):
            raise units
        return units


class PixVoxGenerator:
    """A PixVoxLM on one device, which encodes an image once for all its variants.

    `arithmetic` is the precision of its image encoder, which is that of its variants' decoding.
    """

    def __init__(
        self, weights: str, codec: str | None, device: str, arithmetic: str = "float32"
    ) -> None:
        import torch

        from pixvox.codec.encodec import Codec
        from pixvox.decoding.steppers import Steppers
        from pixvox.modeling import PixVoxLM
        from pixvox.weights import resolve

        self.device, self.arithmetic = torch.device(device), arithmetic
        self.model = PixVoxLM.from_pretrained(resolve(weights), dtype=torch.float32).eval()
        self.model.to(device)
        config = self.model.config
        self.codec = Codec.load(codec or config.codec, config.bandwidth, device)
        self.engines: dict[DecodingSpec, Engine] = {}
        self.steppers = Steppers(self.model)
        self.encoded = 0

    def _engine(self, decoding: DecodingSpec) -> "Engine":
        """Returns the engine, which serves all seeds: noise belongs to the request."""
        from pixvox.decoding.engine import Engine
        from pixvox.decoding.sampling import Decoding

        if decoding not in self.engines:
            how = Decoding(**decoding.model_dump())
            self.engines[decoding] = Engine(self.model, how, steppers=self.steppers)
        return self.engines[decoding]

    def _prompt(self, item: Item, variant: Variant, recorded: "Recorded") -> "Tensor":
        import torch

        if variant.prompt == 0:
            return torch.zeros(self.codec.codebooks, 0, dtype=torch.long)
        prompt = first(variant.prompt, recorded(item, caption_of(item, variant)))
        limit = round(_decoding(variant).max_seconds * self.model.config.frame_rate)
        if prompt.shape[1] >= limit:
            raise SpeechError(f"a prompt of {prompt.shape[1]} frames leaves no room")
        return prompt

    def _encode(self, images: "Sequence[Tensor]") -> "Tensor":
        from pixvox.imagegroups import encode_in_groups

        self.encoded += len(images)
        return encode_in_groups(
            self.model.encode_images, images, self.device, arithmetic=self.arithmetic
        )

    def likelihood(self, items: Sequence[Item], caption: Choice) -> dict[str, float]:
        """Returns nats a unit of each item's recorded caption, as System.likelihood does."""
        import torch

        from pixvox.images import ImageError, load_image

        scaling = self.model.config.scaling
        likelihoods: dict[str, float] = {}
        for item in items:
            try:
                image = load_image(item.image, scaling)
                units = caption_units(item, item.chosen(caption), self.codec)
            except (ImageError, SpeechError):
                continue
            lengths = torch.tensor([units.shape[1]], device=self.device)
            with torch.inference_mode():
                states = self._encode([image])
                out = self.model(units[None].to(self.device), lengths, image_states=states)
            likelihoods[item.id] = float(out.loss)
        return likelihoods

    def generate(self, asked: Asked) -> Made:
        from pixvox.decoding.requests import Request
        from pixvox.imagegroups import load_images
        from pixvox.images import ImageError

        images: list[Tensor] = []
        wanted: dict[DecodingSpec, list[tuple[Request, Variant]]] = {}
        said: dict[tuple[str, str], int] = {}
        done: dict[tuple[str, str], SpeechRow] = {}
        scaling = self.model.config.scaling
        recorded = Recorded(self.codec)
        pictures = load_images([item.image for item, _ in asked], scaling, self.device)
        for (item, variants), picture in zip(asked, pictures, strict=True):
            if isinstance(picture, ImageError):
                done |= {
                    (item.id, v.key): SpeechRow(item=item.id, status="failed", reason=str(picture))
                    for v in variants
                }
                continue
            images.append(picture)
            for variant in variants:
                said[item.id, variant.key] = caption_of(item, variant)
                try:
                    prompt = self._prompt(item, variant, recorded)
                except SpeechError as error:
                    at = (item.id, variant.key)
                    done[at] = SpeechRow(
                        item=item.id, status="failed", reason=str(error), caption=said[at]
                    )
                    continue
                decoding = _decoding(variant)
                request = Request(
                    item=item.id, image=len(images) - 1, prompt=prompt, seed=decoding.seed
                )
                engine = decoding.model_copy(update={"seed": 0})
                wanted.setdefault(engine, []).append((request, variant))
        states = self._encode(images) if wanted else None
        for decoding, pairs in wanted.items():
            assert states is not None
            with enough_memory(decoding.slots):
                speeches = self._engine(decoding).generate(
                    states, [request for request, _ in pairs]
                )
            for (request, variant), speech in zip(pairs, speeches, strict=True):
                at = (request.item, variant.key)
                done[at] = self._row(request, said[at], speech)
        return [(v.key, done[item.id, v.key]) for item, variants in asked for v in variants]

    def _row(self, request: "Request", caption: int, speech: "Generation") -> SpeechRow:
        units = speech.units
        if units.shape[1] == 0:
            reason = speech.reason or "the model ended before it generated anything"
            return SpeechRow(item=request.item, status="failed", reason=reason, caption=caption)
        return SpeechRow(
            item=request.item,
            status="ok",
            units=packed(units.cpu().numpy()),
            codebooks=units.shape[0],
            prompt_frames=request.prompt.shape[1],
            caption=caption,
            ended=speech.ended,
        )
