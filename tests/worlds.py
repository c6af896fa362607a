"""Whole CRMs for tests, a plain one and the simulator's, and training runs that end quickly."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from features.changes import timelines
from features.readers import Tables
from features.relations import Int32, rows_of
from tests.factories import AS_OF_US, TIME, at, event, make_events
from training import recipes, simulator, trees
from training.config import Config, Label
from training.crm import Crm, from_tables
from training.learning import Learned, learn

HORIZON_DAYS = 30
PLAIN = Config(label=Label(horizon_days=HORIZON_DAYS))


@dataclass(frozen=True)
class World:
    """Three tables and the moment of their export."""

    leads: pa.Table
    events: pa.Table
    outcomes: pa.Table
    until_us: int = AS_OF_US
    changes: pa.Table | None = None

    @property
    def tables(self) -> Tables:
        """As the readers give them."""

        def rows(table: pa.Table) -> Int32:
            return rows_of(table["lead_id"], self.leads["lead_id"])

        known = (
            {}
            if self.changes is None
            else timelines(self.changes, rows(self.changes), {}, self.leads)
        )
        return Tables(
            self.leads,
            self.events,
            self.outcomes,
            (),
            self.until_us,
            rows(self.events),
            rows(self.outcomes),
            known,
        )

    @property
    def crm(self) -> Crm:
        """As a training run sees it."""
        return from_tables(self.tables)


def make_outcomes(
    facts: Mapping[str, tuple[float, str]] | Sequence[tuple[str, float, str]], **known
):
    """Make an outcomes table of (age in days, won or lost) by lead, known when it happened.

    >>> make_outcomes({"lead-1": (3, "won")})["outcome"].to_pylist()
    ['won']
    """
    rows = [(lead, *fact) for lead, fact in facts.items()] if isinstance(facts, Mapping) else facts
    closed = [at(age) for _, age, _ in rows]
    late = [
        at(known[lead]) if lead in known else when
        for (lead, *_), when in zip(rows, closed, strict=True)
    ]
    return pa.table(
        {
            "lead_id": pa.array([lead for lead, *_ in rows], pa.string()),
            "closed_at": pa.array(closed, TIME),
            "outcome": pa.array([outcome for *_, outcome in rows], pa.string()),
            "recorded_at": pa.array(late, TIME),
        }
    )


@cache
def plain_world(leads: int = 400, seed: int = 0, days: int = 300) -> World:
    """Make leads of which three in ten inquire, seven in ten of those are won, of others one in 20.

    They come evenly over `days`; wins come 8 to 25 days after, half of the others are lost.
    """
    rng = np.random.default_rng(seed)
    ids = [f"リード-{k:04}" for k in range(leads)]
    age = np.linspace(days, 1, leads).round(3)
    keen = rng.random(leads) < 0.3
    won = rng.random(leads) < np.where(keen, 0.7, 0.05)
    lost = ~won & (rng.random(leads) < 0.5)
    close = age - rng.uniform(8, 25, leads)
    happened = {
        lead: [
            *(event(a - d) for d in rng.uniform(0, 20, rng.integers(0, 5)) if a - d > 0),
            *([event(a - 0.5, "inquiry", "form")] if inquires else []),
        ]
        for lead, a, inquires in zip(ids, age.tolist(), keen, strict=True)
    }
    closes = {
        lead: (when, "won" if wins else "lost")
        for lead, when, wins, loses in zip(ids, close.tolist(), won, lost, strict=True)
        if (wins or loses) and when >= 0
    }
    records = pa.table(
        {
            "lead_id": pa.array(ids, pa.string()),
            "created_at": pa.array([at(days) for days in age.tolist()], TIME),
            "employees": pa.array(rng.integers(1, 500, leads), pa.int64()),
            "industry": pa.array(rng.choice(["製造業", "finance", "retail"], leads).tolist()),
        }
    )
    return World(records, make_events(happened), make_outcomes(closes))


@cache
def simulated_world(leads: int = 1_500, months: int = 18, seed: int = 7) -> World:
    """Take the simulator's tables."""
    world = simulator.simulate(leads, months, seed, "stationary")
    return World(world.leads, world.events, world.outcomes, simulator.NOW_US)


def until(world: World, age_days: float) -> World:
    """Take only the rows that are known at that age; they are filtered here the obvious way."""
    moment = at(age_days)
    return World(
        _known(world.leads, ["created_at"], moment),
        _known(world.events, ["occurred_at", "recorded_at"], moment),
        _known(world.outcomes, ["closed_at", "recorded_at"], moment),
        moment,
    )


@contextmanager
def few_rounds(half_lives: tuple[float | None, ...] = (None,)) -> Iterator[None]:
    """Fit 20 trees instead of 400, for so many half-lives, so that a run takes a second."""
    with pytest.MonkeyPatch.context() as patch, threadpool_limits(1, user_api="blas"):
        patch.setattr(trees, "fit", partial(trees.fit, rounds=20))
        patch.setattr(recipes, "HALF_LIVES_DAYS", half_lives)
        yield


def learn_quickly(world: World, config: Config = PLAIN, **options) -> Learned:
    """Run a whole training, with few trees."""
    with few_rounds():
        return learn(world.crm, config, **options)


@cache
def plainly_learned() -> Learned:
    """Learn from the plain world; whoever takes it leaves it as it is."""
    return learn_quickly(plain_world())


def files_of(learned: Learned, folder) -> dict[str, bytes]:
    """Save the scorer of a training run; give the bytes of each file of the artifact."""
    learned.scorer.save(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def written(world: World, folder: Path) -> list[str]:
    """Write the tables of a world; give the options of a command that name them."""
    paths = {name: folder / f"{name}.parquet" for name in ("leads", "events", "outcomes")}
    for name, path in paths.items():
        pq.write_table(getattr(world, name), path)
    return [f"--{name}={path}" for name, path in paths.items()]


def shuffled(table: pa.Table, seed: int) -> pa.Table:
    """Bring the rows of a table into another order."""
    return table.take(pa.array(np.random.default_rng(seed).permutation(len(table))))


def permuted(world: World, seed: int) -> World:
    """The same outcomes, each as long after its lead's creation, but of leads drawn by lot."""
    ids, times = (world.leads[name].to_pylist() for name in ("lead_id", "created_at"))
    created = dict(zip(ids, times, strict=True))
    rows = world.outcomes.to_pylist()
    lots = np.random.default_rng(seed).permutation(ids)[: len(rows)]
    for row, lead in zip(rows, lots.tolist(), strict=True):
        delay = row["closed_at"] - created[row["lead_id"]]
        row["lead_id"] = lead
        row["closed_at"] = row["recorded_at"] = created[lead] + delay
    drawn = pa.Table.from_pylist(rows, world.outcomes.schema)
    return replace(world, outcomes=_known(drawn, ["closed_at"], world.until_us))


def _known(table: pa.Table, times: list[str], moment_us: int) -> pa.Table:
    for name in times:
        table = table.filter(pc.less_equal(table[name], pa.scalar(moment_us, TIME)))
    return table
