"""Trains a small EnCodec from random weights, without a discriminator.

It has three stages: the autoencoder alone; then with residual vector quantisation; then only the
decoder, with encoder and codebooks fixed so that units no longer change. The loss is log-mel L1 and
spectral convergence at three resolutions (Yamamoto et al. 2020, "Parallel WaveGAN", section 2.2,
normalised by the target's norm) plus waveform L1 and commitment.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import EncodecConfig, EncodecModel

from pixvox.codec.quantization import initialise, quantize
from pixvox.training.checkpoint import STATE, last_state, save_state
from pixvox.training.recipe import course_digest
from pixvox.training.schedule import cosine

STFT_WINDOWS = (256, 512, 1024)
MELS = {256: 32, 512: 64, 1024: 80}
WAVEFORM_WEIGHT = 1.0
COMMITMENT_WEIGHT = 0.25
LOG_FLOOR = 1e-5


@dataclass(frozen=True, kw_only=True)
class CodecTraining:
    """The recipe. Steps are optimiser steps; each stage ends at the step in its key.

    `onsets` is the share of crops that start where their clip starts: the codec is causal, and only
    these crops train it on what follows silence.
    """

    steps: int = 7000
    """Optimiser steps."""
    quantise_from: int = 600
    """The step from which codebooks quantise."""
    freeze_units_at: int = 4500
    """The step from which encoder and codebooks are fixed, and so the units."""
    batch: int = 12
    """Crops in a step."""
    crop_seconds: float = 0.5
    """The length of a crop in seconds."""
    onsets: float = 0.0
    """The share of crops that start where their clip starts."""
    learning_rate: float = 1e-3
    """The highest learning rate, reached after the warm-up."""
    warmup: int = 50
    """Steps of the warm-up; afterwards the learning rate falls to a fiftieth."""
    clip: float = 10.0
    """The largest norm of a gradient; larger ones are clipped."""
    seed: int = 0
    """The seed of batches and new weights."""
    checkpoint_every: int = 250
    """Steps between checkpoints."""


@dataclass(frozen=True)
class CodecStep:
    """One step's number (from 1) and its loss without commitment."""

    step: int
    loss: float


def tiny_config() -> EncodecConfig:
    """Returns a configuration: 16 kHz, 50 frames/s, 4 codebooks of 256, 2.7M parameters."""
    return EncodecConfig(
        sampling_rate=16_000,
        upsampling_ratios=[8, 5, 4, 2],
        num_filters=16,
        hidden_size=64,
        num_lstm_layers=1,
        codebook_size=256,
        target_bandwidths=[1.6],
    )


@torch.no_grad()
def initialise_weights(codec: EncodecModel, seed: int) -> None:
    """Initialises the convolutions so that the signal keeps its variance through the ELUs.

    PyTorch's default shrinks it to a thousandth, and the encoder then learns a constant: for
    thousands of steps the loss stays at that of silence. The last layer starts with small weights.
    """
    rng = torch.Generator().manual_seed(seed)
    convolutions = []
    for module in codec.modules():
        if not isinstance(module, torch.nn.Conv1d | torch.nn.ConvTranspose1d):
            continue
        shape = module.weight.shape
        transposed = isinstance(module, torch.nn.ConvTranspose1d)
        fan = shape[2] * (shape[0] / module.stride[0] if transposed else shape[1])
        module.weight = torch.randn(shape, generator=rng) * (1.4 / fan) ** 0.5
        if module.bias is not None:
            torch.nn.init.zeros_(module.bias)
        convolutions.append(module)
    convolutions[-1].weight = convolutions[-1].weight * 0.05


def mel_filters(rate: int, window: int, mels: int) -> Tensor:
    """Returns triangular mel filters `[mels, window

    2 + 1]` on the HTK scale (Young et al., 2006).
    """
    top = 2595 * math.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, mels + 2) / 2595) - 1)
    bins = torch.linspace(0, rate / 2, window // 2 + 1)
    rise = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rise, fall).clamp_min(0)


class SpectralLoss(torch.nn.Module):
    """Log-mel L1 plus spectral convergence over several window lengths, for waveforms `[B, T]`."""

    def __init__(self, rate: int) -> None:
        super().__init__()
        for window in STFT_WINDOWS:
            self.register_buffer(f"hann{window}", torch.hann_window(window))
            self.register_buffer(f"mel{window}", mel_filters(rate, window, MELS[window]))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Returns the distance of waveforms `[B, T]`, a scalar."""
        total = output.new_zeros(())
        for window in STFT_WINDOWS:
            hann, mel = getattr(self, f"hann{window}"), getattr(self, f"mel{window}")
            both = torch.stft(
                torch.cat([output, target]), window, window // 4, window=hann, return_complex=True
            )
            power = both.real.square() + both.imag.square()
            got, want = (power + 1e-9).sqrt().chunk(2)
            log_got = (mel @ got).clamp_min(LOG_FLOOR).log()
            log_want = (mel @ want).clamp_min(LOG_FLOOR).log()
            gap = torch.linalg.vector_norm(got - want, dim=(1, 2))
            size = torch.linalg.vector_norm(want, dim=(1, 2)).clamp_min(1e-2)
            total = total + (log_got - log_want).abs().mean() + (gap / size).mean()
        return total / len(STFT_WINDOWS)


def _crops(
    waves: Sequence[npt.NDArray[np.float32]], length: int, plan: CodecTraining, step: int
) -> Tensor:
    """Returns a batch `[B, 1, length]`, which depends only on the step."""
    rng = np.random.default_rng((plan.seed, step))
    rows = []
    for index in rng.integers(len(waves), size=plan.batch):
        wave = waves[index]
        start = int(rng.integers(max(1, len(wave) - length + 1)))
        if plan.onsets and rng.random() < plan.onsets:
            start = 0
        crop = wave[start : start + length]
        rows.append(np.pad(crop, (0, length - len(crop))))
    return torch.from_numpy(np.stack(rows))[:, None]


def train_codec(
    codec: EncodecModel,
    waves: Sequence[npt.NDArray[np.float32]],
    plan: CodecTraining,
    folder: Path,
    *,
    fresh: bool = True,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[CodecStep]:
    """Trains `codec` on mono waveforms at its own rate; yields after every step.

    With `fresh`, its weights are initialised first; otherwise the codec is trained further. The
    state is written to `folder/state.pt`, from which the same call resumes. When `stop` returns
    True after a step, the training ends there with a checkpoint. Raises WeightsError if the state
    is from another training.
    """
    optimiser = torch.optim.AdamW(codec.parameters(), lr=plan.learning_rate, betas=(0.8, 0.99))
    length = int(plan.crop_seconds * codec.config.sampling_rate)
    spectral = SpectralLoss(codec.config.sampling_rate)
    depths = len(codec.quantizer.layers)
    course = course_digest(plan, codec.config.to_json_string(), *waves)
    saved = last_state(folder, course)
    if saved is None and fresh:
        initialise_weights(codec, plan.seed)
    if saved is not None:
        codec.load_state_dict(saved["codec"])
        optimiser.load_state_dict(saved["optimiser"])
    codec.train()
    for step in range(saved["step"] if saved else 0, plan.steps):
        rng = torch.Generator().manual_seed(plan.seed * 1_000_003 + step)
        target = _crops(waves, length, plan, step)
        fixed = step >= plan.freeze_units_at
        # bfloat16 is a third faster on CPUs that support it; the decoder's last stage is in
        # float32.
        half = torch.autocast("cpu", torch.bfloat16, enabled=not fixed)
        with half, torch.set_grad_enabled(not fixed):
            embeddings = codec.encoder(target)
        embeddings = embeddings.float()
        commitment = embeddings.new_zeros(())
        if step == plan.quantise_from and not fixed:
            initialise(codec, embeddings, rng)
        if step >= plan.quantise_from:
            shallow = not fixed and bool(torch.rand((), generator=rng) < 0.5)
            depth = int(torch.randint(1, depths + 1, (), generator=rng)) if shallow else depths
            embeddings, commitment = quantize(codec, embeddings, depth, rng, learn=not fixed)
        with half:
            output = codec.decoder(embeddings)
        output, target = output.float()[:, 0], target[:, 0]
        loss = spectral(output, target) + WAVEFORM_WEIGHT * (output - target).abs().mean()
        optimiser.zero_grad(set_to_none=True)
        (loss if fixed else loss + COMMITMENT_WEIGHT * commitment).backward()
        torch.nn.utils.clip_grad_norm_(codec.parameters(), plan.clip)
        for group in optimiser.param_groups:
            group["lr"] = cosine(step, plan.steps, plan.learning_rate, plan.warmup)
        optimiser.step()
        stopping = stop()
        if (step + 1) % plan.checkpoint_every == 0 or step + 1 == plan.steps or stopping:
            saved = {"codec": codec.state_dict(), "optimiser": optimiser.state_dict()}
            save_state(folder / STATE, saved | {"step": step + 1, "identity": course})
        yield CodecStep(step + 1, loss.item())
        if stopping:
            return
    codec.eval()
