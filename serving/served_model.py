"""The model that is being served, with what is computed once for all requests; swapped whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic_core import to_json

from features import matrix
from features.attributes import Attribute
from features.history import DAY_US, from_rows
from features.matrix import Leads
from training.scorer import LeadScorer


@dataclass(frozen=True)
class ServedModel:
    """A scorer that is warm, and the vocabulary by which requests are judged.

    Attributes
    ----------
    scorer : LeadScorer
    attributes : mapping of name to Attribute
    types, channels : frozenset of str
        Those the model knows, the event types of the sales process included.
    block : bytes
        The JSON that says which model answers.
    """

    scorer: LeadScorer
    attributes: Mapping[str, Attribute]
    types: frozenset[str]
    channels: frozenset[str]
    block: bytes

    @classmethod
    def of(cls, scorer: LeadScorer) -> "ServedModel":
        """Take a scorer into service: everything is compiled once, so that no request waits."""
        _warm_up(scorer)
        spec = scorer.spec
        return cls(
            scorer,
            {attribute.name: attribute for attribute in spec.attributes},
            frozenset((*spec.types, *spec.sales)),
            frozenset(spec.channels),
            to_json(identity(scorer)),
        )


@dataclass
class Supply:
    """How a model that is followed gets here.

    Attributes
    ----------
    missed_since_us : int or None
        Since when the registry could not be used.
    trouble : str
        In which way: ``unreachable``, or ``without this model``.
    refused : str or None
        The version that should be served and cannot.
    swaps, misses, refusals : int
        Models that took another's place, failed looks at the registry, versions refused.
    """

    missed_since_us: int | None = None
    trouble: str = ""
    refused: str | None = None
    swaps: int = 0
    misses: int = 0
    refusals: int = 0


@dataclass
class ModelSlot:
    """The place of the model in a running service; a request reads `model` once.

    Attributes
    ----------
    model : ServedModel or None
    why_empty : str
        Said by ``/readyz`` while there is none.
    supply : Supply or None
        Where it is followed.
    """

    model: ServedModel | None = None
    why_empty: str = "no model is loaded yet"
    supply: Supply | None = None


def identity(scorer: LeadScorer) -> dict[str, Any]:
    """Return which model answers: its name, version, digest and what it was trained for."""
    return {
        "name": scorer.name,
        "version": scorer.version,
        "digest": scorer.digest,
        "horizon_days": scorer.card.horizon_days,
        "trained_until": scorer.card.trained_until,
    }


def _warm_up(scorer: LeadScorer) -> None:
    matrix.warm_up()
    history = from_rows([[(DAY_US, DAY_US, "web_visit", "web", 1.0)]])
    columns = {attribute.name: [None] for attribute in scorer.spec.attributes}
    lead = Leads(np.zeros(1, np.int64), columns, history, np.zeros(1, np.int64))
    as_of = np.array([2 * DAY_US])
    scorer.score(lead, as_of)
    scorer.explain(lead, as_of, np.zeros(1, np.int64))
