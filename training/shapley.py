"""What each feature adds to the log-odds by small trees: exact Shapley values, looked up.

A leaf counts in full for a row that keeps every condition on the way to it. Without some of the
features it counts by the share of the training rows that went on along the way. What a feature adds
is the average over the orders in which features may come to be known (TreeSHAP: Lundberg et al.
2020, doi 10.1038/s42256-019-0138-9; LightGBM's ``pred_contrib`` gives the same). A small tree has
few conditions, so what its features add is computed once for all that a row may meet of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numba as nb
import numpy as np
import numpy.typing as npt

from training.forest import Forest, ForestError, fits

MOST_NODES = 14
"""Of a tree: its table doubles with each."""
ROWS_PER_BLOCK = 64
"""So many rows meet a tree one after the other, while its table is at hand."""

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shapley:
    """Tables of what the features of each tree add.

    Attributes
    ----------
    forest : Forest
    node_start, feature_start, table_start : int64 [trees + 1]
        Where each tree's nodes, features and table begin.
    feature : int64
        The features of each tree.
    table : float64
        For each tree, by the conditions that are met (node n is bit n): what each feature adds.
    """

    forest: Forest
    node_start: Int64
    feature_start: Int64
    table_start: Int64
    feature: Int64
    table: Float64

    @classmethod
    def of(cls, forest: Forest) -> "Shapley":
        """Compute the tables.

        Raises
        ------
        ForestError
            A tree is too large for a table.
        """
        if forest.tree_nodes.max() > MOST_NODES:
            raise ForestError(f"a tree has more than {MOST_NODES} nodes, too many for a table")
        nodes = _starts(forest.tree_nodes)
        trees = range(len(forest.root))
        features = [np.unique(forest.feature[nodes[t] : nodes[t + 1]]) for t in trees]
        tables = [_table(forest, t, int(nodes[t]), features[t]) for t in trees]
        return cls(
            forest,
            nodes,
            _starts(np.array([len(each) for each in features])),
            _starts(np.array([table.size for table in tables])),
            np.concatenate(features).astype(np.int64),
            np.concatenate([table.ravel() for table in tables]),
        )

    def contributions(self, X: Float32) -> Float64:
        """Return what each feature adds, float64 [rows, features]; a constant makes it log-odds."""
        forest = self.forest
        forest.check(X)
        return _added(
            X,
            self.node_start,
            forest.feature,
            forest.threshold,
            forest.decision,
            forest.category_start,
            forest.category_bits,
            self.feature_start,
            self.table_start,
            self.feature,
            self.table,
        )


@dataclass(frozen=True)
class _Way:
    """The features on the way to a leaf.

    `nodes` are those that ask for each, as bits; `kept` those of them whose condition leads on when
    it is met; `share` is the share of rows that go on where it is asked.
    """

    value: float
    feature: tuple[int, ...]
    nodes: tuple[int, ...]
    kept: tuple[int, ...]
    share: tuple[float, ...]


def _starts(sizes: Int64) -> Int64:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _table(forest: Forest, tree: int, first: int, features: npt.NDArray[np.int32]) -> Float64:
    """Return what a tree's features add, float64 [2 ** nodes, features]."""
    met = np.arange(2 ** int(forest.tree_nodes[tree]))
    table = np.zeros((len(met), len(features)))
    for way in _ways(forest, tree, first):
        kept = (met[:, None] & np.array(way.nodes, np.int64)) == np.array(way.kept, np.int64)
        pattern = kept @ (1 << np.arange(len(way.feature)))
        table[:, np.searchsorted(features, way.feature)] += _of_leaf(way)[pattern]
    return table


def _ways(forest: Forest, tree: int, first: int) -> Iterator[_Way]:
    open_: list[tuple[int, dict[int, tuple[int, int, float]]]] = [(int(forest.root[tree]), {})]
    while open_:
        node, before = open_.pop()
        if node < 0:
            parts = before.values()
            yield _Way(
                float(forest.leaf[-1 - node]),
                tuple(before),
                tuple(part[0] for part in parts),
                tuple(part[1] for part in parts),
                tuple(part[2] for part in parts),
            )
            continue
        feature, bit = int(forest.feature[node]), 1 << (node - first)
        nodes, kept, share = before.get(feature, (0, 0, 1.0))
        for side, child in enumerate(forest.child[node].tolist()):
            on = share * forest.rows_of(child) / forest.rows_of(node)
            part = (nodes | bit, kept if side else kept | bit, on)
            open_.append((child, {**before, feature: part}))


def _of_leaf(way: _Way) -> Float64:
    """Return what a leaf's features add, float64 [2 ** features, features], by which are kept.

    A feature adds the leaf's value times (kept or not, less its share) times the average over the
    orders, which is an integral over t of the product over the others of (kept · t + share ·
    (1 - t)): a polynomial, for which Gauss and Legendre's sum is exact.
    """
    count = len(way.feature)
    if not count:
        return np.zeros((1, 0))
    kept = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
    share = np.array(way.share)
    place, weight = np.polynomial.legendre.leggauss(count // 2 + 1)
    t = (place + 1) / 2
    terms = kept[..., None] * t + share[:, None] * (1 - t)  # [patterns, features, places]
    others = np.stack([np.delete(terms, at, axis=1).prod(axis=1) for at in range(count)], axis=1)
    return way.value * (kept - share) * (others @ (weight / 2))


@nb.njit(cache=True, nogil=True)
def _added(  # noqa: PLR0917
    X: Float32,
    node_start: Int64,
    asked: npt.NDArray[np.int32],
    threshold: Float64,
    decision: npt.NDArray[np.uint8],
    category_start: npt.NDArray[np.int32],
    category_bits: npt.NDArray[np.uint32],
    feature_start: Int64,
    table_start: Int64,
    feature: Int64,
    table: Float64,
) -> Float64:
    out = np.zeros(X.shape)
    rows = X.shape[0]
    for block in range(0, rows, ROWS_PER_BLOCK):
        for tree in range(node_start.shape[0] - 1):
            first, first_feature = node_start[tree], feature_start[tree]
            width = feature_start[tree + 1] - first_feature
            for i in range(block, min(block + ROWS_PER_BLOCK, rows)):
                met = 0
                for node in range(first, node_start[tree + 1]):
                    met |= np.int64(
                        fits(
                            X[i, asked[node]],
                            threshold[node],
                            decision[node],
                            category_start,
                            category_bits,
                        )
                    ) << (node - first)
                found = table_start[tree] + met * width
                for at in range(width):
                    out[i, feature[first_feature + at]] += table[found + at]
    return out
