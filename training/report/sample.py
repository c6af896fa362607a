"""The judged leads at their headline snapshot as arrays, one row a lead; no figures."""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.history import Int64
from training import handoff
from training.handoff import Rule
from training.judging import Judged
from training.study import Study

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Sample:
    """One row a lead.

    Attributes
    ----------
    row : int64 [leads]
        The snapshot.
    lead : int64 [leads]
        Row of the leads table.
    cluster : int64 [leads]
        What intervals draw: the lead, or its account.
    as_of_us : int64 [leads]
    score : float64 [leads]
        Of a model that had not seen the lead.
    won : float64 [leads]
        1 or 0 within the horizon; NaN where it is too early to tell.
    handed : bool [leads]
        The rule, as it was fixed before these leads came, hands the lead off at this moment.
    """

    row: Int64
    lead: Int64
    cluster: Int64
    as_of_us: Int64
    score: Float64
    won: Float64
    handed: Bool

    def __len__(self) -> int:
        return len(self.row)

    def rows(self, chosen: Bool) -> "Sample":
        """Return the rows of a mask."""
        return Sample(*(getattr(self, field.name)[chosen] for field in fields(self)))

    @property
    def matured(self) -> "Sample":
        """The leads whose outcome is known."""
        return self.rows(~np.isnan(self.won))


def sample(study: Study, judged: Judged, rule: Rule) -> Sample:
    """Take the judged leads at their headline snapshot, with what the rule decides there."""
    head = study.headline[judged.row]
    row, score = judged.row[head], judged.model[head]
    known, snapshots = study.at_until, study.snapshots.rows(row)
    return Sample(
        row,
        snapshots.lead,
        study.cluster[snapshots.lead],
        snapshots.as_of_us,
        score,
        np.where(known.matured[row], known.won[row], np.nan),
        handoff.decide(rule, study.flaggable(row, score))[0] == handoff.HAND_OFF,
    )


def lead_ids(study: Study, lead: Int64) -> list[str]:
    """Return the ids of leads."""
    return study.crm.table["lead_id"].take(pa.array(lead)).to_pylist()
