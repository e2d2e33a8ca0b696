"""The compiled engine: an epoch of a candidate is one call of one compiled program."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from joblib import cpu_count

from ...lineage import EpochRecord, TrainingJob, TrainingOutcome
from ...network import Array, Network
from ...random_state import untouched_random_state
from ...surgery.walk import shapes_of
from ..base import Assignment, DivergedError, Engine, left_out, portions
from ..fit import FitEngine
from ..sharing import clear_compiled_programs, training
from .compiler import compiled, on_cpu
from .head import Head
from .padding import ELEMENTWISE_OPTIMIZERS, Padding
from .program import Program
from .rows import DeviceRows
from .support import reason_against_layer

__all__ = ["CompiledEngine"]

_LOGGER = logging.getLogger(__name__)
_PROGRAMS_KEPT: Final = 8
"""As many as a generation and its parents have."""

_DROPPED_BEFORE_CLEARING: Final = 16
_MOST_COMPILERS: Final = 4
_FEW_STEPS: Final = 2000
"""Of a job and those that may follow it: with fewer, compilation is what takes time, and programs are shared by padding
and compiled quickly."""


@dataclass(frozen=True)
class _Work:
    """A job with the program that carries it out.

    Parameters
    ----------
    job : TrainingJob
    padding : Padding
    program : Program
    executable : Future
        What the program is compiled to.
    """

    job: TrainingJob
    padding: Padding
    program: Program
    executable: Future[Any]


class _Key(NamedTuple):
    """What programs are told apart by."""

    architecture: str
    quickly: bool


class CompiledEngine(Engine):
    """Trains with programs that JAX compiles, and leaves to ``fit`` what it does not support.

    Parameters
    ----------
    assignment : Assignment
    n_threads : int
        Candidates trained side by side.
    """

    def __init__(self, assignment: Assignment, n_threads: int = 1) -> None:
        self._assignment = assignment
        self._rows = DeviceRows(assignment.data)
        optimizer = assignment.blueprint.compilation.optimizer.get("class_name")
        self._elementwise = optimizer in ELEMENTWISE_OPTIMIZERS
        self._own_kernels = on_cpu()
        self._head: Head | None = None
        self._programs: OrderedDict[_Key, tuple[Program, Future[Any]]] = OrderedDict()
        self._refused: set[_Key] = set()
        self._n_kept = _PROGRAMS_KEPT
        self._n_dropped = 0
        self._fallback: FitEngine | None = None
        self._n_threads = n_threads
        self._compiler = ThreadPoolExecutor(min(cpu_count(), _MOST_COMPILERS), "compile")
        self._trainers = ThreadPoolExecutor(n_threads, "train")
        self._closing = threading.Event()

    def train(self, jobs: Sequence[TrainingJob]) -> list[TrainingOutcome]:
        with training():
            outcomes = self._trained(jobs)
        if self._n_dropped >= _DROPPED_BEFORE_CLEARING:
            self._n_dropped = 0
            clear_compiled_programs()
        return outcomes

    def _trained(self, jobs: Sequence[TrainingJob]) -> list[TrainingOutcome]:
        # Whoever trains now may train again in the next round.
        self._n_kept = max(_PROGRAMS_KEPT, len(jobs))
        works = {number: self._work(job) for number, job in enumerate(jobs) if not self._leaves_out(job)}
        # Those whose programs are there already go first, while the others' are compiled.
        order = sorted(works, key=lambda number: (work := works[number]) is not None and not work.executable.done())
        outcomes: dict[int, TrainingOutcome | None] = {}
        if self._n_threads == 1:
            outcomes = {number: self._carried_out(works[number]) for number in order}
        else:
            outcomes = dict(zip(order, self._trainers.map(lambda n: self._carried_out(works[n]), order), strict=True))
        return [
            left_out(job) if number not in works else outcomes[number] or self._by_fit(job)
            for number, job in enumerate(jobs)
        ]

    def close(self) -> None:
        self._closing.set()
        # Compilation cannot be broken off: where nobody has time, it ends by itself.
        self._compiler.shutdown(wait=not self._assignment.deadline.is_over(), cancel_futures=True)
        self._trainers.shutdown(cancel_futures=True)
        self._programs.clear()
        if self._fallback is not None:
            self._fallback.close()
        gc.collect()

    def _work(self, job: TrainingJob) -> _Work | None:
        """The job with its program, which is compiled in the background; None if ``fit`` has to do it."""
        quickly = max(job.steps, job.steps_in_all) < _FEW_STEPS
        padding = Padding.of(job.network) if self._elementwise and quickly else Padding(())
        padded = padding.apply(job.network)
        key = _Key(padded.architecture(), quickly)
        if key in self._refused:
            return None
        if key not in self._programs:
            reason = self._compile(key, padded)
            if reason:
                _LOGGER.info("candidate %d is trained by Keras' fit: %s", job.candidate, reason)
                self._refused.add(key)
                return None
        self._programs.move_to_end(key)
        while len(self._programs) > self._n_kept:
            self._programs.popitem(last=False)
            self._n_dropped += 1
        return _Work(job, padding, *self._programs[key])

    def _compile(self, key: _Key, network: Network) -> str:
        """Begin to compile a program; why it cannot be, else nothing."""
        reason = reason_against_layer(network)
        if reason:
            return reason
        try:
            with untouched_random_state():
                program = Program(
                    network, self._assignment.blueprint, self._head_for(network), self._own_kernels, self._elementwise
                )
                schedule, _ = self._rows.schedule(program.n_outputs)
                lowered = program.lowered(self._rows.rows, schedule)
        except Exception as error:  # Whatever a layer of the user's own may raise when it is traced.
            return f"{type(error).__name__}: {error}"
        self._programs[key] = program, self._compiler.submit(compiled, lowered, key.quickly)
        return ""

    def _head_for(self, network: Network) -> Head:
        """The losses and metrics, which are the same for all candidates."""
        if self._head is None:
            shape = shapes_of(network)[-1]
            rows = self._assignment.data.train
            self._head = Head(self._assignment.blueprint.compilation, shape, rows.y[:2], self._rows.is_weighted)
        return self._head

    def _by_fit(self, job: TrainingJob) -> TrainingOutcome:
        if self._fallback is None:
            self._fallback = FitEngine(self._assignment)
        return self._fallback.train([job])[0]

    def _leaves_out(self, job: TrainingJob) -> bool:
        return self._closing.is_set() or self._assignment.deadline.leaves_out(job)

    def _carried_out(self, work: _Work | None) -> TrainingOutcome | None:
        """What came of the work; None if it is to be done by ``fit``."""
        if work is None:
            return None
        deadline = self._assignment.deadline
        try:
            work.program.take(work.executable.result(None if work.job.is_needed else deadline.seconds_left()))
        except (TimeoutError, CancelledError):
            return left_out(work.job)
        except Exception:  # A compiler gives up in many ways, out of memory among them; ``fit`` may still manage.
            _LOGGER.warning("candidate %d goes to fit: it could not be compiled", work.job.candidate, exc_info=True)
            return None
        if self._leaves_out(work.job):
            return left_out(work.job)
        job, began = work.job, time.perf_counter()
        training = _Training(work, self._assignment, self._rows, self._closing)
        try:
            network, failure = training.run(), ""
            failure = "" if network.is_finite() else "a weight is not finite"
        except DivergedError as error:
            failure = str(error)
        except Exception as error:  # A candidate's failure is the record's business, not the search's end.
            _LOGGER.warning("candidate %d failed in training", job.candidate, exc_info=True)
            failure = f"{type(error).__name__}: {error}"
        seconds = time.perf_counter() - began
        return TrainingOutcome(
            job.network if failure else network, tuple(training.records), training.steps_taken, seconds, failure
        )


class _Training:
    """One job under way."""

    def __init__(self, work: _Work, assignment: Assignment, rows: DeviceRows, closing: threading.Event) -> None:
        self._work = work
        self._assignment = assignment
        self._rows = rows
        self._closing = closing
        self.records: list[EpochRecord] = []
        self.steps_taken = 0

    def run(self) -> Network:
        """Train, keep records, and give back the network as it is then."""
        job, program = self._work.job, self._work.program
        padded = self._work.padding.apply(job.network)
        carry = program.carry(padded, job.seed)
        if job.steps == 0:
            carry = self._epoch(carry, np.empty((0, self._rows.batch_size), np.int32))
        per_epoch = portions(job.steps, self._assignment.data.steps_per_epoch)
        for epoch, steps in enumerate(steps for steps, n_epochs in per_epoch for _ in range(n_epochs)):
            if self._is_over():
                break
            carry = self._epoch(carry, self._rows.batches(steps, job.seed, epoch))
        return self._work.padding.undo(program.network_with(padded, carry))

    def _is_over(self) -> bool:
        if self._closing.is_set():
            return True
        has_what_it_needs = bool(self.records) or not self._work.job.is_needed
        return has_what_it_needs and self._assignment.deadline.is_over()

    def _epoch(self, carry: Any, batches: Array) -> Any:
        """Train on `batches` and score the result."""
        program, summary = self._work.program, None
        at_once = self._rows.steps_at_once(program.n_outputs)
        for start in range(0, max(1, len(batches)), at_once):
            part = batches[start : start + at_once]
            is_last = start + at_once >= len(batches)
            schedule, n_batches = self._rows.schedule(program.n_outputs, part, is_last)
            rates = np.ones(len(schedule), np.float32)
            rates[: len(part)] = [self._work.job.rate(self.steps_taken + step) for step in range(len(part))]
            result = program(carry, self._rows.rows, schedule, rates, len(part), n_batches)
            carry = result.carry
            summary = self._rows.summary(program.head, result, schedule, len(part), is_last, summary)
            self.steps_taken += len(part)
        if summary is None:
            raise RuntimeError("no batch was looked at")
        logs = {f"val_{name}": value for name, value in summary.held_out.items()}
        if len(batches):
            logs = {**summary.trained, "loss": summary.total / len(batches), **logs}
        step = self._work.job.first_step + self.steps_taken
        self.records.append(self._assignment.record(step, logs, lambda: np.asarray(summary.outputs)))
        return carry
