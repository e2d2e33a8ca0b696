"""All candidates of a search, and who of them still has weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import SearchError
from ..lineage import Candidate
from ..network import Network

__all__ = ["Population"]


class Population(list[Candidate]):
    """Candidates by their numbers, from the start model on. Nobody leaves; those who lose let go of their weights."""

    def join(
        self, parent: Candidate | None, mutation: str, description: str, network: Network, generation: int, step: int
    ) -> Candidate:
        """A new candidate with the next number."""
        candidate = Candidate(
            id=len(self),
            parent=None if parent is None else parent.id,
            generation=generation,
            mutation=mutation,
            description=description,
            n_params=network.n_params,
            step=step,
            network=network,
            architecture=network.summary(),
        )
        self.append(candidate)
        return candidate

    def network(self, number: int) -> Network:
        """The network of a candidate; raises `SearchError` if it has let go of its weights."""
        network = self[number].network
        if network is None:
            raise SearchError(f"The weights of candidate {number} were dropped when it lost.")
        return network

    def unscored(self, numbers: Iterable[int]) -> list[int]:
        """Those who have not been trained yet, and have not failed."""
        return [number for number in numbers if self[number].score is None and self[number].status != "failed"]

    def dismiss(self, pools: Sequence[Sequence[int]], kept: Sequence[int], best: int) -> None:
        """Let go of the weights of all who are not kept, but for the best's."""
        for number in {number for pool in pools for number in pool} - set(kept):
            loser = self[number]
            if loser.status == "competing":
                loser.status = "lost"
            if number != best:
                loser.network = None
