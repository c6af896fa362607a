"""The leak gate on worlds with planted leaks, on clean ones, and on public tables.

    python benchmarks/leaks.py [--data FOLDER]

FOLDER holds one folder a table with ``leads``, ``events``, ``outcomes`` (Parquet) and
``columns.json``, which says of each column whether it is safe, early or a leak.
"""

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # training.py beside this hides it

from features.attributes import learn
from features.catalogue import SALES_TYPES
from features.changes import timelines
from features.readers import Tables, read_tables
from features.relations import rows_of
from training import leaks, simulated_changes, simulator
from training.config import Config
from training.crm import Crm, from_tables
from training.study import prepare
from training.suspects import Evidence, suspects

SEEDS, LEADS, MONTHS = 20, 4_000, 18
CLEAN = tuple(name for name in simulator.SCENARIOS if name != "leaky")


def main() -> None:
    """Print a line a world or table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path)
    data = options.parse_args().data
    planted = [*dict(simulator.LEAKS), *simulated_changes.LEAKS]
    print(f"leaky: caught of {len(planted)} planted (and others named), {SEEDS} seeds")
    caught = [{leak.column for leak in _found("leaky", seed)} for seed in range(SEEDS)]
    missed = {name: sum(name not in found for found in caught) for name in planted}
    others = sum(len(found - set(planted)) for found in caught)
    print(f"  missed: { {name: n for name, n in missed.items() if n} or 'none' }, others: {others}")
    print(f"clean: false alarms in {SEEDS} seeds each, {LEADS:,} leads")
    for scenario in CLEAN:
        found = [[leak.column for leak in _found(scenario, seed)] for seed in range(SEEDS)]
        alarms = [columns for columns in found if columns]
        print(f"  {scenario:12} {len(alarms):2} {alarms or ''}")
    if data is not None:
        for folder in sorted(path.parent for path in data.glob("*/columns.json")):
            print(_line(folder))


def _found(scenario: str, seed: int) -> tuple[leaks.Leak, ...]:
    world = simulator.simulate(LEADS, MONTHS, seed, scenario)
    events, outcomes = (
        rows_of(table["lead_id"], world.leads["lead_id"])
        for table in (world.events, world.outcomes)
    )
    changes = simulated_changes.changes(world, seed, leaky=scenario == "leaky")
    lead = rows_of(changes["lead_id"], world.leads["lead_id"])
    tables = Tables(
        world.leads,
        world.events,
        world.outcomes,
        (),
        simulator.NOW_US,
        events,
        outcomes,
        timelines(changes, lead, {}, world.leads),
    )
    return leaks.find(prepare(from_tables(tables), Config()))


def _line(folder: Path) -> str:
    roles = json.loads((folder / "columns.json").read_text())
    crm = _crm(folder, "order" in roles.values())
    sensitive = [name for name in crm.table.column_names if roles.get(name) == "safe"]
    used = tuple(a for a in learn(crm.table, sensitive=sensitive)[0] if roles[a.name] != "order")
    started = time.perf_counter()
    found = {suspect.column for suspect in suspects(Evidence(crm, used, SALES_TYPES))}
    seconds = time.perf_counter() - started
    leaking = {name for name, role in roles.items() if role == "leak"}
    return (
        f"{folder.name:17} {len(crm.leads):7,} leads {seconds:5.2f} s  leaks caught: "
        f"{sorted(found & leaking) or '-'}, not caught: {sorted(leaking - found) or '-'}, "
        f"others stopped: {sorted(found - leaking) or '-'}"
    )


def _crm(folder: Path, undated: bool) -> Crm:
    paths = [str(folder / f"{name}.parquet") for name in ("leads", "events", "outcomes")]
    order = json.loads((folder / "columns.json").read_text())
    order_by = next((name for name, role in order.items() if role == "order"), None)
    return from_tables(
        read_tables(
            *paths,
            columns={},
            timezone=None,
            until_us=None,
            now_us=4_000_000_000_000_000,  # 2096: later than all of them
            reject_file=None,
            undated=undated,
            order_by=order_by,
        )
    )


if __name__ == "__main__":
    main()
