"""PixVoxLM: weights, how they decode, and the generator that holds them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field

from bench.common.audio import SpeechError
from bench.common.bounds import Label, Share
from bench.common.errors import UserError
from bench.common.yamlfile import WeightsName
from bench.datasets.base import Choice, Item
from bench.store.rows import SpeechRow, packed
from bench.systems.base import Asked, Content, Generator, Lookup, Made, System, Variant, caption_of
from bench.systems.decoding import AXES, DecodingSpec
from bench.systems.looks import Make, Model, make_of, model_look
from bench.systems.resynthesis import prompt_units
from pixvox.decoding.protocol import end_protocol
from pixvox.patternnames import fitted_name, pattern_name

if TYPE_CHECKING:
    from torch import Tensor

    from pixvox.decoding.engine import Engine
    from pixvox.decoding.requests import Generation, Request

Pattern = Annotated[str, BeforeValidator(pattern_name)]
"""A pattern's name, or `{delays: [...]}`, which becomes one."""


class PixVoxSystem(System):
    """A PixVoxLM checkpoint; one cell for each prompt, the share of the reference speech given."""

    kind: Literal["pixvox"]
    label: Label
    weights: WeightsName
    """The checkpoint, by a path, `zoo:NAME` or a hub id."""
    codec: WeightsName | None = None
    """Another place of its codec; `null` takes the one that the checkpoint names."""
    pattern: Pattern | None = None
    """The pattern that the checkpoint has to be trained on; `null` takes what it says."""
    prompts: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.0,)
    """Shares of the reference speech that are given as a prompt; a cell for each."""
    decoding: DecodingSpec = DecodingSpec()
    """How units are chosen."""

    continues: ClassVar[bool] = True
    needs_images: ClassVar[bool] = True

    def generator(self, device: str) -> Generator:
        """See System."""
        if self.decoding.arithmetic != "float32" and not device.startswith("cuda"):
            raise UserError(f"decoding.arithmetic: {self.decoding.arithmetic} needs a GPU")
        return PixVoxGenerator(self, device)

    def content(self, lookup: Lookup) -> Content:
        """See System; checks that the longest speech fits the model's positions."""
        kept = (self.weights, self.codec, self.pattern)
        found = lookup.once(("pixvox", *kept), lambda: model_look(*kept, lambda: _model(self)))
        config, seconds = found.config, self.decoding.max_seconds
        frames = round(seconds * config.frame_rate) + 1
        steps = lookup.once(
            ("steps", config.pattern, config.num_codebooks, frames),
            lambda: _steps(config, frames),
        )
        if steps > config.max_position_embeddings:
            raise UserError(
                f"{self.weights}: decoding.max_seconds {seconds:g} needs {steps} steps, the model "
                f"has {config.max_position_embeddings} positions; lower it"
            )
        if unfit := self.decoding.unfit(config.num_codebooks, config.null_image):
            raise UserError(f"{self.weights}: {unfit}")
        depends: dict[str, Any] = {"kind": self.kind, "decoding": self.decoding.depends()}
        depends |= {"weights": found.digest, "codec": found.facts.digest}
        if ends := end_protocol(config.pattern, config.num_codebooks):
            depends["end_protocol"] = ends
        return Content(depends, config.pattern, found.digest, found.facts.digest)

    def axes(self) -> Mapping[str, tuple[Any, ...]]:
        """See System."""
        return {"prompt": self.prompts} | {a: (getattr(self.decoding, a),) for a in AXES}

    def at(self, point: Mapping[str, Any]) -> Self:
        """See System."""
        prompts = (point.get("prompt", self.prompts[0]),)
        return self.model_copy(update={"decoding": self.decoding.at(point), "prompts": prompts})

    def shared(self) -> System:
        """See System."""
        decoding = DecodingSpec(arithmetic=self.decoding.arithmetic)
        plain = {"label": "", "prompts": (0.0,), "decoding": decoding}
        return self.model_copy(update=plain)

    def described(self) -> list[str]:
        """See System."""
        return self.decoding.described()

    def sampled(self) -> bool:
        """See System."""
        return self.decoding.draws

    def details(self) -> dict[str, Any]:
        """See System; all of decoding but its seed."""
        return self.decoding.model_dump(exclude={"seed"})

    def in_training(self) -> str:
        """See System."""
        return "single model"

    def batch(self, usual: int) -> int:
        """See System."""
        return max(1, self.decoding.slots // self.decoding.candidates)

    def codec_of(self) -> tuple[str, float] | None:
        """See System."""
        from pixvox.configfile import pixvox_config
        from pixvox.weights import resolve

        config = pixvox_config(resolve(self.weights))
        return self.codec or config.codec, config.bandwidth

    def uses_caption(self) -> bool:
        """See System."""
        return self.prompts[0] > 0

    def likelihood(
        self, items: Sequence[Item], caption: Choice, device: str
    ) -> Mapping[str, float]:
        """See System."""
        return PixVoxGenerator(self, device).likelihood(items, caption)

    def weights_for_speed(self) -> str | None:
        """See System."""
        return self.weights


def _model(spec: PixVoxSystem) -> Model:
    """The spec's weights, that they fit their config.json, the codec and each other."""
    from pixvox.codec.facts import fitting_codec
    from pixvox.configfile import pixvox_config
    from pixvox.digests import digest
    from pixvox.modeling import PixVoxLM
    from pixvox.shapes import check_fit, shapes_of, tensor_shapes
    from pixvox.weights import resolve

    folder = resolve(spec.weights)
    config = pixvox_config(folder)
    if spec.pattern is not None and _fitted(spec, config.num_codebooks) != config.pattern:
        raise UserError(
            f"{spec.weights}: trained on the pattern {config.pattern!r}, the job asks for "
            f"{spec.pattern!r}; name the other checkpoint or drop the line"
        )
    codec, facts = fitting_codec(spec.weights, config, spec.codec)
    check_fit(folder, tensor_shapes(folder), shapes_of(PixVoxLM, config))
    return Model(make_of(config), codec, facts, digest(folder))


def _fitted(spec: PixVoxSystem, codebooks: int) -> str:
    assert spec.pattern is not None
    try:
        return fitted_name(spec.pattern, codebooks)
    except ValueError as error:
        raise UserError(f"{spec.weights}: {error}") from error


def _steps(config: Make, frames: int) -> int:
    from pixvox.patterns import layout

    return len(layout(config.pattern, config.num_codebooks, frames).steps)


def _decoding(variant: Variant) -> DecodingSpec:
    assert isinstance(variant.system, PixVoxSystem)
    return variant.system.decoding


class PixVoxGenerator:
    """A PixVoxLM on one device. An image is encoded once for all its variants."""

    def __init__(self, spec: PixVoxSystem, device: str) -> None:
        import torch

        from pixvox.codec.encodec import Codec
        from pixvox.decoding.steppers import Steppers
        from pixvox.modeling import PixVoxLM
        from pixvox.weights import resolve

        self.spec, self.device = spec, device
        self.model = PixVoxLM.from_pretrained(resolve(spec.weights), dtype=torch.float32).eval()
        self.model.to(device)
        config = self.model.config
        self.codec = Codec.load(spec.codec or config.codec, config.bandwidth)
        self.engines: dict[DecodingSpec, Engine] = {}
        self.steppers = Steppers(self.model)
        self.encoded = 0

    def _engine(self, decoding: DecodingSpec) -> "Engine":
        """One engine for all seeds: the noise is the request's."""
        from pixvox.decoding.engine import Engine
        from pixvox.decoding.sampling import Decoding

        if decoding not in self.engines:
            how = Decoding(**decoding.model_dump())
            self.engines[decoding] = Engine(self.model, how, steppers=self.steppers)
        return self.engines[decoding]

    def _prompt(self, item: Item, variant: Variant) -> "Tensor":
        import torch

        if variant.prompt == 0:
            return torch.zeros(self.codec.codebooks, 0, dtype=torch.long)
        prompt = prompt_units(item, caption_of(item, variant), variant.prompt, self.codec)
        limit = round(_decoding(variant).max_seconds * self.model.config.frame_rate)
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

    def likelihood(self, items: Sequence[Item], caption: Choice) -> dict[str, float]:
        """See System."""
        import torch

        from pixvox.images import ImageError, load_image

        size = self.model.config.vision_config.image_size
        found: dict[str, float] = {}
        for item in items:
            try:
                image = load_image(item.image, size)
                units = prompt_units(item, item.chosen(caption), 1.0, self.codec)
            except (ImageError, SpeechError):
                continue
            lengths = torch.tensor([units.shape[1]], device=self.device)
            with torch.inference_mode():
                states = self._encode([image])
                out = self.model(units[None].to(self.device), lengths, image_states=states)
            found[item.id] = float(out.loss)
        return found

    def generate(self, asked: Asked) -> Made:
        """See Generator; one row for every item and variant, in order."""
        from pixvox.decoding.requests import Request
        from pixvox.images import ImageError, load_image

        images: list[Tensor] = []
        wanted: dict[DecodingSpec, list[tuple[Request, Variant]]] = {}
        said: dict[tuple[str, str], int] = {}
        done: dict[tuple[str, str], SpeechRow] = {}
        size = self.model.config.vision_config.image_size
        for item, variants in asked:
            try:
                images.append(load_image(item.image, size))
            except ImageError as error:
                done |= {
                    (item.id, v.key): SpeechRow(item.id, "failed", str(error)) for v in variants
                }
                continue
            for variant in variants:
                said[item.id, variant.key] = caption_of(item, variant)
                try:
                    prompt = self._prompt(item, variant)
                except SpeechError as error:
                    at = (item.id, variant.key)
                    done[at] = SpeechRow(item.id, "failed", str(error), caption=said[at])
                    continue
                decoding = _decoding(variant)
                request = Request(item.id, len(images) - 1, prompt, decoding.seed)
                engine = decoding.model_copy(update={"seed": 0})
                wanted.setdefault(engine, []).append((request, variant))
        states = self._encode(images) if wanted else None
        for decoding, pairs in wanted.items():
            assert states is not None
            made = self._engine(decoding).generate(states, [request for request, _ in pairs])
            for (request, variant), speech in zip(pairs, made, strict=True):
                at = (request.item, variant.key)
                done[at] = self._row(request, said[at], speech)
        return [(v.key, done[item.id, v.key]) for item, variants in asked for v in variants]

    def _row(self, request: "Request", caption: int, speech: "Generation") -> SpeechRow:
        units = speech.units
        if units.shape[1] == 0:
            reason = speech.reason or "the model ended before it generated anything"
            return SpeechRow(request.item, "failed", reason, caption=caption)
        return SpeechRow(
            request.item,
            "ok",
            units=packed(units.cpu().numpy()),
            codebooks=units.shape[0],
            prompt_frames=request.prompt.shape[1],
            caption=caption,
            ended=speech.ended,
        )
