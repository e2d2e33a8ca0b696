"""An engine that trains nothing and scores by a rule: searches with it take milliseconds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from keras_ectonas.lineage import EpochRecord, TrainingJob, TrainingOutcome
from keras_ectonas.network import Network


@dataclass
class FakeEngine:
    """Scores networks by `score(network, steps along the lineage)`; fails those for which `fails` gives a text.

    A step of a job takes ``pace(job)`` seconds. The loss on validation rows is ``loss(steps along the lineage)``, and
    that on training rows is smaller by the share ``lead``.
    """

    score: Callable[[Network, int], float]
    fails: Callable[[TrainingJob], str] = lambda job: ""
    jobs: list[TrainingJob] = field(default_factory=list)
    pace: Callable[[TrainingJob], float] = lambda job: 0.0
    loss: Callable[[int], float] = lambda step: 1.0
    lead: float = 0.5

    def train(self, jobs: Sequence[TrainingJob]) -> list[TrainingOutcome]:
        return [self._train_one(job) for job in jobs]

    def _train_one(self, job: TrainingJob) -> TrainingOutcome:
        self.jobs.append(job)
        failure = self.fails(job)
        if failure:
            return TrainingOutcome(job.network, (), job.steps // 2, 0.0, failure)
        step = job.first_step + job.steps
        record = EpochRecord(step, self.score(job.network, step), self._losses(step))
        return TrainingOutcome(job.network, (record,), job.steps, self.pace(job) * job.steps)

    def _losses(self, step: int) -> dict[str, float]:
        loss = self.loss(step)
        return {"loss": (1 - self.lead) * loss, "val_loss": loss}


def by_kind(kind: str) -> Callable[[Network, int], float]:
    """More layers of this kind are better, and more training is a little better."""

    def score(network: Network, step: int) -> float:
        return sum(layer.kind == kind for layer in network.layers) + 1e-6 * step

    return score


def by_chance(seed: int) -> Callable[[Network, int], float]:
    rng = np.random.default_rng(seed)
    return lambda network, step: float(rng.random())
