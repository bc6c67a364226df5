"""`pixvox speak`, and the README's first lines: pictures in, WAV files out."""

import re
from pathlib import Path

import pytest
import soundfile

from bench.cli import main
from bench.datasets.scenes.load import load_scenes

ROOT = Path(__file__).parents[2]


def test_each_picture_becomes_a_wav(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pictures = [str(item.image) for item in load_scenes(None).items[:2]]
    assert main(["speak", *pictures, "-o", str(tmp_path), "--max-seconds", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [Path(line.split(":")[0]).name for line in lines] == ["test_00000.wav", "test_00001.wav"]
    wave, rate = soundfile.read(tmp_path / "test_00001.wav")
    assert rate == 16_000
    assert 0 < len(wave) <= 2 * rate


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["no.png"], "no.png: no such image; fix it"),
        (["text.png"], "text.png: not readable as an image"),
        (["good.png", "other/good.png"], "other/good.png would both be good.wav; rename"),
        (["good.png", "--weights", "zoo:none"], "zoo:none: not in the zoo"),
        (["good.png", "--prompt", "text.png"], "text.png: not readable as speech"),
        (["good.png", "--max-seconds", "30"], "lower max_seconds"),
        (["good.png", "--temperature", "0.3,1"], "2 values for 4 codebooks"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_lost(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    changed: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.png").write_bytes(load_scenes(None).items[0].image.read_bytes())
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "good.wav").write_text("of an earlier run")
    assert main(["speak", *changed, "-o", "."]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("pixvox: ")
    assert error.count("\n") == 1
    assert (tmp_path / "good.wav").read_text() == "of an earlier run"


def test_the_readmes_first_lines_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    [block] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(block.splitlines()) <= 8
    (tmp_path / "bench").symlink_to(ROOT / "bench")
    monkeypatch.chdir(tmp_path)
    exec(block, {})
    assert soundfile.info(tmp_path / "speech.wav").duration > 0.5
