"""Batched autoregressive decoding whose result does not depend on the batch.

A fixed number of slots; a row that has ended is replaced from the queue at once (Yu et al. 2022,
"Orca", section 3). A row never sees another and draws from noise of its own, so an item's units
are the same whatever it is decoded with, in whichever order.
"""

from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
from torch import Tensor

from pixvox.decoding.attention import use_threads_of_torch
from pixvox.decoding.candidates import best, several
from pixvox.decoding.requests import Generation, Request
from pixvox.decoding.sampling import Chooser, Decoding, item_noise
from pixvox.decoding.stepper import Shape
from pixvox.decoding.steppers import Steppers
from pixvox.network import PixVoxNetwork
from pixvox.patterns import Layout, layout
from pixvox.precision import precision

_WINDOW = 64
"""Positions that a graph's attention reads grow by this many."""

_POLL = 8
"""Steps between two looks at a GPU: a look stops it, a row that ended waits for it."""


NOT_FINITE = "the model computes numbers that are not finite; its weights are damaged"


class Engine:
    """Decodes requests with one model; keeps its buffers, and on a GPU its graphs, between calls.

    Weights that were changed in between are seen. Raises ValueError where `max_seconds` needs more
    positions than the model has, for values of another number of codebooks, for guidance without a
    null image, for bfloat16 on a CPU, and for a device that is neither a CPU nor CUDA's. `dense`
    chooses the attention (see Stepper); left out, it is ragged on CPU and dense elsewhere.
    `steppers` are the model's, shared with other engines of it that run before or after this one,
    never at the same time; left out, it has its own.
    """

    def __init__(
        self,
        model: PixVoxNetwork,
        decoding: Decoding,
        dense: bool | None = None,
        steppers: Steppers | None = None,
    ) -> None:
        config = model.config
        self.decoding = decoding
        self.codebooks, self.empty = config.num_codebooks, config.empty
        self.pattern = config.pattern
        self.frames = round(decoding.max_seconds * config.frame_rate)
        # Every layout ends with the frame that says "no unit": the end of speech.
        self.plan = layout(self.pattern, self.codebooks, self.frames + 1)
        steps = len(self.plan.steps)
        if steps > config.max_position_embeddings:
            raise ValueError(
                f"{decoding.max_seconds} s need {steps} steps of the {self.pattern} pattern, the "
                f"model has {config.max_position_embeddings} positions; lower max_seconds"
            )
        # Whether a unit's step depends on where the speech ends (coarse-first) or not (the others).
        shorter = layout(self.pattern, self.codebooks, self.frames).step_of
        self.moves = not torch.equal(shorter, self.plan.step_of[:, : self.frames])
        if model.device.type not in ("cpu", "cuda"):
            raise ValueError(
                f"the model is on {model.device.type}, and decoding computes on a CPU or on CUDA; "
                "move it: model.to('cpu')"
            )
        dtype = torch.float32 if decoding.arithmetic == "float32" else torch.bfloat16
        if dtype != torch.float32 and model.device.type == "cpu":
            raise ValueError("decoding.arithmetic: bfloat16 needs a GPU; use float32")
        self.chooser = Chooser(decoding, self.codebooks)
        self.size = config.codebook_size
        dense = model.device.type != "cpu" if dense is None else dense
        self.shape = Shape(decoding.slots, decoding.lanes, steps, dtype, dense, decoding.guided)
        self.model, self.steppers = model, steppers or Steppers(model)
        if self.steppers.model is not model:
            raise ValueError("steppers of another model; give this model's")
        self.stepper = self.steppers.of(self.shape)
        self.graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self.device = device = self.stepper.device
        slots = decoding.slots
        self.steps_run = 0

        def integers(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.long, device=device)

        self.sequence = integers(slots, self.codebooks, steps + 1)
        self.given = integers(slots, self.codebooks, self.frames + 1)
        self.table = integers(slots, self.codebooks, steps)
        self.position, self.ends = integers(slots), integers(slots)
        self.busy = torch.zeros(slots, dtype=torch.bool, device=device)
        self.broken = torch.zeros(slots, dtype=torch.bool, device=device)
        # Of the first codebook's units that were chosen: their log-probabilities, and how many.
        self.surety = torch.zeros(slots, 2, device=device)
        # The first codebook's last unit, and how many frames in a row have it.
        self.last_unit, self.run_length = integers(slots), integers(slots)
        self.noise = torch.zeros(slots, steps, self.codebooks, device=device)
        self.finish = self._finishing_steps().to(device)
        self.rows = torch.arange(slots, device=device)

    def _finishing_steps(self) -> Tensor:
        """`[N + 1]`: how many steps a speech of each number of frames takes."""
        needed = torch.zeros(self.frames + 1, dtype=torch.long)
        for frames in range(1, self.frames + 1):
            needed[frames] = self._plan_of(frames).step_of[:, frames - 1].max() + 1
        return needed

    def _plan_of(self, frames: int) -> Layout:
        """The layout of a speech that ends after `frames` frames."""
        if self.moves:
            return layout(self.pattern, self.codebooks, frames + 1)
        return self.plan

    @torch.inference_mode()
    def generate(self, images: Tensor, requests: Sequence[Request]) -> list[Generation]:
        """Speaks all requests over image states `[I, P, M_vision]`, in the order given.

        Raises ValueError for a prompt that leaves no room, or is not made of units. Where the model
        computes what is no number, that request's generation has a reason and no units; of several
        candidates such ones are not kept unless all are.
        """
        for request in requests:
            request.check(self.codebooks, self.frames, self.size)
        number = self.decoding.candidates
        with precision(self.decoding.arithmetic), _current(self.stepper.device):
            if number == 1:
                return self._all(images, requests)
            asked = several(requests, number)
            return best(self.model, images, asked, self._all(images, asked), number)

    def _all(self, images: Tensor, requests: Sequence[Request]) -> list[Generation]:
        stepper = self.steppers.of(self.shape)
        if stepper is not self.stepper:
            if stepper.device != self.device:
                raise ValueError("the model is on another device than before; make a new engine")
            self.stepper, self.graphs = stepper, {}
        sound = [self.steppers.sound and bool(image.isfinite().all()) for image in images]
        done = {
            index: _nothing(request)
            for index, request in enumerate(requests)
            if not sound[request.image]
        }
        # Requests of one image follow each other, so that they find its memory in place.
        left = [index for index in range(len(requests)) if index not in done]
        order = sorted(left, key=lambda index: requests[index].image)
        queue = deque(order)
        held: list[int | None] = [None] * self.decoding.slots
        in_memory: list[int | None] = [None] * (self.decoding.slots // self.decoding.lanes)
        self.busy.zero_()
        self.position.zero_()
        use_threads_of_torch()
        while len(done) < len(requests):
            self._admit(queue, held, in_memory, images, requests)
            self._run()
            finished = self.busy & (self.position >= self.finish[self.ends])
            for slot in finished.nonzero().flatten().tolist():
                index = cast(int, held[slot])
                if self.broken[slot]:
                    done[index] = _nothing(requests[index])
                    self.stepper.forget(slot)
                else:
                    done[index] = self._take(slot, requests[index].item, int(self.ends[slot]))
                held[slot] = None
                # An idle row must not keep the window of the others wide.
                self.busy[slot] = False
                self.position[slot] = 0
        return [done[index] for index in range(len(requests))]

    def _admit(
        self,
        queue: deque[int],
        held: list[int | None],
        in_memory: list[int | None],
        images: Tensor,
        requests: Sequence[Request],
    ) -> None:
        """Fills free slots from the queue; a memory changes only when none of its rows is busy."""
        lanes = self.decoding.lanes
        for slot in range(self.decoding.slots):
            if held[slot] is not None or not queue:
                continue
            entry = slot // lanes
            image = requests[queue[0]].image
            if in_memory[entry] != image:
                if any(row is not None for row in held[entry * lanes : (entry + 1) * lanes]):
                    continue
                self.stepper.remember(entry, images[image])
                in_memory[entry] = image
            index = queue.popleft()
            held[slot] = index
            self._start(slot, requests[index])

    def _start(self, slot: int, request: Request) -> None:
        self.given[slot] = -1
        self.given[slot, :, : request.prompt.shape[1]] = request.prompt
        self.table[slot] = self.plan.frame_of
        self.sequence[slot] = self.empty
        self.position[slot] = 0
        self.ends[slot] = self.frames
        self.busy[slot] = True
        self.broken[slot] = False
        self.surety[slot] = 0
        self.run_length[slot] = 0
        if self.decoding.draws:
            steps = len(self.plan.steps)
            seed = self.decoding.seed if request.seed is None else request.seed
            self.noise[slot] = item_noise(
                seed, request.item, steps, self.codebooks, request.candidate
            )

    def _take(self, slot: int, item: str, frames: int) -> Generation:
        sequence = self.sequence[slot, :, 1:].cpu()
        step = self._plan_of(frames).step_of[:, :frames]
        total, number = self.surety[slot].tolist()
        units, ended = sequence.gather(-1, step), frames < self.frames
        return Generation(item, units, ended, sureness=total / max(number, 1))

    def _run(self) -> None:
        """Steps all rows: once where looking is free, else until the next look."""
        highest = int(self.position.max())
        on_gpu = self.stepper.device.type == "cuda"
        # Where steps move with the end, they are laid out again as soon as it is known.
        poll = _POLL if on_gpu and not self.moves else 1
        for ahead in range(poll):
            window = min(-(-(highest + ahead + 1) // _WINDOW) * _WINDOW, self.stepper.steps)
            before = self.ends.clone() if self.moves else None
            if on_gpu:
                self._replay(window)
            else:
                self._advance(window)
            if before is not None:
                self._lay_out_again(before)
            self.steps_run += 1

    def _lay_out_again(self, before: Tensor) -> None:
        for slot in (before != self.ends).nonzero().flatten().tolist():
            table = self._plan_of(int(self.ends[slot])).frame_of
            self.table[slot] = -1
            self.table[slot, :, : table.shape[1]] = table

    def _replay(self, window: int) -> None:
        """The step as one CUDA graph, one for each window."""
        if window not in self.graphs:
            state = [self.sequence, self.position, self.ends, self.broken, self.surety]
            state += [self.last_unit, self.run_length]
            kept = [tensor.clone() for tensor in state]
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(2):
                    self._advance(window)
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._advance(window)
            self.graphs[window] = graph
            for buffer, value in zip(state, kept, strict=True):
                buffer.copy_(value)
        self.graphs[window].replay()

    def _advance(self, window: int) -> None:
        """One step of every row, in place and without looking at any value."""
        last = self.position.clamp_max(self.stepper.steps - 1)
        index = last[:, None, None].expand(-1, self.codebooks, 1)
        units = self.sequence.gather(-1, index)[..., 0]
        logits = self.stepper.logits(units, last, window)
        # One that is not finite makes its row's sum so, which is found in a tenth of the time.
        bad = ~logits.flatten(1).sum(1).isfinite()
        chances = None
        if self.decoding.candidates > 1:
            chances = logits[: self.decoding.slots, 0].log_softmax(-1)
        if self.decoding.guided:
            logits = self.chooser.guide(*logits.chunk(2))
            bad = bad.view(2, -1).any(0)
        bad &= self.busy
        # Only the first codebook may end the speech; the others follow it.
        logits[:, 1:, self.empty] = -torch.inf
        chosen = self.chooser.choose(logits, self.noise[self.rows, last])
        frame = self.table.gather(-1, index)[..., 0]
        if self.decoding.longest_run:
            chosen[:, 0] = self._ended_by_runs(chosen[:, 0])
        given = self.given.gather(-1, frame.clamp_min(0)[..., None])[..., 0]
        chosen = torch.where(given >= 0, given, chosen)
        inside = (frame >= 0) & (frame < self.ends[:, None])
        chosen = torch.where(inside, chosen, self.empty)
        if chances is not None:
            sure = chances.gather(-1, chosen[:, :1])[:, 0]
            counted = inside[:, 0] & (given[:, 0] < 0) & self.busy
            self.surety += torch.stack([torch.where(counted, sure, 0.0), counted.float()], -1)
        if self.decoding.longest_run:
            self._count_runs(chosen[:, 0], inside[:, 0])
        stopped = (chosen[:, 0] == self.empty) & inside[:, 0]
        self.ends.copy_(torch.where(stopped, frame[:, 0], self.ends))
        # Of the frame that ends the speech no codebook has a unit, those of this step included.
        chosen = torch.where(frame < self.ends[:, None], chosen, self.empty)
        self.broken |= bad
        self.ends.masked_fill_(bad, 0)
        self.sequence.scatter_(-1, index + 1, chosen[..., None])
        self.position.add_(self.busy)

    def _ended_by_runs(self, units: Tensor) -> Tensor:
        """The first codebook's units `[B]`, of which one that makes a run too long is the end."""
        is_longest = self.run_length >= self.decoding.longest_run
        return units.masked_fill(is_longest & (units == self.last_unit), self.empty)

    def _count_runs(self, units: Tensor, inside: Tensor) -> None:
        """Takes the first codebook's units `[B]` of this step, where they are of a frame."""
        length = torch.where(units == self.last_unit, self.run_length + 1, 1)
        self.run_length.copy_(torch.where(inside, length, self.run_length))
        self.last_unit.copy_(torch.where(inside, units, self.last_unit))


def _current(device: torch.device) -> AbstractContextManager[object]:
    """Has CUDA's streams and graphs be of a model's GPU, which need not be the first."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _nothing(request: Request) -> Generation:
    return Generation(request.item, request.prompt[:, :0], False, NOT_FINITE)


def generate(
    model: PixVoxNetwork, images: Tensor, requests: Sequence[Request], decoding: Decoding
) -> list[Generation]:
    """Decodes all requests over image states `[I, P, M_vision]` once (see Engine)."""
    return Engine(model, decoding).generate(images, requests)
