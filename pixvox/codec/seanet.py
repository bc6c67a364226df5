"""EnCodec's decoder (SEANet), computed for several clips together.

Défossez et al. 2022, "High Fidelity Neural Audio Compression", section 3.1: an LSTM, then causal
convolutions. Convolutions process each clip alone, at its own length, so no clip is padded and the
last frame is exact. The LSTM reads all its weights for every frame, so it processes clips in
groups. Groups are padded to a fixed size and frames come in blocks, so that matrix products always
have the same shape: a clip's samples do not depend on the other clips.

On a CPU the last convolutions, which have small weights and long activations, take a clip in blocks
that stay in the cache; a block begins with the samples before it that its first results depend on.

Weight normalisation is applied once. Activations are written where the padding is, and a transposed
convolution is a convolution of kernel 2 whose channels are the new samples. On a CPU clips lie
`[T, C]` in memory, where both need no copy.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixvox.digests import WeightsError

GROUP = 4
"""Clips that the LSTM takes at once: more waste time where fewer are left to decode."""
_BLOCK = 150
"""Frames that the LSTM takes at once."""
_CONVOLVED = 150
"""Frames whose samples the last convolutions take at once on a CPU."""
_NARROW = 128
"""Channels from which on an upsampling convolution and all after it are among the last."""


class _Step(Protocol):
    def __call__(self, clips: list[Tensor]) -> list[Tensor]:
        """Returns clips `[1, C, 1, T]` after this step."""


class _Convolving(_Step, Protocol):
    channels: int
    """Of what is given."""
    upsampling: int
    """New samples for each one that is given."""

    def reach(self, samples: int) -> int:
        """How many samples before a block the first of its results depend on, where `samples` of
        the results before the block are needed as well."""


class Seanet:
    """The layers of a decoder of transformers or of the `encodec` package.

    The weights are copied with their current values and device. Raises WeightsError for a layer
    that causal EnCodec models with weight normalisation do not have.
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        self.steps: list[_Step] = []
        last: list[_Convolving] = []
        after_elu, upsampled = False, 1
        for layer in layers:
            if isinstance(layer, nn.ELU):
                after_elu = True
                continue
            if isinstance(lstm := getattr(layer, "lstm", None), nn.LSTM):
                self.steps.append(_Recurrence(lstm))
            else:
                is_block = hasattr(layer, "block")
                step = _Residual(layer) if is_block else _Each(_Convolution(layer, after_elu))
                if last or (step.upsampling > 1 and step.channels <= _NARROW):
                    last.append(step)
                else:
                    self.steps.append(step)
                    upsampled *= step.upsampling
            after_elu = False
        self.steps.append(_Blocks(last, _CONVOLVED * upsampled))

    @torch.inference_mode()
    def __call__(self, clips: Sequence[Tensor]) -> list[Tensor]:
        """Maps clips `[C, T]` of any lengths to clips `[C', T']`."""
        outputs: list[Tensor] = []
        for start in range(0, len(clips), GROUP):
            group = [_laid_out(clip[None, :, None]) for clip in clips[start : start + GROUP]]
            for step in self.steps:
                group = step(group)
            outputs += [clip[0, :, 0].contiguous() for clip in group]
        return outputs


def _layout(device: torch.device) -> torch.memory_format:
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format


def _laid_out(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=_layout(x.device))


def _convolution_of(layer: nn.Module) -> nn.Conv1d | nn.ConvTranspose1d:
    """Returns the convolution inside a wrapper; raises WeightsError if there is none."""
    while not isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
        inner = getattr(layer, "conv", getattr(layer, "convtr", None))
        if inner is None:
            raise WeightsError(f"an EnCodec with a layer {type(layer).__name__}; use a causal one")
        layer = inner
    return layer


def _weight_of(conv: nn.Conv1d | nn.ConvTranspose1d) -> Tensor:
    # The package's older weight_norm sets `weight` only when the module is called.
    if hasattr(conv, "weight_g"):
        direction, length = cast(Tensor, conv.weight_v), cast(Tensor, conv.weight_g)
        return torch._weight_norm(direction, length, 0).detach()
    return conv.weight.detach()


class _Convolution:
    """A causal convolution, or its transposed form, of `[1, C, 1, T]`, on request after an ELU.

    With `in_place`, no other layer reads its input, so the ELU may overwrite it.
    """

    def __init__(self, layer: nn.Module, after_elu: bool, in_place: bool = False) -> None:
        conv = _convolution_of(layer)
        weight = _weight_of(conv)
        assert conv.bias is not None
        bias = conv.bias.detach()
        self.after_elu, self.in_place = after_elu, in_place
        self.dilation, self.upsampling = conv.dilation[0], conv.stride[0]
        if isinstance(conv, nn.ConvTranspose1d):
            if weight.shape[2] != 2 * self.upsampling:
                raise WeightsError("an EnCodec whose upsampling kernel is not twice its stride")
            # Sample j of frame t is W_j x_t + W_(j + upsampling) x_(t - 1).
            now, before = weight.split(self.upsampling, dim=2)
            weight = torch.stack([before, now], -1).permute(2, 1, 0, 3).flatten(0, 1)
            bias = bias.repeat(self.upsampling)
        self.channels, self.kernel = weight.shape[1:]
        self.padding = (self.kernel - 1) * self.dilation
        self.weight, self.bias = _laid_out(weight[:, :, None]), bias
        # A kernel of 1 is a product of frames and channels, for which oneDNN is the fastest.
        self.product: Tensor | None = None
        if (
            self.kernel == 1
            and weight.device.type == "cpu"
            and torch.backends.mkldnn.is_available()
        ):
            self.product = torch.ops.mkldnn._reorder_linear_weight(weight[..., 0].contiguous())

    def __call__(self, x: Tensor, to: Tensor | None = None) -> Tensor:
        """Returns the convolution of `x [1, C, 1, T]`, added to `to` if that is given."""
        if self.padding:
            x = self._padded(x)
        elif self.after_elu:
            x = F.elu(x, inplace=self.in_place)
        if self.product is not None:
            return self._product(x, self.product, to)
        y = F.conv2d(x, self.weight, self.bias, dilation=(1, self.dilation))
        if self.upsampling > 1:
            parts = y.unflatten(1, (self.upsampling, -1)).permute(0, 3, 4, 1, 2)
            y = _laid_out(parts.reshape(1, 1, -1, parts.shape[-1]).permute(0, 3, 1, 2))
        return y if to is None else to + y

    def _product(self, x: Tensor, weight: Tensor, to: Tensor | None) -> Tensor:
        frames = x.permute(0, 2, 3, 1).flatten(0, 2)
        if to is None:
            y = torch.ops.mkldnn._linear_pointwise(frames, weight, self.bias, "none", [], "")
        else:
            base = to.permute(0, 2, 3, 1).flatten(0, 2)
            y = torch.ops.mkldnn._linear_pointwise.binary(frames, base, weight, self.bias, "add")
        laid_out: Tensor = y[None, None].permute(0, 3, 1, 2)
        return laid_out

    def _padded(self, x: Tensor) -> Tensor:
        """Returns `x` after its ELU, padded by reflection (by zeros before upsampling)."""
        left, length = self.padding, x.shape[-1]
        reflects = self.upsampling == 1
        if reflects and length <= left:
            # As in EnCodec: an input that is too short for reflection is padded by zeros.
            x = F.pad(x, (0, left + 1 - length))
        shape = (1, x.shape[1], 1, left + x.shape[-1])
        layout = _layout(x.device)
        y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)
        if self.after_elu:
            torch.ops.aten.elu.out(x, out=y[..., left:])
        else:
            y[..., left:] = x
        y[..., :left] = y[..., left + 1 : 2 * left + 1].flip(-1) if reflects else 0
        return y[..., : left + length]


class _Blocks:
    """Convolutions one after the other, on a CPU for `size` samples of a clip at a time."""

    def __init__(self, steps: Sequence[_Convolving], size: int) -> None:
        self.steps, self.size = steps, size
        self.upsampling, self.context = 1, 0
        for step in steps:
            self.upsampling *= step.upsampling
        for step in reversed(steps):
            self.context = step.reach(self.context)

    def __call__(self, clips: list[Tensor]) -> list[Tensor]:
        return [self._convolve_clip(clip) for clip in clips]

    def _convolve_clip(self, x: Tensor) -> Tensor:
        length = x.shape[-1]
        size = self.size if x.device.type == "cpu" else length
        blocks = []
        for start in range(0, length, size):
            first = max(0, start - self.context)
            block = [x[..., first : start + size]]
            for step in self.steps:
                block = step(block)
            blocks.append(block[0][..., (start - first) * self.upsampling :])
        return _laid_out(torch.cat(blocks, -1))


class _Each:
    def __init__(self, convolution: _Convolution) -> None:
        self.convolution = convolution
        self.channels, self.upsampling = convolution.channels, convolution.upsampling

    def reach(self, samples: int) -> int:
        return -(-samples // self.upsampling) + self.convolution.padding

    def __call__(self, clips: list[Tensor]) -> list[Tensor]:
        return [self.convolution(clip) for clip in clips]


class _Residual:
    """`shortcut(x) + convolution(elu(convolution(elu(x))))`."""

    upsampling = 1

    def __init__(self, layer: nn.Module) -> None:
        block = layer.get_submodule("block").children()
        inner = [part for part in block if not isinstance(part, nn.ELU)]
        self.block = [
            _Convolution(part, after_elu=True, in_place=number > 0)
            for number, part in enumerate(inner)
        ]
        self.channels = self.block[0].channels
        shortcut = layer.get_submodule("shortcut")
        is_identity = isinstance(shortcut, nn.Identity)
        self.shortcut = None if is_identity else _Convolution(shortcut, after_elu=False)

    def __call__(self, clips: list[Tensor]) -> list[Tensor]:
        return [self._convolve_clip(clip) for clip in clips]

    def reach(self, samples: int) -> int:
        return samples + sum(convolution.padding for convolution in self.block)

    def _convolve_clip(self, x: Tensor) -> Tensor:
        shortcut = x if self.shortcut is None else self.shortcut(x)
        for convolution in self.block[:-1]:
            x = convolution(x)
        return self.block[-1](x, shortcut)


class _Recurrence:
    """`x + lstm(x)`, in blocks of always the same shape."""

    def __init__(self, lstm: nn.LSTM) -> None:
        self.lstm = lstm

    def __call__(self, clips: list[Tensor]) -> list[Tensor]:
        frames = [clip[0, :, 0].mT for clip in clips]
        longest = -(-max(map(len, frames)) // _BLOCK) * _BLOCK
        x = frames[0].new_zeros(longest, GROUP, frames[0].shape[1])
        for place, clip in enumerate(frames):
            x[: len(clip), place] = clip
        state, blocks = None, []
        for block in x.split(_BLOCK):
            y, state = self.lstm(block, state)
            blocks.append(y)
        y = torch.cat(blocks) + x
        return [
            _laid_out(y[: len(clip), place].mT[None, :, None]) for place, clip in enumerate(frames)
        ]
