"""The judged leads as they were known, kept beside a version to judge others on; no verdicts."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from features.history import Int64, from_arrow
from features.matrix import Leads, leads_from_arrow
from features.relations import rows_of
from training.judging import Judged
from training.origins import lead_hash
from training.study import Study
from training.tracking import JUDGED

Float64 = npt.NDArray[np.float64]

MOST_LEADS = 10_000
AS_OF, WON, SCORE, BASELINE = "judged_as_of", "judged_won", "judged_score", "judged_baseline_"
_TIME = pa.timestamp("us", "UTC")


@dataclass(frozen=True)
class JudgedLeads:
    """Out-of-time judged leads, one row a lead.

    Attributes
    ----------
    leads : pa.Table
        The leads table, attributes with a history as they stood at `AS_OF`, with that moment; `WON`
        (empty where it is not known yet); `SCORE`, what the recipe gave the lead when it was fitted
        before the lead came; the same of each baseline.
    events : pa.Table
        Of these leads, as far as known at `AS_OF`.
    """

    leads: pa.Table
    events: pa.Table

    def __len__(self) -> int:
        """Return the number of leads."""
        return self.leads.num_rows

    @property
    def lead_id(self) -> list[str]:
        """The leads' ids."""
        return self.leads["lead_id"].to_pylist()

    @property
    def as_of_us(self) -> Int64:
        """The moment each lead was judged at."""
        return self.leads[AS_OF].cast(pa.int64()).to_numpy()

    @property
    def won(self) -> Float64:
        """1 or 0 within the horizon; NaN where it is not known yet."""
        return self._numbers(WON)

    @property
    def score(self) -> Float64:
        """Out-of-time probability of the recipe."""
        return self._numbers(SCORE)

    @property
    def baselines(self) -> dict[str, Float64]:
        """Out-of-time probabilities of the baselines."""
        names = [name for name in self.leads.column_names if name.startswith(BASELINE)]
        return {name.removeprefix(BASELINE): self._numbers(name) for name in names}

    @property
    def raw(self) -> Leads:
        """The leads as `LeadScorer.score` takes them, as `leadqual score` would read them."""
        segment = rows_of(self.events["lead_id"], self.leads["lead_id"])
        return leads_from_arrow(self.leads, from_arrow(self.events, segment, len(self)))

    def save(self, folder: Path) -> None:
        """Write two tables into ``judged/`` in a folder."""
        place = folder / JUDGED
        place.mkdir(parents=True, exist_ok=True)
        pq.write_table(self.leads, place / "leads.parquet")
        pq.write_table(self.events, place / "events.parquet")

    @classmethod
    def load(cls, place: Path) -> "JudgedLeads":
        """Read what `save` wrote."""
        return cls(pq.read_table(place / "leads.parquet"), pq.read_table(place / "events.parquet"))

    def _numbers(self, name: str) -> Float64:
        return self.leads[name].cast(pa.float64()).to_numpy()


def judged_leads(study: Study, judged: Judged, most: int = MOST_LEADS) -> JudgedLeads:
    """Keep the judged leads at their headline snapshot; of more than `most`, those a hash takes.

    The hash is of the lead's id, so that versions trained on one CRM keep the same leads.
    """
    kept = np.flatnonzero(study.headline[judged.row])
    lead = study.snapshots.lead[judged.row[kept]]
    hashes = lead_hash(study.crm.table["lead_id"].take(pa.array(lead)).to_pylist())
    kept = kept[np.sort(np.argsort(hashes, kind="stable")[:most])]
    row = judged.row[kept]
    lead, as_of_us = study.snapshots.lead[row], study.snapshots.as_of_us[row]
    leads = study.crm.records(lead, as_of_us)
    known = study.at_until
    told = {
        AS_OF: pa.array(as_of_us).cast(_TIME),
        WON: pa.array(known.won[row] > 0, mask=~known.matured[row]),
        SCORE: pa.array(judged.model[kept]),
        **{f"{BASELINE}{name}": pa.array(p[kept]) for name, p in judged.baselines.items()},
    }
    for name, column in told.items():
        leads = leads.append_column(name, column)
    return JudgedLeads(leads, _events(study, lead, as_of_us))


def _events(study: Study, lead: Int64, as_of_us: Int64) -> pa.Table:
    history = study.crm.leads.history
    runs = list(_known_events(study, lead, as_of_us))
    row = np.concatenate([np.empty(0, np.int64), *runs])
    owner = np.repeat(lead, [len(run) for run in runs])
    value = history.value[row] if len(history.value) else np.full(len(row), np.nan)
    return pa.table(
        {
            "lead_id": study.crm.table["lead_id"].take(pa.array(owner)),
            "occurred_at": pa.array(history.occurred_us[row]).cast(_TIME),
            "event_type": _named(history.types, history.type_code[row]),
            "channel": _named(history.channels, history.channel_code[row]),
            "value": pa.array(value.astype(np.float64), from_pandas=True),
            "recorded_at": pa.array(history.known_us[row]).cast(_TIME),
        }
    )


def _known_events(study: Study, lead: Int64, as_of_us: Int64) -> Iterator[Int64]:
    history = study.crm.leads.history
    for one, moment in zip(lead.tolist(), as_of_us.tolist(), strict=True):
        segment = study.crm.leads.segment[one]
        row = np.arange(history.ptr[segment], history.ptr[segment + 1])
        yield row[history.known_us[row] <= moment]


def _named(names: tuple[str, ...], code: npt.NDArray[np.integer]) -> pa.Array:
    """Give the names of codes; one beyond the names stands for none."""
    known = pa.array([*names, None], pa.string())
    return known.take(pa.array(np.minimum(code.astype(np.int64), len(names))))
