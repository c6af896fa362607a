"""The model as MLflow runs it: raw leads in a DataFrame through `LeadScorer`; it decides nothing.

MLflow executes this file ("models from code"): it is stored with a model, and needs this package.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import mlflow.models
import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow.pyfunc.model import PythonModel

from features.history import from_rows
from features.matrix import Leads
from features.moments import to_us
from training.scorer import DECISIONS, GRADES, LeadScorer


class RawLeads(PythonModel):
    """One row a lead, all text: its record and events as JSON, times in ISO 8601 with a zone."""

    def load_context(self, context: Any) -> None:
        """Open the artifact with all of its checks."""
        self.scorer = LeadScorer.load(Path(context.artifacts["leadqual"]))

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None
    ) -> pd.DataFrame:
        """Score every row at its ``as_of``.

        Parameters
        ----------
        context : ignored
        model_input : pd.DataFrame
            ``lead_id``, ``created_at``, ``as_of``; optional ``attributes`` (a JSON object) and
            ``events`` (a JSON list of objects with ``event_type``, ``occurred_at`` and optional
            ``channel``, ``value`` and ``recorded_at``).
        params : ignored

        Returns
        -------
        pd.DataFrame
            ``lead_id``, ``score``, ``percentile`` (NaN without a score), ``grade``, ``decision``
            and ``why``, in the same order.
        """
        scores = self.scorer.score(*leads_of(model_input))
        return pd.DataFrame(
            {
                "lead_id": model_input["lead_id"].to_numpy(),
                "score": scores.score,
                "percentile": scores.percentile,
                "grade": np.array(GRADES, object)[scores.grade],
                "decision": np.array(DECISIONS, object)[scores.decision],
                "why": np.array(scores.whys, object)[scores.why],
            }
        )


def leads_of(rows: pd.DataFrame) -> tuple[Leads, npt.NDArray[np.int64]]:
    """Read raw leads and their moments; a ValueError names the first that cannot be read."""
    events, attributes, created, as_of = [], [], [], []
    for row in rows.to_dict("records"):
        try:
            created.append(_micros(row["created_at"]))
            as_of.append(_micros(row["as_of"]))
            attributes.append(_parsed(row.get("attributes"), {}))
            events.append([_event(event) for event in _parsed(row.get("events"), [])])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(
                f"lead {row['lead_id']!r} cannot be read: {type(error).__name__} {error}"
            ) from error
    names = sorted({name for record in attributes for name in record})
    columns = {name: [record.get(name) for record in attributes] for name in names}
    leads = Leads(np.array(created, np.int64), columns, from_rows(events), np.arange(len(rows)))
    return leads, np.array(as_of, np.int64)


def _event(event: Mapping[str, Any]) -> tuple[int, int, str, str | None, float | None]:
    occurred = _micros(event["occurred_at"])
    recorded = event.get("recorded_at")
    known = occurred if recorded is None else max(occurred, _micros(recorded))
    return occurred, known, event["event_type"], event.get("channel"), event.get("value")


def _parsed(text: str | None, empty: Any) -> Any:
    return json.loads(text) if isinstance(text, str) and text else empty


def _micros(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone: write {text}Z or {text}+09:00")
    return to_us(moment)


mlflow.models.set_model(RawLeads())
