"""A simulated B2B CRM whose truth is known; what is learned from it is not in here."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

NOW_US = 1_774_969_200_000_000
"""The moment of the export, 2026-03-31 15:00 UTC: midnight in Japan, where a fiscal year begins."""

HORIZON_DAYS = 90
AGES_DAYS = (0, 1, 3, 7, 14, 30, 60, 90)
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
JAPAN_US = 9 * HOUR_US
NEVER = np.iinfo(np.int64).max
CHUNK_LEADS = 100_000

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Rng = np.random.Generator


@dataclass(frozen=True)
class Scenario:
    """What a world does differently from the default one.

    Attributes
    ----------
    win_rate : float
        Factor on the daily hazard of a win.
    win_trend : (float, float)
        A further factor on it, at the start and at the end of the history.
    pace_end : float
        Factor on how fast sales moves, at the end of the history (1 at its start).
    growth : float
        New leads a day at the end over those at the start.
    launch_days : int or None
        Only leads created in the last so many days can be won.
    scanner_share : float
        Share of leads whose mail is opened and clicked by a security scanner.
    leaks : bool
        Plant `LEAKS`.
    """

    win_rate: float = 1.0
    win_trend: tuple[float, float] = (1.0, 1.0)
    pace_end: float = 1.0
    growth: float = 1.0
    launch_days: int | None = None
    scanner_share: float = 0.0
    leaks: bool = False


SCENARIOS: dict[str, Scenario] = {
    "stationary": Scenario(),
    "growth": Scenario(growth=4.0),
    "drift": Scenario(win_trend=(1.6, 0.5)),
    "slow-wins": Scenario(pace_end=1 / 1.8),
    "rare": Scenario(win_rate=0.2),
    "new-product": Scenario(growth=12.0, launch_days=110),
    "bots": Scenario(scanner_share=0.25),
    "leaky": Scenario(leaks=True),
}

LEAKS: tuple[tuple[str, str], ...] = (
    ("close_reason", "column filled at the close only"),
    ("deal_amount", "column filled for winners only"),
    ("lifecycle_stage", "column that names the outcome"),
    ("days_to_close", "column that exists after the close only"),
    ("last_modified", "time of the last change, which stops at the close"),
    ("status_score", "the outcome as a number, with noise"),
    ("events_total", "counter of all events as of the export"),
    ("sales_owner", "column filled when sales takes over"),
    ("contract_sent", "event type shortly before wins only"),
    ("conversion", "event type of winners, back-dated to the creation"),
)
"""(name, kind) of what the world `leaky` plants: columns of the leads, and two event types."""

STAGES = ("lead", "opportunity", "disqualified", "customer")

# The daily Markov chain; in "worked" sales works a lead that came to it cold or warm.
STATES = ("cold", "curious", "engaged", "evaluating", "worked_cold", "worked_warm", "lost", "won")
COLD, CURIOUS, ENGAGED, EVALUATING, WORKED_COLD, WORKED_WARM, LOST, WON = range(8)
MOVES: dict[int, dict[int, float]] = {
    COLD: {CURIOUS: 0.002, WORKED_COLD: 0.0003, LOST: 0.006},
    CURIOUS: {COLD: 0.045, ENGAGED: 0.024, WORKED_COLD: 0.003, LOST: 0.004},
    ENGAGED: {CURIOUS: 0.04, EVALUATING: 0.04, WORKED_WARM: 0.008, LOST: 0.003},
    EVALUATING: {ENGAGED: 0.03, WORKED_WARM: 0.065, LOST: 0.004},
    WORKED_COLD: {WON: 0.012, CURIOUS: 0.02, LOST: 0.07},
    WORKED_WARM: {WON: 0.032, ENGAGED: 0.012, LOST: 0.04},
    LOST: {CURIOUS: 0.0003},
}
"""From, to, moves a day of a lead of average fit."""

UPWARDS = ((COLD, CURIOUS), (CURIOUS, ENGAGED), (ENGAGED, EVALUATING))
FITS = np.array([-np.inf, *np.linspace(-2.5, 2.5, 21)])
"""The levels of the latent fit (the first cannot be won): log of a factor on the hazard of a win;
a third of it speeds up the interest."""

NEVER_CLOSED = 0.35
"""Share of leads of which a loss is never recorded."""

QUIET = (0.0,) * 8
EVENTS: dict[str, tuple[str, tuple[float, ...]]] = {
    "web_visit": ("web", (0.018, 0.055, 0.140, 0.320, 0.050, 0.150, 0.014, 0.050)),
    "newsletter_signup": ("web", (0.0005, 0.002, 0.003, 0.002, 0.001, 0.001, 0.0, 0.0)),
    "newsletter_open": ("email", (0.030, 0.042, 0.055, 0.065, 0.030, 0.045, 0.028, 0.030)),
    "newsletter_click": ("email", (0.003, 0.010, 0.025, 0.040, 0.008, 0.020, 0.002, 0.006)),
    "document_request": ("form", (0.0006, 0.005, 0.016, 0.035, 0.006, 0.016, 0.0003, 0.001)),
    "form_submit": ("form", (0.0005, 0.003, 0.010, 0.025, 0.004, 0.010, 0.0002, 0.001)),
    "seminar_registration": ("web", (0.001, 0.004, 0.010, 0.014, 0.003, 0.006, 0.0004, 0.002)),
    "seminar_attended": ("event", QUIET),  # follows a registration
    "card_exchange": ("event", (0.0004, 0.002, 0.004, 0.005, 0.001, 0.003, 0.0002, 0.0)),
    "inquiry": ("form", (0.0001, 0.0006, 0.003, 0.015, 0.001, 0.008, 0.0, 0.001)),
    "call": ("phone", (0.0, 0.0, 0.0, 0.0, 0.150, 0.200, 0.0, 0.004)),
    "appointment": ("phone", (0.0, 0.0, 0.0, 0.0, 0.020, 0.070, 0.0, 0.0)),
    "visit": ("onsite", (0.0, 0.0, 0.0, 0.0, 0.010, 0.050, 0.0, 0.002)),
    "closing_attempt": ("onsite", QUIET),  # precedes a close
}
"""Event type: its channel, and how many a day in each state."""

LEAKY_EVENTS = {"contract_sent": "email", "conversion": "web"}
CODE = {name: code for code, name in enumerate((*EVENTS, *LEAKY_EVENTS))}
CHANNELS = tuple(dict.fromkeys(channel for channel, _ in EVENTS.values()))

SOURCES: dict[str, tuple[float, float, str, tuple[float, ...]]] = {
    "seminar": (0.20, 0.1, "seminar_registration", (0.45, 0.35, 0.17, 0.03)),
    "trade_show": (0.22, -0.2, "card_exchange", (0.66, 0.24, 0.08, 0.02)),
    "document_request": (0.18, 0.1, "document_request", (0.34, 0.38, 0.22, 0.06)),
    "newsletter": (0.16, -0.2, "newsletter_signup", (0.74, 0.21, 0.04, 0.01)),
    "web": (0.18, 0.0, "form_submit", (0.48, 0.34, 0.14, 0.04)),
    "inbound": (0.06, 0.4, "inquiry", (0.06, 0.16, 0.38, 0.40)),
}
"""Source: share of the leads, effect on the fit, first event, and where the interest starts."""

LEVELS: dict[str, tuple[float, tuple[str, ...], tuple[float, ...], tuple[float, ...]]] = {
    "industry": (
        0.04,
        ("manufacturing", "it", "finance", "retail", "healthcare", "construction", "education"),
        (0.30, 0.19, 0.11, 0.15, 0.09, 0.10, 0.06),
        (0.3, 0.2, 0.0, -0.2, -0.1, -0.3, -0.6),
    ),
    "country": (
        0.0,
        ("JP", "US", "SG", "TH", "DE"),
        (0.78, 0.08, 0.05, 0.05, 0.04),
        (0.0, -0.2, 0.1, -0.3, 0.0),
    ),
    "region": (
        0.05,
        ("東京都", "大阪府", "愛知県", "神奈川県", "福岡県", "北海道", "宮城県"),
        (0.36, 0.17, 0.14, 0.12, 0.09, 0.06, 0.06),
        (0.1, 0.0, 0.1, 0.0, 0.0, -0.1, -0.1),
    ),
    "job_title": (
        0.10,
        ("代表取締役", "部長", "課長", "主任", "担当", "学生"),
        (0.06, 0.16, 0.24, 0.16, 0.30, 0.08),
        (0.5, 0.4, 0.15, 0.0, -0.2, -1.5),
    ),
    "department": (
        0.15,
        ("情報システム", "営業企画", "マーケティング", "総務", "研究開発"),
        (0.25, 0.20, 0.20, 0.20, 0.15),
        (0.3, 0.1, 0.2, -0.2, 0.0),
    ),
}
"""Text attribute: share missing, levels, their shares, their effects on the fit."""

CONFIG = """\
# Suggested by the simulator for this world.
[label]
horizon_days = 90

[events]
sales = ["call", "appointment", "visit", "closing_attempt"]

[rule]
kind = "capacity"
# Not stated yet: how many leads can sales work per week? Until then the best fifth is handed off.
# State it by removing the "#" in the next line and putting in your own number.
# capacity_per_week = {capacity}
"""


@dataclass(frozen=True)
class World:
    """A simulated CRM as of `NOW_US`, in the project's data contract, and its truth.

    Attributes
    ----------
    leads, events, outcomes : pa.Table
        What the CRM knows; events by lead, then time.
    truth : pa.Table
        ``lead_id``, ``as_of``, ``age_days``, ``probability`` (that the lead is won in
        ``(as_of, as_of + 90 days]``, given its latent state at as_of) and ``won_within_horizon``
        (what came, even after `NOW_US`); a row for each of `AGES_DAYS` at which the lead is open.
    config : str
        A ``leadqual.toml`` for it.
    """

    leads: pa.Table
    events: pa.Table
    outcomes: pa.Table
    truth: pa.Table
    config: str


@dataclass(frozen=True)
class _Cohort:
    """Leads simulated together, in order of creation; `arrival` is the day of the history."""

    ids: pa.Array
    created_us: Ints
    arrival: Ints
    source: Ints
    fit: Ints
    attributes: dict[str, pa.Array]


@dataclass(frozen=True)
class _Runs:
    """Stays in a state, from day `start` of the lead's life up to day `end`, by lead and time."""

    lead: Ints
    start: Ints
    end: Ints
    state: Ints


@dataclass(frozen=True)
class _Closes:
    """Outcomes that are or will be on record, by lead and time; each begins the stay `run`."""

    run: Ints
    lead: Ints
    closed_us: Ints
    recorded_us: Ints
    won: Bools

    def only(self, rows: Bools) -> "_Closes":
        return _Closes(
            self.run[rows],
            self.lead[rows],
            self.closed_us[rows],
            self.recorded_us[rows],
            self.won[rows],
        )


@dataclass(frozen=True)
class _Log:
    """Events of a cohort."""

    lead: Ints
    occurred_us: Ints
    code: Ints

    def only(self, rows: Ints | Bools) -> "_Log":
        return _Log(self.lead[rows], self.occurred_us[rows], self.code[rows])


def simulate(leads: int, months: int, seed: int, scenario: str) -> World:
    """Simulate the history of a CRM up to `NOW_US`.

    A lead moves day by day through a Markov chain of interest, sales work and outcome; its moves
    depend on its latent fit, its events on its state alone, so the truth is exact.

    Parameters
    ----------
    leads : int
        How many leads are created, `CHUNK_LEADS` at a time in memory.
    months : int
        Length of the history; all times lie in the `months` before `NOW_US`.
    seed : int
        The same arguments make the same world.
    scenario : str
        One of `SCENARIOS`.

    Returns
    -------
    World

    Raises
    ------
    ValueError
        The scenario is unknown, or `leads` or `months` is below 1.

    Examples
    --------
    >>> world = simulate(leads=100, months=6, seed=7, scenario="stationary")
    >>> world.leads.num_rows, world.outcomes.column_names
    (100, ['lead_id', 'closed_at', 'outcome', 'amount', 'recorded_at'])
    """
    if scenario not in SCENARIOS:
        raise ValueError(f"unknown scenario {scenario!r}: known are {', '.join(SCENARIOS)}")
    if leads < 1 or months < 1:
        raise ValueError(f"leads and months must be at least 1, got {leads} and {months}")
    kind, days = SCENARIOS[scenario], round(months * 365 / 12)
    first, *seeds = np.random.SeedSequence(seed).spawn(1 + -(-leads // CHUNK_LEADS))
    created_us = _arrivals(np.random.default_rng(first), leads, days, kind.growth)
    chain = _chain(kind, days)
    odds = _win_probability(chain)
    parts = []
    for chunk, chunk_seed in enumerate(seeds):
        rng = np.random.default_rng(chunk_seed)
        rows = slice(chunk * CHUNK_LEADS, (chunk + 1) * CHUNK_LEADS)
        cohort = _cohort(rng, rows.start, created_us[rows], days, kind.launch_days)
        parts.append(_tables(rng, cohort, chain, odds, kind))
    capacity = max(1, round(leads / (days / 7) / 5))
    lead_table, events, outcomes, truth = map(pa.concat_tables, zip(*parts, strict=True))
    return World(lead_table, events, outcomes, truth, CONFIG.format(capacity=capacity))


def write(world: World, folder: Path) -> None:
    """Write ``{leads,events,outcomes,truth}.parquet`` and ``leadqual.toml`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("leads", "events", "outcomes", "truth"):
        pq.write_table(getattr(world, name), folder / f"{name}.parquet", compression="zstd")
    (folder / "leadqual.toml").write_text(world.config, encoding="utf-8")


def _tables(
    rng: Rng, cohort: _Cohort, chain: Floats, odds: Floats, kind: Scenario
) -> tuple[pa.Table, pa.Table, pa.Table, pa.Table]:
    interest = np.array([start for *_, start in SOURCES.values()])
    runs, state_at = _walk(rng, cohort, chain, _pick(rng, interest, cohort.source))
    closes = _closes(rng, cohort, runs)
    seen = closes.only(closes.recorded_us <= NOW_US)
    log = _join(
        _engagement(rng, cohort, runs),
        _sales_work(rng, cohort, runs, closes),
        _scanners(rng, cohort, kind.scanner_share),
    )
    leaks: dict[str, pa.Array] = {}
    if kind.leaks:
        log = _join(log, _leaky_events(rng, cohort, seen))
        leaks = _leaky_columns(rng, cohort, seen, log)
    columns = {"lead_id": cohort.ids, "created_at": _times(cohort.created_us)}
    leads = pa.table(columns | cohort.attributes | leaks)
    events = _event_table(rng, cohort, log, kind.leaks)
    truth = _truth(cohort, closes, runs, state_at, odds)
    return leads, events, _outcome_table(rng, cohort, seen), truth


def _chain(kind: Scenario, days: int) -> Floats:
    """Return the probabilities [calendar day, fit, from, to] of a day's move."""
    elapsed = np.minimum(np.arange(days + HORIZON_DAYS + 1) / days, 1.0)[:, None]
    win = kind.win_rate * np.interp(elapsed, (0, 1), kind.win_trend)
    pace = np.interp(elapsed, (0, 1), (1.0, kind.pace_end))[..., None]
    rate = np.zeros((len(elapsed), len(FITS), len(STATES), len(STATES)))
    for origin, targets in MOVES.items():
        rate[:, :, origin, list(targets)] = list(targets.values())
    for origin, target in UPWARDS:
        rate[:, :, origin, target] *= np.exp(np.maximum(FITS, FITS[1]) / 3)
    rate[..., WON] *= (win * np.exp(FITS))[..., None]
    rate[..., WORKED_COLD:LOST] *= pace[..., None]
    rate[:, :, WORKED_COLD:LOST] *= pace[..., None]
    total = rate.sum(axis=-1, keepdims=True)
    rate *= -np.expm1(-total) / np.where(total > 0, total, 1.0)
    return rate + np.exp(-total) * np.eye(len(STATES))


def _win_probability(chain: Floats) -> Floats:
    """Return the probability [calendar day, fit, state] that a win comes within the horizon."""
    won = np.zeros(chain.shape[:-1])
    won[..., WON] = 1.0
    for _ in range(HORIZON_DAYS):
        won = (chain[: len(won) - 1] @ won[1:, ..., None])[..., 0]
    return won


def _walk(rng: Rng, cohort: _Cohort, chain: Floats, state: Ints) -> tuple[_Runs, Ints]:
    """Return the stays of the leads, and their states [lead, age] at `AGES_DAYS`."""
    stay = np.diagonal(chain, axis1=-2, axis2=-1)
    leaving = (1 - stay).astype(np.float32).ravel()
    moves = np.cumsum(chain * (1 - np.eye(len(STATES))), axis=-1).reshape(-1, len(STATES))
    home = (cohort.arrival * len(FITS) + cohort.fit) * len(STATES)
    lead, begun, entered = [np.arange(len(state))], [np.zeros_like(state)], [state.copy()]
    state_at = []
    for day in range(len(chain) - int(cohort.arrival[0])):
        if day in AGES_DAYS:
            state_at.append(state.copy())
        alive = int(np.searchsorted(cohort.arrival, len(chain) - day))
        cell = home[:alive] + day * len(FITS) * len(STATES) + state[:alive]
        moved = np.flatnonzero(rng.random(alive, dtype=np.float32) < leaving[cell])
        row = moves[cell[moved]]
        state[moved] = (rng.random((len(moved), 1)) * row[:, -1:] >= row).sum(axis=1)
        lead.append(moved)
        begun.append(np.full(len(moved), day + 1))
        entered.append(state[moved])
    runs = _runs(cohort, len(chain), *map(np.concatenate, (lead, begun, entered)))
    return runs, np.stack(state_at, axis=1)


def _runs(cohort: _Cohort, last_day: int, lead: Ints, start: Ints, state: Ints) -> _Runs:
    order = np.lexsort((start, lead))
    lead, start, state = lead[order], start[order], state[order]
    end = last_day - cohort.arrival[lead]
    same = np.flatnonzero(lead[1:] == lead[:-1])
    end[same] = start[same + 1]
    return _Runs(lead, start, end, state)


def _closes(rng: Rng, cohort: _Cohort, runs: _Runs) -> _Closes:
    never_closed = _chance(rng, len(cohort.ids), NEVER_CLOSED)
    won = runs.state == WON
    run = np.flatnonzero(won | ((runs.state == LOST) & ~never_closed[runs.lead]))
    lead = runs.lead[run]
    closed_us = _moment(rng, cohort.created_us[lead], runs.start[run] - 1)
    delay_us = np.minimum(rng.lognormal(np.log(10), 1.2, len(run)), 15 * 24) * HOUR_US
    return _Closes(run, lead, closed_us, closed_us + delay_us.astype(np.int64), won[run])


def _arrivals(rng: Rng, leads: int, days: int, growth: float) -> Ints:
    """Draw the moments of creation, in ascending order: few at weekends, more later if growing."""
    day = np.arange(days)
    start_us = NOW_US - days * DAY_US
    share = growth ** (day / days) * np.where(_is_weekend(start_us + day * DAY_US), 0.3, 1.0)
    chosen = rng.choice(days, leads, p=share / share.sum())
    return np.sort(start_us + chosen * DAY_US + _time_of_day(rng, leads))


def _cohort(rng: Rng, first: int, created_us: Ints, days: int, launch_days: int | None) -> _Cohort:
    count = len(created_us)
    number = np.arange(first + 1, first + count + 1).astype(str)
    arrival = (created_us - (NOW_US - days * DAY_US)) // DAY_US
    source, attributes, fit = _attributes(rng, count)
    level = np.searchsorted(FITS[2:] - np.diff(FITS[1:]) / 2, fit) + 1
    if launch_days is not None:
        level[arrival < days - launch_days] = 0
    ids = pa.array(np.char.add("L-", np.char.zfill(number, 7)))
    return _Cohort(ids, created_us, arrival, source, level, attributes)


def _attributes(rng: Rng, count: int) -> tuple[Ints, dict[str, pa.Array], Floats]:
    """Draw the source, what the CRM says about each lead, and the fit: that and noise."""
    everyone = np.zeros(count, np.int64)
    source = _pick(rng, np.array([[share for share, *_ in SOURCES.values()]]), everyone)
    size = rng.normal(0, 1, count)
    known_domain, free_mail = _chance(rng, count, 0.15), _chance(rng, count, 0.18)
    fit = np.array([effect for _, effect, *_ in SOURCES.values()])[source]
    fit += 0.3 * size + 0.6 * known_domain - 0.6 * free_mail + rng.normal(-0.1, 0.4, count)
    columns = {"source": _texts(tuple(SOURCES), source)}
    for name, (missing, levels, shares, effects) in LEVELS.items():
        level = _pick(rng, np.array([shares]), everyone)
        fit += np.array(effects)[level]
        columns[name] = _texts(levels, level, _chance(rng, count, missing))
    at_home = pc.equal(columns["country"], "JP")
    columns["region"] = pc.if_else(at_home, columns["region"], pa.scalar(None, pa.string()))
    employees = np.ceil(np.exp(4.8 + 1.3 * size)).astype(np.int64)
    revenue = np.round(employees * rng.lognormal(-1.8, 0.6, count), 1)
    columns["employees"] = pa.array(employees, mask=_chance(rng, count, 0.12))
    columns["annual_revenue_musd"] = pa.array(revenue, mask=_chance(rng, count, 0.35))
    columns["is_existing_domain"] = pa.array(known_domain)
    columns["uses_free_mail"] = pa.array(free_mail)
    return source, columns, fit


def _chance(rng: Rng, count: int, probability: float) -> Bools:
    return rng.random(count) < probability


def _pick(rng: Rng, shares: Floats, row: Ints) -> Ints:
    """Draw a column for each entry of `row`, by that row's shares."""
    cumulative = np.cumsum(shares, axis=1) / shares.sum(axis=1, keepdims=True)
    flat = (cumulative + np.arange(len(shares))[:, None]).ravel()
    place = np.searchsorted(flat, row + rng.random(len(row)), side="right")
    return np.minimum(place - row * shares.shape[1], shares.shape[1] - 1)


def _engagement(rng: Rng, cohort: _Cohort, runs: _Runs) -> _Log:
    """Draw Poisson events by state and by how active the lead is, after the event it came with."""
    rates = np.array([rates for _, rates in EVENTS.values()]).T
    activity = rng.gamma(2.0, 0.5, len(cohort.ids))
    unseen = (NOW_US - cohort.created_us) // DAY_US + 1
    duration = np.maximum(np.minimum(runs.end, unseen[runs.lead]) - runs.start, 0)
    expected = rates.sum(axis=1)[runs.state] * activity[runs.lead] * duration
    upto = np.cumsum(expected)
    place = np.sort(rng.random(rng.poisson(upto[-1]))) * upto[-1]
    run = np.searchsorted(upto, place, side="right")
    share = 1 - (upto[run] - place) / expected[run]
    day = runs.start[run] + (np.clip(share, 0, 1 - 1e-9) * duration[run]).astype(np.int64)
    lead = runs.lead[run]
    occurred_us = _moment(rng, cohort.created_us[lead], day)
    kept = _chance(rng, len(run), 0.5) | ~_is_weekend(occurred_us)
    code = _pick(rng, rates, runs.state[run])
    firsts = np.array([CODE[event] for _, _, event, _ in SOURCES.values()])[cohort.source]
    first = _Log(np.arange(len(cohort.ids)), cohort.created_us, firsts)
    log = _join(first, _Log(lead, occurred_us, code).only(kept))
    return _join(log, _attended(rng, log))


def _attended(rng: Rng, log: _Log) -> _Log:
    """Let six in ten of the registered attend, up to two weeks later."""
    registered = np.flatnonzero(log.code == CODE["seminar_registration"])
    came = registered[_chance(rng, len(registered), 0.6)]
    wait_us = rng.integers(1, 15, len(came)) * DAY_US
    return _events(log.lead[came], log.occurred_us[came] + wait_us, "seminar_attended")


def _sales_work(rng: Rng, cohort: _Cohort, runs: _Runs, closes: _Closes) -> _Log:
    """Add a call when sales takes a lead, and an attempt to close before it closes it."""
    worked = (runs.state == WORKED_COLD) | (runs.state == WORKED_WARM)
    taken = np.flatnonzero(worked)
    called_us = _moment(rng, cohort.created_us[runs.lead[taken]], runs.start[taken])
    tried = worked[closes.run - 1] & (closes.won | _chance(rng, len(closes.run), 0.6))
    lead, closed_us = closes.lead[tried], closes.closed_us[tried]
    taken_us = cohort.created_us[lead] + runs.start[closes.run[tried] - 1] * DAY_US
    before_us = np.minimum(closed_us - taken_us, 3 * DAY_US) * rng.random(len(lead))
    tried_us = closed_us - before_us.astype(np.int64)
    return _join(
        _events(runs.lead[taken], called_us, "call"),
        _events(lead, tried_us, "closing_attempt"),
    )


def _scanners(rng: Rng, cohort: _Cohort, share: float) -> _Log:
    """Open and click every link of a newsletter, each four weeks, within half a minute."""
    scanned = np.flatnonzero(_chance(rng, len(cohort.ids), share))
    period_us = 28 * DAY_US
    mails = np.maximum((NOW_US - cohort.created_us[scanned]) // period_us, 0)
    lead = np.repeat(scanned, mails)
    ago = np.arange(len(lead)) - np.repeat(np.cumsum(mails) - mails, mails)
    sent_us = NOW_US - 5 * DAY_US - ago * period_us + 10 * HOUR_US
    links = rng.integers(3, 7, len(lead))
    clicks = np.repeat(np.arange(len(lead)), links)
    clicked_us = sent_us[clicks] + rng.integers(2_000_000, 30_000_000, len(clicks))
    return _join(
        _events(lead, sent_us + 1_000_000, "newsletter_open"),
        _events(lead[clicks], clicked_us, "newsletter_click"),
    )


def _leaky_events(rng: Rng, cohort: _Cohort, seen: _Closes) -> _Log:
    won = np.flatnonzero(seen.won)
    sent = won[_chance(rng, len(won), 0.9)]
    before_us = (rng.uniform(0.2, 3.0, len(sent)) * DAY_US).astype(np.int64)
    sent_us = np.maximum(seen.closed_us[sent] - before_us, cohort.created_us[seen.lead[sent]])
    lead = seen.lead[won]
    return _join(
        _events(seen.lead[sent], sent_us, "contract_sent"),
        _events(lead, cohort.created_us[lead], "conversion"),
    )


def _leaky_columns(rng: Rng, cohort: _Cohort, seen: _Closes, log: _Log) -> dict[str, pa.Array]:
    count = len(cohort.ids)
    won, closed, worked = (np.zeros(count, np.bool_) for _ in range(3))
    won[seen.lead[seen.won]] = True
    closed[seen.lead] = True
    worked[log.lead[log.code == CODE["call"]]] = True
    closed_us = np.full(count, NOW_US)
    closed_us[seen.lead] = seen.closed_us
    touched_days = np.minimum((NOW_US - cohort.created_us) / DAY_US, 14) * rng.random(count)
    modified = np.where(won, closed_us / DAY_US, NOW_US / DAY_US - touched_days)
    stage = np.where(won, 3, np.where(closed, 2, worked))
    owned = won | _chance(rng, count, 0.05)
    score = np.rint(50 + 25 * won - 10 * (closed & ~won) + rng.normal(0, 8, count))
    return {
        "close_reason": _some(rng, ("price", "function", "service", "紹介"), won),
        "deal_amount": pa.array(_amounts(rng, count), mask=~won),
        "lifecycle_stage": _texts(STAGES, stage),
        "days_to_close": pa.array((closed_us - cohort.created_us) // DAY_US, mask=~closed),
        "last_modified": pa.array(np.round(modified, 3)),
        "status_score": pa.array(score),
        "events_total": pa.array(np.bincount(log.lead[log.occurred_us <= NOW_US], minlength=count)),
        "sales_owner": _some(rng, ("佐藤", "鈴木", "高橋", "田中"), owned),
    }


def _some(rng: Rng, texts: tuple[str, ...], filled: Bools) -> pa.Array:
    return _texts(texts, rng.integers(0, len(texts), len(filled)), ~filled)


def _event_table(rng: Rng, cohort: _Cohort, log: _Log, leaks: bool) -> pa.Table:
    log = log.only(log.occurred_us <= NOW_US)
    log = log.only(np.lexsort((log.occurred_us, log.lead)))
    channels = {event: channel for event, (channel, _) in EVENTS.items()}
    if leaks:
        channels |= LEAKY_EVENTS
    channel = np.array([CHANNELS.index(channel) for channel in channels.values()])
    value = np.full(len(log.code), np.nan)
    for event, low, high in (("web_visit", 1, 9), ("seminar_attended", 20, 91), ("call", 1, 21)):
        rows = np.flatnonzero(log.code == CODE[event])
        value[rows] = rng.integers(low, high, len(rows))
    columns = {
        "lead_id": cohort.ids.take(pa.array(log.lead)),
        "occurred_at": _times(log.occurred_us),
        "event_type": _coded(log.code, tuple(channels)),
        "channel": _coded(channel[log.code], CHANNELS),
        "value": pa.array(value, mask=np.isnan(value)),
    }
    return pa.table(columns)


def _outcome_table(rng: Rng, cohort: _Cohort, seen: _Closes) -> pa.Table:
    columns = {
        "lead_id": cohort.ids.take(pa.array(seen.lead)),
        "closed_at": _times(seen.closed_us),
        "outcome": _texts(("lost", "won"), seen.won.astype(np.int64)),
        "amount": pa.array(_amounts(rng, len(seen.lead)), mask=~seen.won),
        "recorded_at": _times(seen.recorded_us),
    }
    return pa.table(columns)


def _truth(cohort: _Cohort, closes: _Closes, runs: _Runs, state_at: Ints, odds: Floats) -> pa.Table:
    count = len(cohort.ids)
    closed_day, won_day = np.full(count, NEVER), np.full(count, NEVER)
    closed_day[closes.lead[::-1]] = runs.start[closes.run[::-1]] - 1  # the first one stays
    won_day[closes.lead[closes.won]] = runs.start[closes.run[closes.won]] - 1
    age = np.array(AGES_DAYS)
    as_of_us = cohort.created_us[:, None] + age * DAY_US
    row, column = np.nonzero((as_of_us <= NOW_US) & (closed_day[:, None] >= age))
    day = cohort.arrival[row] + age[column]
    probability = odds[day, cohort.fit[row], state_at[row, column]]
    wait = won_day[row] - age[column]
    columns = {
        "lead_id": cohort.ids.take(pa.array(row)),
        "as_of": _times(as_of_us[row, column]),
        "age_days": pa.array(age[column].astype(np.int16)),
        "probability": pa.array(probability.astype(np.float32)),
        "won_within_horizon": pa.array((wait >= 0) & (wait < HORIZON_DAYS)),
    }
    return pa.table(columns)


def _times(time_us: Ints) -> pa.Array:
    return pa.array(time_us, pa.timestamp("us", "UTC"))


def _texts(texts: tuple[str, ...], place: Ints, missing: Bools | None = None) -> pa.Array:
    return pa.array(texts).take(pa.array(place, mask=missing))


def _coded(code: Ints, names: tuple[str, ...]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(code.astype(np.int32)), pa.array(names))


def _amounts(rng: Rng, count: int) -> Floats:
    return np.round(rng.lognormal(np.log(20_000), 0.8, count), -2)


def _time_of_day(rng: Rng, count: int) -> Ints:
    """Draw microseconds since midnight in Japan, around the working hours."""
    return (rng.normal(13.5, 3.0, count) * HOUR_US).astype(np.int64) % DAY_US


def _moment(rng: Rng, created_us: Ints, day: Ints) -> Ints:
    """Draw a moment within a day of the life of a lead, later than its start."""
    since_us = (_time_of_day(rng, len(day)) - created_us - JAPAN_US) % DAY_US
    return created_us + day * DAY_US + np.maximum(since_us, 1)


def _is_weekend(time_us: Ints) -> Bools:
    day = (time_us + JAPAN_US) // DAY_US  # day 0 of the epoch was a Thursday
    return np.isin(day % 7, (2, 3))


def _events(lead: Ints, occurred_us: Ints, event: str) -> _Log:
    return _Log(lead, occurred_us, np.full(len(lead), CODE[event]))


def _join(*logs: _Log) -> _Log:
    return _Log(
        np.concatenate([log.lead for log in logs]),
        np.concatenate([log.occurred_us for log in logs]),
        np.concatenate([log.code for log in logs]),
    )
