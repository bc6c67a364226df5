"""CLIPScore: equal to a direct computation with the same CLIP, whatever else is scored."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.common.errors import UserError
from bench.datasets.base import Dataset
from bench.metrics import clip
from bench.metrics.base import ItemFiles
from bench.metrics.clip import Clip, ClipSettings
from bench.metrics.loading import check_metrics, files_of, metrics_text
from bench.metrics.tokens import tokenise

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=[1, -1])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP with random weights, whose tokens are letters; the second has each cosine of a
    picture and a text negated."""
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

    place = tmp_path_factory.mktemp("clip")
    letters = [chr(number) for number in range(ord("a"), ord("z") + 1)]
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{each}</w>" for each in letters)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(place)
    square = {"height": 32, "width": 32}
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=square).save_pretrained(place)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    size |= {"num_hidden_layers": 2, "projection_dim": 8}
    text: dict[str, Any] = {"vocab_size": len(tokens), "max_position_embeddings": 40}
    text |= {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config=size | text,
        vision_config=size | {"image_size": 32, "patch_size": 16},
        projection_dim=8,
    )
    model = CLIPModel(config)
    model.visual_projection.weight.data *= request.param
    model.save_pretrained(place)
    return place


def _direct(folder: Path, image: Path, texts: list[str]) -> tuple[list[float], list[list[float]]]:
    """Cosines of a picture with texts, and of the texts with each other, by transformers alone."""
    from PIL import Image
    from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

    model = CLIPModel.from_pretrained(folder).eval()
    tokeniser = AutoTokenizer.from_pretrained(folder)
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    pixels = processor(images=Image.open(image).convert("RGB"), return_tensors="pt")
    asked = tokeniser(
        [f"A photo depicts {text}" for text in texts],
        padding=True,
        truncation=True,
        max_length=40,
        return_tensors="pt",
    )
    with torch.inference_mode():
        given = model(**asked, pixel_values=pixels["pixel_values"])
        picture = torch.nn.functional.normalize(given.image_embeds, dim=-1)
        vectors = torch.nn.functional.normalize(given.text_embeds, dim=-1)
    return (vectors @ picture[0]).tolist(), (vectors @ vectors.T).tolist()


def test_scores_are_those_of_a_direct_computation(
    folder: Path, scenes: Dataset, tmp_path: Path
) -> None:
    items = scenes.items[:6]
    files = files_of(items, "rotating")
    flat = iter(tokenise([c.text for item in items for c in item.captions]))
    captions = {item.id: [next(flat) for _ in item.captions] for item in items}
    references = {name: texts[1:] for name, texts in captions.items()}
    texts = {name: each[0] for name, each in captions.items()}
    # Longer than the model's positions, and nothing at all.
    names = list(captions)
    texts[names[0]] = "a red circle above a blue square " * 9
    texts[names[1]] = ""
    metric = ClipSettings(name="clip_score", model=str(folder)).metric()
    with metric.opened(references, files, tmp_path) as count:
        counted = count(texts, references)
    assert counted[:, 2].tolist() == [1] * 6
    assert counted[1].tolist() == [0, 0, 1]
    fits_of: list[float] = []
    for name, row in zip(names, counted, strict=True):
        if texts[name]:
            fits, near = _direct(folder, files[name].image, [texts[name], *references[name]])
            fit, nearest = 2.5 * max(fits[0], 0), max(*near[0][1:], 0)
            assert row[0] == pytest.approx(fit, abs=1e-6)
            harmonic = 2 * fit * nearest / (fit + nearest) if fit else 0
            assert row[1] == pytest.approx(harmonic, abs=1e-6)
            fits_of.append(fits[0])
    # With one of both signs all are at the bound.
    assert all(fit < -0.01 for fit in fits_of) or all(fit > 0.01 for fit in fits_of)
    assert metric.score(counted.sum(0)) == pytest.approx(100 * counted[:, :2].mean(0))
    # No vector depends on what else is scored, or on the file that it is read from.
    alone = metric.statistics({names[2]: texts[names[2]]}, references, files)
    assert np.array_equal(alone[0], counted[2])
    stored = Clip(str(folder), tmp_path)
    assert np.array_equal(
        stored.texts([texts[names[2]]]), Clip(str(folder)).texts([texts[names[2]]])
    )
    assert np.array_equal(
        stored.picture(files[names[2]].image), Clip(str(folder)).picture(files[names[2]].image)
    )
    assert "_model" not in vars(stored)


def test_what_is_lacking_is_one_line(folder: Path, scenes: Dataset, tmp_path: Path) -> None:
    settings = ClipSettings(name="clip_score", model=str(folder))
    files = files_of(scenes.items[:2], "rotating")
    check_metrics([settings], files)
    digest = clip._digest(str(folder))[:8]
    assert metrics_text([settings]).endswith(f",clip_score@{digest}")
    gone = {"a": ItemFiles(tmp_path / "a.png"), **files}
    with pytest.raises(UserError, match=r"clip_score: 1 of 3 pictures are missing; first: .*a.png"):
        check_metrics([settings], gone)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match=r"clip_score: model: .* is a 'bert'; name a CLIP"):
        check_metrics([ClipSettings(name="clip_score", model=str(tmp_path))], files)
    with pytest.raises(
        UserError, match=r"clip_score: model: .*no config.json there; name a folder"
    ):
        check_metrics([ClipSettings(name="clip_score", model=str(tmp_path / "none"))], files)
