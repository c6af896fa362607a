"""A history of attributes for a simulated CRM: an honest funnel, and what gives outcomes away."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.history import DAY_US
from features.timestamps import UTC_US, micros
from training.simulator import NOW_US, World

LEAKS = ("contract_status", "deal_probability")
STAGES = ("new", "engaged", "qualified", "negotiation")
REACHED = ((0.9, 0.5), (0.8, 0.25), (0.7, 0.15))
"""Of the leads in a stage, the share that reaches the next: of those to be won, and of others."""

Float64 = npt.NDArray[np.float64]


def changes(world: World, seed: int, *, leaky: bool) -> pa.Table:
    """Make a table of changes for a world: `stage` and `owner`, and with `leaky` also `LEAKS`.

    `stage` moves on more often where a lead will be won, at moments spread over its life. Of the
    leaks one is written some days before nearly every win, the other, a number, is raised then and
    drawn by lot otherwise.
    """
    rng = np.random.default_rng((seed, 77))
    ids = np.array(world.leads["lead_id"].to_pylist())
    created = micros(world.leads["created_at"])
    won_us = _won(world, ids)
    end = np.minimum(np.where(won_us > 0, won_us, created + 120 * DAY_US), NOW_US)
    won = won_us > 0
    columns: list[tuple[str, npt.NDArray[np.intp], Float64, list[str]]] = []

    def write(name: str, lead: npt.NDArray[np.intp], part: Float64, values: list[str]) -> None:
        columns.append((name, lead, created[lead] + part * (end - created)[lead], values))

    every = np.arange(len(ids))
    write("stage", every, np.zeros(len(ids)), [STAGES[0]] * len(ids))
    write("owner", every, np.zeros(len(ids)), rng.choice(["a", "b", "c"], len(ids)).tolist())
    moved = rng.choice(every, len(ids) // 5, replace=False)
    write("owner", moved, rng.random(len(moved)), rng.choice(["a", "b"], len(moved)).tolist())
    part, here = np.zeros(len(ids)), every
    for stage, (of_won, of_others) in zip(STAGES[1:], REACHED, strict=True):
        here = here[rng.random(len(here)) < np.where(won[here], of_won, of_others)]
        part[here] += (1 - part[here]) * rng.random(len(here))
        write("stage", here, part[here], [stage] * len(here))
    if leaky:
        late = every[won & (rng.random(len(ids)) < 0.95)]
        days = (end - created)[late] / DAY_US
        near = 1 - np.minimum(rng.uniform(0.5, 5, len(late)), days * 0.9) / np.maximum(days, 1e-9)
        write(LEAKS[0], every, np.zeros(len(ids)), ["none"] * len(ids))
        write(LEAKS[0], late, near, ["sent"] * len(late))
        write(LEAKS[1], every, np.zeros(len(ids)), _shown(rng.uniform(0.05, 0.6, len(ids))))
        write(LEAKS[1], moved, rng.random(len(moved)), _shown(rng.uniform(0.05, 0.6, len(moved))))
        write(LEAKS[1], late, near, _shown(rng.uniform(0.9, 1, len(late))))
    return _table(columns, ids)


def _won(world: World, ids: npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
    """When each lead is won by the export, 0 for never."""
    wins = world.outcomes.filter(pc.equal(world.outcomes["outcome"], "won"))
    row = {name: at for at, name in enumerate(ids)}
    won = np.zeros(len(ids), np.int64)
    won[[row[name] for name in wins["lead_id"].to_pylist()]] = micros(wins["closed_at"])
    return won


def _shown(numbers: Float64) -> list[str]:
    return [f"{number:.2f}" for number in numbers]


def _table(
    columns: list[tuple[str, npt.NDArray[np.intp], Float64, list[str]]],
    ids: npt.NDArray[np.str_],
) -> pa.Table:
    parts = [
        pa.table(
            {
                "lead_id": ids[lead],
                "changed_at": pa.array(moment.astype(np.int64)).cast(UTC_US),
                "attribute": [name] * len(lead),
                "value": values,
            }
        )
        for name, lead, moment, values in columns
    ]
    return pa.concat_tables(parts)
