"""Fixtures: small datasets, weights and runs."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from pages import Opened, finished_run
from playwright.sync_api import Browser, ConsoleMessage, Page

from bench.cli import main
from bench.common.audio import read_speech
from bench.datasets.base import Dataset
from bench.datasets.scenes.load import load_scenes
from tests.evidence.browser import opened_browser


@pytest.fixture(scope="session")
def scenes() -> Dataset:
    return load_scenes()


@pytest.fixture(scope="session")
def flickr8k_folder(tmp_path_factory: pytest.TempPathFactory, scenes: Dataset) -> Path:
    """Four scenes as a Flickr8k folder, with the real one's irregularities, and Flickr Audio."""
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


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two finished runs, `one` and `two`, with different transcripts."""
    folder = tmp_path_factory.mktemp("pages")
    finished_run(folder, "one")
    finished_run(folder, "two", shift=1)
    return folder


@pytest.fixture(scope="session")
def single(runs: Path) -> Path:
    """The page of one run, in one file."""
    assert main(["report", "one", "--runs", str(runs)]) == 0
    return runs / "one" / "report.html"


@pytest.fixture(scope="session")
def both(runs: Path) -> Path:
    """The page of two runs, as a folder."""
    target = runs / "both" / "page.html"
    asked = ["report", "one", "two", "--folder", "--out", str(target), "--runs", str(runs)]
    assert main(asked) == 0
    return target


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium without a window."""
    with opened_browser() as opened:
        yield opened


@pytest.fixture
def show(browser: Browser) -> Iterator[Opened]:
    """Returns a function that opens a page; console messages and failed requests fail the test."""
    complaints: list[str] = []
    contexts = []

    def note(message: ConsoleMessage) -> None:
        complaints.append(message.text)

    def opened(file: Path, place: str = "", width: int = 1280, scheme: str = "light") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,  # type: ignore[arg-type]
            offline=True,
            accept_downloads=True,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(5_000)
        page.on("console", note)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.on("requestfailed", lambda request: complaints.append(request.url[:80]))
        page.goto(f"{file.as_uri()}{place}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
