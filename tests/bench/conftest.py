"""Small data in the shape that users have it."""

import shutil
from pathlib import Path

import pytest
import soundfile

from bench.common.audio import read_speech
from bench.datasets.base import Dataset
from bench.datasets.scenes.load import load_scenes


@pytest.fixture(scope="session")
def scenes() -> Dataset:
    return load_scenes()


@pytest.fixture(scope="session")
def flickr8k_folder(tmp_path_factory: pytest.TempPathFactory, scenes: Dataset) -> Path:
    """Four scenes as a Flickr8k folder with the quirks of the real one, and Flickr Audio."""
    from PIL import Image

    root = tmp_path_factory.mktemp("data") / "flickr8k"
    images, audio = root / "Flicker8k_Dataset", root / "flickr_audio"
    images.mkdir(parents=True)
    (audio / "wavs").mkdir(parents=True)
    tokens, wavs, names = [], [], []
    for index, item in enumerate(scenes.items[:4]):
        name = f"10002682{index:02d}_693b08cb0e.jpg"
        names.append(name)
        with Image.open(item.image) as picture:
            picture.convert("RGB").resize((500, 375)).save(images / name)
        for number, caption in enumerate(item.captions):
            tokens.append(f"{name}#{number}\t{caption.text.capitalize()} .")
            assert caption.speech is not None
            file = f"{Path(name).stem}_{number}.wav"
            soundfile.write(audio / "wavs" / file, read_speech(caption.speech, 16_000), 16_000)
            wavs.append(f"{file} {name} #{number}")
    tokens[1] = tokens[1].replace("\t", " ")
    tokens += [f"2258277193_586949ec62.jpg.1#{n}\tA ghost ." for n in range(5)]
    (root / "Flickr8k.token.txt").write_text("\r\n".join(tokens) + "\r\n")
    (root / "Flickr_8k.testImages.txt").write_text("\n".join(names) + "\n")
    (audio / "wav2capt.txt").write_text("\n".join(wavs) + "\n")
    (images / names[3]).unlink()
    return root


@pytest.fixture
def flickr8k(flickr8k_folder: Path, tmp_path: Path) -> Path:
    """A copy of that folder that a test may spoil."""
    return Path(shutil.copytree(flickr8k_folder, tmp_path / "flickr8k"))


@pytest.fixture
def copy_of_zoo(tmp_path: Path) -> Path:
    """A copy of the delay checkpoint that a test may spoil."""
    from pixvox.weights import zoo_folder

    target = tmp_path / "weights"
    shutil.copytree(zoo_folder() / "pixvox-tiny-delay", target)
    return target
