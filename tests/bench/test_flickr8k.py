"""Flickr8k is read in all its distributed forms, and invalid files are reported."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from bench.common.errors import UserError
from bench.datasets.base import Dataset, no_items, speech_kind
from bench.datasets.flickr8k import Flickr8kSpec, read_csv, read_tokens
from bench.datasets.loading import load_dataset
from bench.datasets.storedunits import UnitsEntry


def load_flickr8k(root: Path, split: Literal["test"], audio: Path | None = None) -> Dataset:
    return load_dataset(Flickr8kSpec(name="flickr8k", root=root, split=split, audio=audio))


def test_all_distributed_forms_of_the_folder_are_read(flickr8k: Path) -> None:
    data = load_flickr8k(flickr8k, "test", flickr8k / "flickr_audio")
    assert len(data.items) == 4
    assert all(len(item.captions) == 5 for item in data.items)
    first = data.items[0]
    assert first.captions[1].text[0].isupper()
    assert first.captions[1].text.endswith(" .")
    assert first.captions[4].speech is not None
    assert first.captions[4].speech.name.endswith("_4.wav")
    assert not data.items[3].image.exists()


def test_the_csv_gives_the_same_captions(flickr8k: Path, tmp_path: Path) -> None:
    tokens = read_tokens(flickr8k / "Flickr8k.token.txt")
    rows = [f'{name},"{text}"' for name, texts in tokens.items() for text in texts]
    (tmp_path / "captions.txt").write_text("image,caption\n" + "\n".join(rows))
    assert read_csv(tmp_path / "captions.txt") == tokens


def test_the_digest_depends_on_the_content(flickr8k: Path) -> None:
    before = load_flickr8k(flickr8k, "test").digest
    assert load_flickr8k(flickr8k, "test").digest == before
    image = next((flickr8k / "Flicker8k_Dataset").iterdir())
    image.write_bytes(image.read_bytes() + b"\0")
    assert load_flickr8k(flickr8k, "test").digest != before


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("Flickr8k.token.txt", "no tag here\n", r"token\.txt:1: expected NAME\.jpg#N"),
        ("Flickr8k.token.txt", "a.jpg#0\tx\na.jpg#0\ty\n", r"token\.txt:2: a\.jpg#0 appears twice"),
        ("flickr_audio/wav2capt.txt", "a b\n", r"wav2capt\.txt:1: expected WAV IMAGE #N"),
    ],
)
def test_an_invalid_file_is_reported_with_its_line(
    flickr8k: Path, file: str, text: str, message: str
) -> None:
    (flickr8k / file).write_text(text)
    with pytest.raises(UserError, match=message):
        load_flickr8k(flickr8k, "test", flickr8k / "flickr_audio")


def test_a_folder_without_recordings_says_how_to_get_them(flickr8k: Path) -> None:
    with pytest.raises(UserError, match=r"wav2capt\.txt: no such file; .*: pixvox narrate$"):
        load_flickr8k(flickr8k, "test", flickr8k)


def test_units_without_a_description_do_not_count_as_missing_recordings(flickr8k: Path) -> None:
    items = load_flickr8k(flickr8k, "test").items
    assert speech_kind(items) == "none"
    caption = replace(items[0].captions[0], units=UnitsEntry(flickr8k / "units.npz", "a"))
    spoken = replace(items[0], captions=(caption,))
    assert speech_kind([spoken]) == "units of an unknown voice"


def test_unusable_entries_have_a_reason(flickr8k: Path) -> None:
    listing = flickr8k / "Flickr_8k.testImages.txt"
    names = listing.read_text().split()
    listing.write_text("\n".join(["nobody.jpg", *names, names[0], "../../etc/passwd"]))
    data = load_flickr8k(flickr8k, "test")
    assert len(data.items) == 4
    assert data.unusable == (
        ("nobody.jpg", "Flickr_8k.testImages.txt:1: has no caption"),
        (names[0], "Flickr_8k.testImages.txt:6: listed twice"),
        ("../../etc/passwd", "Flickr_8k.testImages.txt:7: a path, not an image name"),
    )


@pytest.mark.parametrize("odd", ["\u2028", "\x0b", "\x0c", "\x85", "|||", "<b>&amp;</b>", "=1+1"])
def test_unusual_characters_do_not_end_a_line(flickr8k: Path, tmp_path: Path, odd: str) -> None:
    file = flickr8k / "Flickr8k.token.txt"
    file.write_bytes(file.read_bytes().replace(b" .", f" {odd} end .".encode(), 1))
    first = load_flickr8k(flickr8k, "test").items[0].captions[0].text
    assert first.endswith(f" {odd} end .")
    rows = f'image,caption\na.jpg,"one {odd} two"\na.jpg,"three\nlines, quoted"\n'
    (tmp_path / "captions.txt").write_text(rows, encoding="utf-8", newline="")
    assert read_csv(tmp_path / "captions.txt") == {
        "a.jpg": [f"one {odd} two", "three\nlines, quoted"]
    }


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"neither Flickr8k\.token\.txt nor captions\.txt"):
        load_flickr8k(tmp_path, "test")


def test_names_that_no_file_can_have_are_reported_and_left_out(flickr8k: Path) -> None:
    tokens, listing = flickr8k / "Flickr8k.token.txt", flickr8k / "Flickr_8k.testImages.txt"
    long = "x" * 300 + ".jpg"
    tokens.write_text(tokens.read_text() + f"{long}#0\tA dog .\n")
    listing.write_text(listing.read_text() + f"{long}\n")
    dataset = load_flickr8k(flickr8k, "test")
    assert any("304 bytes long" in reason for _, reason in dataset.unusable)
    # Found by the fuzz test: names of thousands of characters were quoted whole.
    assert len(no_items(replace(dataset, items=(), unusable=dataset.unusable * 3))) < 800
