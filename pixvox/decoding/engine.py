"""Batched autoregressive decoding whose result does not depend on the batch.

There is a fixed number of slots; a row that has ended is replaced from the queue at once (Yu et al.
2022, "Orca", section 3). A row does not attend to other rows and draws from its own noise, so an
item's units are the same in every batch and order.
"""

import math
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
from torch import Tensor

from pixvox.decoding.attention import use_threads_of_torch
from pixvox.decoding.candidates import best, several
from pixvox.decoding.kernels import AttentionKind
from pixvox.decoding.memories import Memories
from pixvox.decoding.requests import Generation, Request
from pixvox.decoding.sampling import Chooser, Decoding, item_noise
from pixvox.decoding.stepper import Shape
from pixvox.decoding.steppers import Steppers
from pixvox.decoding.varlen import has_kernel
from pixvox.network import PixVoxNetwork
from pixvox.patterns import Layout, layout
from pixvox.precision import precision

_WINDOW = 64
"""The window of positions that a graph's attention reads grows in steps of this size."""

_POLL = 8
"""Steps between two checks of a GPU. A check stops the queue; a row that has ended waits for it."""


NOT_FINITE = "the model computes numbers that are not finite; its weights are damaged"


class Engine:
    """Decodes requests with one model; keeps its buffers, and on a GPU its graphs, between calls.

    Weights may be changed between calls. Raises ValueError if `max_seconds` needs more positions
    than the model has, for values of another number of codebooks, for guidance without a null
    image, for bfloat16 on a CPU, and for a model on Apple's MPS. `dense` selects dense or ragged
    attention (see pixvox.decoding.kernels). By default it is ragged on a CPU, of variable length on
    a GPU in bfloat16 if PyTorch supports that, and dense otherwise. `steppers` are the model's,
    shared with other engines of it that run before or after this one, never at the same time; by
    default the engine has its own.
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
        # Every layout ends with the frame of "no unit", which is the end of speech.
        self.plan = layout(self.pattern, self.codebooks, self.frames + 1)
        steps = len(self.plan.steps)
        if steps > config.max_position_embeddings:
            raise ValueError(
                f"{decoding.max_seconds} s need {steps} steps of the {self.pattern} pattern, the "
                f"model has {config.max_position_embeddings} positions; lower max_seconds"
            )
        # Whether a unit's step depends on where the speech ends (coarse-first) or not (all others).
        shorter = layout(self.pattern, self.codebooks, self.frames).step_of
        self.moves = not torch.equal(shorter, self.plan.step_of[:, : self.frames])
        if model.device.type == "mps":
            raise ValueError(
                "the model is on mps, which has no float64 for draws; decode on a CPU or on CUDA: "
                "model.to('cpu')"
            )
        dtype = torch.float32 if decoding.arithmetic == "float32" else torch.bfloat16
        if dtype != torch.float32 and model.device.type == "cpu":
            raise ValueError("decoding.arithmetic: bfloat16 needs a GPU; use float32")
        self.chooser = Chooser(decoding, self.codebooks)
        self.size = config.codebook_size
        attention = _attention_for(model.device, dtype, dense)
        # With grouped slots, an image's candidates are in neighbouring slots and share its memory.
        shared = 1 if attention == "ragged" else math.gcd(decoding.slots, decoding.candidates)
        lanes = shared if decoding.lanes == 1 else decoding.lanes
        self.shape = Shape(
            slots=decoding.slots,
            lanes=lanes,
            steps=steps,
            dtype=dtype,
            attention=attention,
            guided=decoding.guided,
        )
        self.model, self.steppers = model, steppers or Steppers(model)
        if self.steppers.model is not model:
            raise ValueError("steppers of another model; give this model's")
        self.stepper = self.steppers.of(self.shape)
        self.graphs: dict[int, torch.cuda.CUDAGraph] = {}
        # Steps between two checks.
        self.poll = _POLL if self.stepper.device.type == "cuda" else 1
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
        # The sum of log-probabilities of the first codebook's chosen units, and their number.
        self.surety = torch.zeros(slots, 2, device=device)
        # The first codebook's last unit, and the number of consecutive frames with it.
        self.last_unit, self.run_length = integers(slots), integers(slots)
        self.noise = torch.zeros(slots, steps, self.codebooks, device=device)
        self.finish = self._finishing_steps().to(device)
        self.plan_table = self.plan.frame_of.to(device)
        # `[N + 1, K, S]`: the frames of each step of a speech, by its number of frames.
        self.tables = self._tables(steps).to(device) if self.moves else None
        self.rows = torch.arange(slots, device=device)
        # Steps since the row in a slot started, which the host knows without a check.
        self.ages: dict[int, int] = {}
        # The requests of the slots whose first steps were prefilled.
        self.prefilled: dict[int, Request] = {}

    def _finishing_steps(self) -> Tensor:
        """Returns `[N + 1]`: the number of steps of a speech, by its number of frames."""
        needed = torch.zeros(self.frames + 1, dtype=torch.long)
        for frames in range(1, self.frames + 1):
            needed[frames] = self._plan_of(frames).step_of[:, frames - 1].max() + 1
        return needed

    def _tables(self, steps: int) -> Tensor:
        tables = torch.full((self.frames + 1, self.codebooks, steps), -1, dtype=torch.int16)
        for frames, table in enumerate(tables):
            step = self._plan_of(frames).step_of
            table.scatter_(1, step, torch.arange(step.shape[1]).short().expand_as(step))
        return tables

    def _plan_of(self, frames: int) -> Layout:
        """Returns the layout of a speech that ends after `frames` frames."""
        if self.moves:
            return layout(self.pattern, self.codebooks, frames + 1)
        return self.plan

    @torch.inference_mode()
    def generate(self, images: Tensor, requests: Sequence[Request]) -> list[Generation]:
        """Decodes all requests over image states `[I, P, M_vision]`, and returns results in their
        order.

        Raises ValueError for a prompt that leaves no room, or that has invalid units. If the model
        computes a non-finite number, that request's generation has a reason and no units; among
        candidates it is chosen only if all are like that.
        """
        for request in requests:
            request.check(self.codebooks, self.frames, self.size)
        number = self.decoding.candidates
        with precision(self.decoding.arithmetic), _current(self.stepper.device):
            if number == 1:
                return self._all(images, requests)
            asked = several(requests, number)
            return best(self.model, images, asked, self._all(images, asked), candidates=number)

    def _all(self, images: Tensor, requests: Sequence[Request]) -> list[Generation]:
        stepper = self.steppers.of(self.shape)
        if stepper is not self.stepper:
            if stepper.device != self.device:
                raise ValueError("the model is on another device than before; make a new engine")
            self.stepper, self.graphs = stepper, {}
        finite = images.flatten(1).isfinite().all(1).tolist()
        done = {
            index: _nothing(request)
            for index, request in enumerate(requests)
            if not (self.steppers.sound and finite[request.image])
        }
        # Requests of one image are adjacent, so that its memory is reused.
        left = [index for index in range(len(requests)) if index not in done]
        order = sorted(left, key=lambda index: requests[index].image)
        queue = deque(order)
        slots = self.decoding.slots
        held: list[int | None] = [None] * slots
        grouped = not self.stepper.attention.shares_freely
        memories = Memories(slots, self.shape.lanes, grouped=grouped)
        self._free(range(slots))
        use_threads_of_torch()
        while len(done) < len(requests):
            self._admit(queue, held, memories, images=images, requests=requests)
            self._run()
            for slot, speech in self._collect(held, requests):
                done[cast(int, held[slot])] = speech
                held[slot] = None
                memories.release(slot)
        return [done[index] for index in range(len(requests))]

    def _upload(self, values: Tensor) -> Tensor:
        """Copies a tensor from the CPU to the device, without waiting for the device."""
        if self.device.type != "cuda":
            return values
        return values.pin_memory().to(self.device, non_blocking=True)

    def _download(self, values: Tensor) -> Tensor:
        """Copies a tensor from the device to the CPU; waits for all work of the device."""
        return values.cpu()

    def _free(self, slots: Sequence[int]) -> None:
        """Frees slots, so that an idle row does not widen the window of the others."""
        index = self._upload(torch.tensor(slots))
        self.busy.index_fill_(0, index, False)
        self.position.index_fill_(0, index, 0)
        for slot in slots:
            self.ages.pop(slot, None)
            # An idle slot overwrites its first position.
            self.prefilled.pop(slot, None)

    def _collect(
        self, held: Sequence[int | None], requests: Sequence[Request]
    ) -> list[tuple[int, Generation]]:
        """Returns slots whose rows have ended, with their speech: one transfer, two if any have."""
        finished = self.busy & (self.position >= self.finish[self.ends])
        # All values are exact in float64; five transfers would each wait for the device.
        state = [finished, self.broken, self.ends, *self.surety.unbind(1)]
        status = self._download(torch.stack([values.double() for values in state], 1))
        slots = status[:, 0].nonzero().flatten().tolist()
        if not slots:
            return []
        sequences = self._download(self.sequence[self._upload(torch.tensor(slots)), :, 1:])
        speeches: list[tuple[int, Generation]] = []
        for place, slot in enumerate(slots):
            _, broken, ends, total, number = status[slot].tolist()
            request, frames = requests[cast(int, held[slot])], int(ends)
            if broken:
                self.stepper.forget(slot)
                speeches.append((slot, _nothing(request)))
                continue
            step = self._plan_of(frames).step_of[:, :frames]
            units = sequences[place].gather(-1, step)
            sureness, ended = total / max(number, 1), frames < self.frames
            speeches.append(
                (slot, Generation(item=request.item, units=units, ended=ended, sureness=sureness))
            )
        self._free(slots)
        return speeches

    def _admit(
        self,
        queue: deque[int],
        held: list[int | None],
        memories: Memories,
        *,
        images: Tensor,
        requests: Sequence[Request],
    ) -> None:
        """Fills free slots from the queue, as long as memories for their images are free."""
        admitted: list[tuple[int, Request]] = []
        for slot in range(self.decoding.slots):
            if held[slot] is not None or not queue:
                continue
            image = requests[queue[0]].image
            is_new = memories.assign(slot, image)
            if is_new is None:
                continue
            if is_new:
                self.stepper.remember(memories.entry_of(slot), images[image])
            self.stepper.attention.read(slot, memories.entry_of(slot))
            index = queue.popleft()
            held[slot] = index
            admitted.append((slot, requests[index]))
        if admitted:
            self._start(admitted)
            self._prefill(admitted, memories)

    def _start(self, admitted: Sequence[tuple[int, Request]]) -> None:
        """Starts requests in their slots, in one transfer for all of them."""
        slots = self._upload(torch.tensor([slot for slot, _ in admitted]))
        given = torch.full((len(admitted), self.codebooks, self.frames + 1), -1)
        for row, (slot, request) in zip(given, admitted, strict=True):
            row[:, : request.prompt.shape[1]] = request.prompt
            self.ages[slot] = 0
        self.given.index_copy_(0, slots, self._upload(given))
        self.table.index_copy_(0, slots, self.plan_table.expand(len(admitted), -1, -1))
        beginnings: tuple[tuple[Tensor, float], ...] = (
            (self.sequence, self.empty),
            (self.position, 0),
            (self.ends, self.frames),
            (self.busy, True),
            (self.broken, False),
            (self.surety, 0),
            (self.run_length, 0),
        )
        for state, value in beginnings:
            state.index_fill_(0, slots, value)
        if self.decoding.draws:
            noise = torch.stack([self._noise_of(request) for _, request in admitted])
            self.noise.index_copy_(0, slots, self._upload(noise))

    def _prefill(self, admitted: Sequence[tuple[int, Request]], memories: Memories) -> None:
        """Computes the steps that depend only on a request's prompt, all of them at once.

        A step draws by its own row of the noise, so what later steps choose is the same. Candidates
        of an image begin alike: the first is computed, the others copy it.
        """
        for slot, request in admitted:
            units = self._prompt_steps(request.prompt)
            steps = units.shape[1]
            if not steps:
                continue
            # The unit chosen in step s is the input of step s + 1.
            self.sequence[slot, :, 1 : steps + 1] = self._upload(units)
            source = self._slot_that_begins_like(request)
            if source is None:
                read = self.sequence[slot, :, :steps]
                self.stepper.prefill(slot, memories.entry_of(slot), read)
            else:
                self.stepper.copy_row(source, slot)
            self.prefilled[slot] = request
            self.position[slot] = self.ages[slot] = steps
            frames = int((self.plan.frame_of[0, :steps] >= 0).sum())
            if frames:
                self.last_unit[slot], self.run_length[slot] = _last_run(request.prompt[0, :frames])

    def _slot_that_begins_like(self, request: Request) -> int | None:
        """The slot whose row has the same image and prompt, if one is there."""
        for slot, other in self.prefilled.items():
            if other.image == request.image and torch.equal(other.prompt, request.prompt):
                return slot
        return None

    def _prompt_steps(self, prompt: Tensor) -> Tensor:
        """Returns `[K, T]`: the units of a prompt's first steps that can be computed at once."""
        frames = prompt.shape[1]
        decided = (self.plan.frame_of < frames).all(0).long().cumprod(0).sum()
        frame_of = self.plan.frame_of[:, : self.stepper.prefilled_steps(int(decided))]
        if not frames:
            return frame_of[:, :0]
        units = prompt.long().gather(1, frame_of.clamp_min(0))
        return torch.where(frame_of < 0, self.empty, units)

    def _noise_of(self, request: Request) -> Tensor:
        seed = self.decoding.seed if request.seed is None else request.seed
        steps = len(self.plan.steps)
        return item_noise(seed, request.item, steps, self.codebooks, candidate=request.candidate)

    def _run(self) -> None:
        """Steps all rows: once if a check is free, else until the next check."""
        for _ in range(self.poll):
            for slot in self.ages:
                self.ages[slot] += 1
            # A row that has ended continues until the next check, at most at the last position.
            longest = max(self.ages.values(), default=1)
            window = min(-(-longest // _WINDOW) * _WINDOW, self.stepper.steps)
            if self.shape.attention == "varlen":
                window = self.stepper.steps
            if self.device.type == "cuda":
                self._replay(window)
            else:
                self._advance(window)
            self.steps_run += 1

    def _replay(self, window: int) -> None:
        """Runs the step as one CUDA graph, one for each window."""
        if window not in self.graphs:
            state = [self.sequence, self.position, self.ends, self.broken, self.surety]
            state += [self.last_unit, self.run_length, self.table]
            saved = [tensor.clone() for tensor in state]
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(2):
                    self._advance(window)
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            # One memory pool for all graphs: they run one after the other and leave no data behind.
            pool = next((other.pool() for other in self.graphs.values()), None)
            with torch.cuda.graph(graph, pool=pool):
                self._advance(window)
            self.graphs[window] = graph
            for buffer, value in zip(state, saved, strict=True):
                buffer.copy_(value)
        self.graphs[window].replay()

    def _advance(self, window: int) -> None:
        """Runs one step of every row, in place and without reading any value on the host."""
        before = self.ends.clone()
        last = self.position.clamp_max(self.stepper.steps - 1)
        index = last[:, None, None].expand(-1, self.codebooks, 1)
        units = self.sequence.gather(-1, index)[..., 0]
        logits = self.stepper.logits(units, last, window)
        # A non-finite logit makes its row's sum non-finite, which is ten times as fast to check.
        bad = ~logits.flatten(1).sum(1).isfinite()
        chances = None
        if self.decoding.candidates > 1:
            chances = logits[: self.decoding.slots, 0].log_softmax(-1)
        if self.decoding.guided:
            logits = self.chooser.guide(*logits.chunk(2))
            bad = bad.view(2, -1).any(0)
        bad &= self.busy
        # Only the first codebook may end the speech; the others end with it.
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
        # In the frame that ends the speech no codebook has a unit, including those of this step.
        chosen = torch.where(frame < self.ends[:, None], chosen, self.empty)
        self.broken |= bad
        self.ends.masked_fill_(bad, 0)
        if self.tables is not None:
            # Steps that depend on the end are laid out again as soon as it is known.
            moved = (before != self.ends)[:, None, None]
            self.table.copy_(torch.where(moved, self.tables[self.ends].long(), self.table))
        self.sequence.scatter_(-1, index + 1, chosen[..., None])
        self.position.add_(self.busy)

    def _ended_by_runs(self, units: Tensor) -> Tensor:
        """Returns the first codebook's units `[B]`, with the end where a run gets too long."""
        is_longest = self.run_length >= self.decoding.longest_run
        return units.masked_fill(is_longest & (units == self.last_unit), self.empty)

    def _count_runs(self, units: Tensor, inside: Tensor) -> None:
        """Counts runs with the first codebook's units `[B]` of this step."""
        length = torch.where(units == self.last_unit, self.run_length + 1, 1)
        self.run_length.copy_(torch.where(inside, length, self.run_length))
        self.last_unit.copy_(torch.where(inside, units, self.last_unit))


def _attention_for(device: torch.device, dtype: torch.dtype, dense: bool | None) -> AttentionKind:
    if dense is False or (dense is None and device.type == "cpu"):
        return "ragged"
    in_16_bits = dtype != torch.float32
    return "varlen" if dense is None and in_16_bits and has_kernel(device) else "dense"


def _current(device: torch.device) -> AbstractContextManager[object]:
    """Makes a model's GPU the current one for CUDA's streams and graphs."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _last_run(units: Tensor) -> tuple[int, int]:
    """Returns the last of units `[N]`, and the number of equal units at the end."""
    last = int(units[-1])
    return last, int((units.flip(0) == last).long().cumprod(0).sum())


def _nothing(request: Request) -> Generation:
    return Generation(
        item=request.item, units=request.prompt[:, :0], ended=False, reason=NOT_FINITE
    )


def generate(
    model: PixVoxNetwork, images: Tensor, requests: Sequence[Request], decoding: Decoding
) -> list[Generation]:
    """Decodes all requests over image states `[I, P, M_vision]` once (see Engine)."""
    return Engine(model, decoding).generate(images, requests)
