"""The engagement kernel: one pass over each row's events; `catalogue` holds what columns mean."""

import numba as nb
import numpy as np
import numpy.typing as npt

from features.history import DAY_US, Codes, Float32, Int64

Slots = npt.NDArray[np.int16]

NO_SLOT = -1
"""The slot of a type that is no feature (passed over), or of an event without a channel."""

RECENT_US = 30 * DAY_US
HOUR_US = 3_600_000_000
THURSDAY = 3
"""The weekday of the epoch's first day, Monday being 0."""
WORKDAYS = 5
WORK_STARTS_HOUR = 9
WORK_ENDS_HOUR = 18
EVENTS_FOR_A_SPREAD = 3
NEVER_YET = np.iinfo(np.int64).min


@nb.njit(cache=True, nogil=True)
def engagement(  # noqa: C901, PLR0912, PLR0915, PLR0917
    ptr: Int64,
    occurred: Int64,
    known: Int64,
    type_code: Codes,
    channel_code: Codes,
    value: Float32,
    type_slot: Slots,
    channel_slot: Slots,
    windows: Int64,
    half_lives: npt.NDArray[np.float64],
    segment: Int64,
    created: Int64,
    as_of: Int64,
    out: Float32,
) -> None:
    """Write the engagement features of each (segment, as_of) row into `out`.

    Seen are the events with ``occurred <= as_of`` and ``known <= as_of``; a window holds those with
    ``occurred > as_of - window``. Columns are written in the order of `catalogue.engagement`.

    Parameters
    ----------
    ptr, occurred, known, type_code, channel_code, value
        A `history.History`.
    type_slot, channel_slot : int16 [types + 1], [channels + 1]
        The feature slot of each code, ``NO_SLOT`` for none; the last element is the slot of
        ``other``, which is the highest one.
    windows : int64 [w]
        Microseconds, ascending; "all" comes after them.
    half_lives : float64 [h]
        Days.
    segment, created, as_of : int64 [rows]
    out : float32 [rows, at least the columns of the catalogue]
    """
    n_types = type_slot[-1] + 1
    n_channels = channel_slot[-1] + 1
    n_windows = windows.shape[0] + 1
    n_half = half_lives.shape[0]
    per_type = n_windows + 2
    at_channels = n_types * per_type
    at_totals = at_channels + n_channels
    at_trends = at_totals + n_windows
    at_decay = at_trends + n_windows - 1
    at_singles = at_decay + n_half
    has_value = value.shape[0] > 0
    totals = np.empty(n_windows, np.int64)
    decay = np.empty(n_half, np.float64)
    rate = -np.log(2.0) / (half_lives * DAY_US)
    latest = np.empty(n_types, np.int64)

    for row in range(as_of.shape[0]):
        now = as_of[row]
        line = out[row]
        line[:at_singles] = 0.0
        totals[:] = 0
        decay[:] = 0.0
        latest[:] = NEVER_YET
        n = 0
        first = last = now
        first_type = last_type = NO_SLOT
        first_channel = last_channel = NO_SLOT
        gap_first = gap_excess = gap_squares = gap_max = 0.0
        active_days = active_days_30 = 0
        day_before = day_before_30 = NEVER_YET
        value_sum = value_sum_30 = 0.0
        value_max = np.nan
        weekdays = working = 0

        for e in range(ptr[segment[row]], ptr[segment[row] + 1]):
            time = occurred[e]
            if time > now:
                break
            slot = type_slot[type_code[e]]
            if slot == NO_SLOT or known[e] > now:
                continue
            age = now - time
            bucket = 0
            while bucket < n_windows - 1 and age >= windows[bucket]:
                bucket += 1
            line[slot * per_type + bucket] += 1.0
            totals[bucket] += 1
            latest[slot] = time
            code = channel_code[e]
            channel = channel_slot[code] if code < channel_slot.shape[0] - 1 else NO_SLOT
            if channel != NO_SLOT:
                line[at_channels + channel] += 1.0
            for h in range(n_half):
                decay[h] += np.exp(age * rate[h])
            if n == 0:
                first, first_type, first_channel = time, slot, channel
            else:
                gap = (time - last) / DAY_US
                if n == 1:
                    gap_first = gap
                excess = gap - gap_first  # equal gaps have a spread of exactly 0
                gap_excess += excess
                gap_squares += excess * excess
                gap_max = max(gap_max, gap)
            last, last_type, last_channel = time, slot, channel
            day = time // DAY_US
            if day != day_before:
                active_days += 1
                day_before = day
            if day != day_before_30 and age < RECENT_US:
                active_days_30 += 1
                day_before_30 = day
            if (day + THURSDAY) % 7 < WORKDAYS:
                weekdays += 1
                hour = (time - day * DAY_US) // HOUR_US
                if WORK_STARTS_HOUR <= hour < WORK_ENDS_HOUR:
                    working += 1
            if has_value and not np.isnan(value[e]):
                value_sum += value[e]
                if age < RECENT_US:
                    value_sum_30 += value[e]
                if not value_max >= value[e]:
                    value_max = value[e]
            n += 1

        distinct = 0
        for slot in range(n_types):
            at = slot * per_type
            for w in range(1, n_windows):
                line[at + w] += line[at + w - 1]
            count = line[at + n_windows - 1]
            if count > 0:
                distinct += 1
                line[at + n_windows] = (now - latest[slot]) / DAY_US
                line[at + n_windows + 1] = count / n
            else:
                line[at + n_windows] = np.nan
                line[at + n_windows + 1] = np.nan if n == 0 else 0.0
        for w in range(n_windows):
            if w > 0:
                totals[w] += totals[w - 1]
                line[at_trends + w - 1] = totals[w - 1] / totals[w] if totals[w] > 0 else np.nan
            line[at_totals + w] = totals[w]
        for h in range(n_half):
            line[at_decay + h] = decay[h]

        midnight = now // DAY_US
        s = at_singles
        line[s + 0] = (now - last) / DAY_US if n > 0 else np.nan
        line[s + 1] = (now - first) / DAY_US if n > 0 else np.nan
        line[s + 2] = (last - first) / DAY_US / (n - 1) if n > 1 else np.nan
        if n >= EVENTS_FOR_A_SPREAD:
            squares = max(gap_squares - gap_excess * gap_excess / (n - 1), 0.0)
            line[s + 3] = np.sqrt(squares / (n - 2))
        else:
            line[s + 3] = np.nan
        line[s + 4] = gap_max if n > 1 else np.nan
        line[s + 5] = distinct
        line[s + 6] = active_days
        line[s + 7] = active_days_30
        line[s + 8] = value_sum
        line[s + 9] = value_sum_30
        line[s + 10] = value_max
        line[s + 11] = first_type if n > 0 else np.nan
        line[s + 12] = last_type if n > 0 else np.nan
        line[s + 13] = first_channel if first_channel != NO_SLOT else np.nan
        line[s + 14] = last_channel if last_channel != NO_SLOT else np.nan
        line[s + 15] = weekdays / n if n > 0 else np.nan
        line[s + 16] = working / n if n > 0 else np.nan
        line[s + 17] = (now - created[row]) / DAY_US
        line[s + 18] = (midnight + THURSDAY) % 7
        line[s + 19] = (now - midnight * DAY_US) // HOUR_US
