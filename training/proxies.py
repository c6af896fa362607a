"""Time proxies: features that mostly tell the date; whether to do without is chosen elsewhere."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.tree import DecisionTreeRegressor

from features.history import Float32, Int64

EXPLAINED = 0.3
LEAVES = 8
ROWS_PER_LEAF = 20
MOST_LEADS = 5_000


def time_proxies(
    X: Float32, names: Sequence[str], lead: Int64, as_of_us: Int64, *, seed: int = 0
) -> tuple[str, ...]:
    """Name the features from which the moment can be told.

    A column such as an interest rate, a campaign's number or a counter is strong within the
    training period and turns against a model after it. A feature is one when a tree of 8 leaves on
    it alone explains more than 0.3 of the variance of as_of, on leads that the tree has not seen.

    Parameters
    ----------
    X : float32 [rows, features]
        NaN where missing, which may tell the date, too.
    names : sequence of str [features]
    lead : int64 [rows]
        Rows of one lead share what does not change: one row of each is taken.
    as_of_us : int64 [rows]
    seed : int
        Which leads are taken where there are more than 5,000, and which of them the tree sees.

    Examples
    --------
    >>> day = np.arange(400)
    >>> X = np.column_stack([day // 30, day % 7]).astype(np.float32)
    >>> time_proxies(X, ["campaign", "weekday"], day, day * 86_400_000_000)
    ('campaign',)
    """
    generator = np.random.default_rng(seed)
    rows = np.unique(lead, return_index=True)[1]
    rows = generator.permutation(rows)[:MOST_LEADS]
    seen, held_out = rows[::2], rows[1::2]
    moment = (as_of_us - as_of_us.min(initial=0)).astype(np.float64)
    if len(seen) < 2 * ROWS_PER_LEAF or moment[held_out].std() == 0:
        return ()
    return tuple(
        name
        for at, name in enumerate(names)
        if _explained(X[:, [at]], moment, seen, held_out) > EXPLAINED
    )


def _explained(
    column: Float32, moment: npt.NDArray[np.float64], seen: Int64, held_out: Int64
) -> float:
    tree = DecisionTreeRegressor(
        max_leaf_nodes=LEAVES, min_samples_leaf=ROWS_PER_LEAF, random_state=0
    )
    found: float = tree.fit(column[seen], moment[seen]).score(column[held_out], moment[held_out])
    return found
