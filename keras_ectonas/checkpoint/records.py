"""The state of a search as JSON and back. Each record's fields are named here, so that none is forgotten unseen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..lineage import Candidate, EpochRecord, Match, Refusal
from ..network import Network
from ..search.front import FrontMember
from ..search.planning import Plan
from .values import decoded, encoded

__all__ = ["CANDIDATE", "FRONT_MEMBER", "PLAIN_STATE", "state_from", "state_to"]

CANDIDATE = (
    "id",
    "parent",
    "generation",
    "mutation",
    "description",
    "n_params",
    "step",
    "architecture",
    "score",
    "status",
    "steps",
    "seconds",
    "remark",
)
"""Fields of `Candidate` that are plain data. Its network and its records are written in a way of their own."""

FRONT_MEMBER = ("candidate", "step", "n_params", "score")
"""Fields of `FrontMember` that are plain data."""

PLAIN_STATE = (
    "phase",
    "generation",
    "parents",
    "pools",
    "round",
    "shorter",
    "parts",
    "rate",
    "best",
    "ended_by",
    "ended_in",
    "seconds",
    "seconds_before",
    "granted",
    "time_granted",
    "failed_generations",
    "rng",
    "limit",
    "charges",
)
"""Parts of a search's state that are plain data. Candidates, matches, the front, refusals and the plan are records."""


def state_to(state: Mapping[str, Any], stored: Callable[[Network], str]) -> dict[str, Any]:
    """What ``Search.state`` gave, in JSON.

    Parameters
    ----------
    state : mapping
    stored : callable
        Gives the name under which a network is kept.
    """
    written = {name: encoded(state[name], name) for name in PLAIN_STATE}
    written["candidates"] = [_candidate_to(candidate, stored) for candidate in state["candidates"]]
    written["refusals"] = [encoded(dict(refusal.__dict__), "a refusal") for refusal in state["refusals"]]
    written["matches"] = [encoded(dict(match.__dict__), "a match") for match in state["matches"]]
    written["front"] = [_member_to(member, stored) for member in state["front"]]
    written["plan"] = encoded(dict(state["plan"].__dict__), "the plan")
    return written


def state_from(written: Mapping[str, Any], network: Callable[[str], Network]) -> dict[str, Any]:
    """The reverse of `state_to`; `network` gives what is kept under a name."""
    state = {name: decoded(written[name]) for name in PLAIN_STATE}
    state["candidates"] = [_candidate_from(candidate, network) for candidate in written["candidates"]]
    state["refusals"] = [Refusal(**decoded(refusal)) for refusal in written["refusals"]]
    state["matches"] = [Match(**decoded(match)) for match in written["matches"]]
    state["front"] = [
        FrontMember(**{name: decoded(member[name]) for name in FRONT_MEMBER}, network=network(member["network"]))
        for member in written["front"]
    ]
    state["plan"] = Plan(**decoded(written["plan"]))
    return state


def _candidate_to(candidate: Candidate, stored: Callable[[Network], str]) -> dict[str, Any]:
    written = {name: encoded(getattr(candidate, name), name) for name in CANDIDATE}
    written["records"] = [
        [encoded(record.step, "step"), encoded(record.score, "score"), encoded(record.logs, "logs")]
        for record in candidate.records
    ]
    written["network"] = None if candidate.network is None else stored(candidate.network)
    return written


def _member_to(member: FrontMember, stored: Callable[[Network], str]) -> dict[str, Any]:
    written = {name: encoded(getattr(member, name), name) for name in FRONT_MEMBER}
    return {**written, "network": stored(member.network)}


def _candidate_from(written: Mapping[str, Any], network: Callable[[str], Network]) -> Candidate:
    records = [EpochRecord(decoded(step), decoded(score), decoded(logs)) for step, score, logs in written["records"]]
    kept = None if written["network"] is None else network(written["network"])
    return Candidate(**{name: decoded(written[name]) for name in CANDIDATE}, network=kept, records=records)
