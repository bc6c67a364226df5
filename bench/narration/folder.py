"""A narration's folder: its files and which of them are missing.

    wavs/ID_N.wav      the speech of caption N, where sound is wanted
    units.npz          the units of all captions, where a codec is named (see storedunits)
    .units/            each caption's units until all are there
    narration.json     who read it, and of which dataset (bench.datasets.narrated)
    texts.tsv          WAV, image, caption number and text of all captions ever to be read here
    wav2capt.txt, wav2spk.txt, or SPLIT.jsonl and images/: what a dataset reads

The texts are written before any speech is. Speech of a text that has changed is removed first.
"""

import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.common.atomic import write_bytes, write_text
from bench.common.errors import UserError
from bench.datasets.base import Dataset, text_lines
from bench.datasets.narrated import NARRATION, Narration, read_narration
from bench.datasets.storedunits import UNITS, Units
from bench.narration.plan import NarrationPlan, Utterance
from bench.narration.unitparts import UnitParts

TEXTS = "texts.tsv"
_HELD_TO = ("voice", "voice_digest", "normalisation", "dataset")
_CODEC = ("codec_digest", "bandwidth")


class Folder:
    """The folder of one narration, which the process must have locked.

    Without `sound`, only units are written.
    """

    def __init__(self, path: Path, *, sound: bool = True) -> None:
        self.path = path
        self.sound = sound
        self.wavs = path / "wavs"
        self.units = UnitParts(path)
        self.narration: Narration | None = None
        self._known: dict[str, Utterance] = {}

    def prepare(self, narration: Narration, plan: NarrationPlan) -> list[Utterance]:
        """Returns the utterances of a plan whose speech or units are still missing.

        Raises UserError where the folder holds other speech.
        """
        self._join(narration)
        wants_units = narration.codec_digest is not None
        self._known = {utterance.wav: utterance for utterance in self._read_texts()}
        wanted = {utterance.wav: utterance for utterance in plan.utterances}
        stale = [wav for wav, utterance in wanted.items() if self._known.get(wav) != utterance]
        if self.sound:
            self.wavs.mkdir(parents=True, exist_ok=True)
        self.units.remove(_name(wav) for wav in stale)
        if any(self._is_there(wav) for wav in stale):
            # The lists would name speech that is about to be read again.
            for name in ("wav2capt.txt", "wav2spk.txt"):
                (self.path / name).unlink(missing_ok=True)
            for wav in stale:
                (self.wavs / wav).unlink(missing_ok=True)
        for folder in (self.path, self.wavs, self.units.folder):
            for partial in folder.glob(".*.part"):
                # A killed process left it; no other one writes, as this one has the folder locked.
                partial.unlink()
        assert self.narration is not None
        described = self.narration.model_dump_json(indent=1, exclude_none=True)
        write_text(self.path / NARRATION, described + "\n")
        self._known |= wanted
        lines = [
            f"{o.wav}\t{o.image}\t{o.number}\t{o.text}\n" for o in sorted(self._known.values())
        ]
        write_text(self.path / TEXTS, "".join(lines))
        return [
            utterance
            for utterance in plan.utterances
            if (self.sound and not self._is_there(utterance.wav))
            or (wants_units and not self.units.has(_name(utterance.wav)))
        ]

    def keep(self, utterance: Utterance, wav: bytes | None, units: Units | None = None) -> None:
        """Writes the speech and the units of a caption, each where it is given."""
        if units is not None:
            self.units.keep(_name(utterance.wav), units)
        if wav is not None and not self._is_there(utterance.wav):
            write_bytes(self.wavs / utterance.wav, wav)

    def write_units(self) -> None:
        """Writes the units of all captions as one file, where there are any."""
        assert self.narration is not None
        if self.narration.codec_digest is not None:
            self.units.merge(self.narration.codec_digest)

    def write_flickr(self) -> None:
        """Writes the lists of the Flickr Audio Caption Corpus for all speech in the folder."""
        assert self.narration is not None
        speaker = speaker_of(self.narration)
        spoken = [u for u in sorted(self._known.values()) if self._is_there(u.wav)]
        of_speakers = [f"{u.wav} {speaker}\n" for u in spoken]
        of_captions = [f"{u.wav} {u.image} #{u.number}\n" for u in spoken]
        write_text(self.path / "wav2spk.txt", "".join(of_speakers))
        write_text(self.path / "wav2capt.txt", "".join(of_captions))

    def write_manifests(self, datasets: Iterable[Dataset]) -> None:
        """Writes a manifest for each split, with copies of its images."""
        for dataset in datasets:
            rows = []
            for item in dataset.items:
                image = f"images/{item.id}{item.image.suffix}"
                if item.image.is_file():
                    _copy(item.image, self.path / image)
                captions = [
                    self._caption(f"{item.id}_{number}.wav", caption.text)
                    for number, caption in enumerate(item.captions)
                ]
                rows.append({"id": item.id, "image": image, "captions": captions})
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            write_text(self.path / f"{dataset.split}.jsonl", "".join(lines))

    def _caption(self, wav: str, text: str) -> Mapping[str, Any]:
        assert self.narration is not None
        if wav not in self._known or not self._is_there(wav):
            return {"text": text}
        return {"text": text, "speech": f"wavs/{wav}", "speaker": speaker_of(self.narration)}

    def _join(self, narration: Narration) -> None:
        """Adds the new splits to the folder's narration; raises UserError if it is another one."""
        before = read_narration(self.path)
        if before is None:
            if any((self.path / name).exists() for name in ("wavs", "wav2capt.txt", UNITS)):
                raise UserError(
                    f"{self.path}: contains speech that pixvox narrate did not write; name another "
                    "folder"
                )
            self.narration = narration
            return
        of_codec = () if None in (before.codec_digest, narration.codec_digest) else _CODEC
        for name in _HELD_TO + of_codec:
            here, asked = getattr(before, name), getattr(narration, name)
            if here != asked:
                raise UserError(
                    f"{self.path}: holds a narration whose {name} is {here}, not {asked}; name "
                    "another folder"
                )
        update: dict[str, Any] = {"splits": tuple(sorted({*before.splits, *narration.splits}))}
        if narration.codec_digest is None:
            update |= {name: getattr(before, name) for name in _CODEC}
        self.narration = narration.model_copy(update=update)

    def _read_texts(self) -> Iterable[Utterance]:
        path = self.path / TEXTS
        for number, line in enumerate(text_lines(path) if path.exists() else (), 1):
            fields = line.split("\t")
            if len(fields) != 4 or not fields[2].isdecimal() or "/" in fields[0]:
                raise UserError(f"{path}:{number}: not what pixvox narrate writes; remove the file")
            wav, image, caption, text = fields
            yield Utterance(image, int(caption), wav, text)

    def _is_there(self, wav: str) -> bool:
        """Returns whether a speech file exists and has the length that its header states."""
        try:
            with (self.wavs / wav).open("rb") as file:
                head = file.read(8)
                size = file.seek(0, 2)
        except FileNotFoundError:
            return False
        return (
            len(head) == 8 and head[:4] == b"RIFF" and size == 8 + struct.unpack("<I", head[4:])[0]
        )


def _name(wav: str) -> str:
    """Returns the name of a caption's units: the stem of its WAV file."""
    return Path(wav).stem


def speaker_of(narration: Narration) -> str:
    """Returns the voice as the name of a speaker, without spaces."""
    return "-".join(narration.voice.split())


def _copy(source: Path, target: Path) -> None:
    data = source.read_bytes()
    if not target.exists() or target.read_bytes() != data:
        write_bytes(target, data)
