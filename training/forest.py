"""Fitted trees as flat arrays and one compiled walk over them; how trees are fitted is not here.

The numbers are LightGBM's own, to the last bit, for one row and for a million: the same leaves are
added in the same order. Its own calls take longer: a single row six times, a batch twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numba as nb
import numpy as np
import numpy.typing as npt

CATEGORICAL, DEFAULT_LEFT, MISSING_ZERO, MISSING_NAN = 1, 2, 4, 8
"""LightGBM's bits of a node's decision type."""
BEYOND_INT32 = 2147483648.0

Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


class ForestError(ValueError):
    """A text that is no model of this kind, or contradicts itself."""


@dataclass(frozen=True)
class Forest:
    """Many binary trees, the nodes of all of them one after the other.

    Attributes
    ----------
    features : int
        Columns of the matrix.
    root : int32 [trees]
        The node that each tree begins with. A number below 0 is a leaf: ``-1 - leaf``.
    child : int32 [nodes, 2]
        Where to go when a value fits (0) and when it doesn't (1): a node, or a leaf as above.
    feature : int32 [nodes]
    threshold : float64 [nodes]
        Values up to it fit; for a category the number of its set.
    decision : uint8 [nodes]
        LightGBM's decision type.
    leaf : float64 [leaves]
    tree_nodes : int64 [trees]
        How many nodes each tree has; it has one leaf more.
    node_rows, leaf_rows : int64 [nodes], [leaves]
        How many training rows came there.
    category_start : int32 [sets + 1]
        Where in `category_bits` each set of categories begins.
    category_bits : uint32 [words]
    """

    features: int
    root: Int32
    child: Int32
    feature: Int32
    threshold: Float64
    decision: npt.NDArray[np.uint8]
    leaf: Float64
    tree_nodes: npt.NDArray[np.int64]
    node_rows: npt.NDArray[np.int64]
    leaf_rows: npt.NDArray[np.int64]
    category_start: Int32
    category_bits: npt.NDArray[np.uint32]

    @classmethod
    def of(cls, text: str) -> "Forest":
        """Read LightGBM's text format.

        Raises
        ------
        ForestError
            The text is no such model, or has what this walk does not know.
        """
        header, *blocks = text.split("\nTree=")
        try:
            return _joined([_Tree.of(_fields(block)) for block in blocks], _fields(header))
        except (KeyError, ValueError, IndexError, OverflowError) as error:
            raise ForestError(f"the trees cannot be read: {error}") from error

    def log_odds(self, X: Float32) -> Float64:
        """Return the sum of the leaves that each row of `X` falls into, float64 [rows]."""
        self.check(X)
        return _walk(
            X,
            self.root,
            self.child,
            self.feature,
            self.threshold,
            self.decision,
            self.leaf,
            self.category_start,
            self.category_bits,
        )

    def check(self, X: Float32) -> None:
        """Raise ValueError where the rows are of another width."""
        if X.ndim != 2 or X.shape[1] != self.features:
            raise ValueError(f"the trees know {self.features} features, got rows of {X.shape}")

    def rows_of(self, node: int) -> int:
        """Return how many training rows came to a node, or to a leaf (below 0)."""
        return int(self.node_rows[node] if node >= 0 else self.leaf_rows[-1 - node])


@dataclass(frozen=True)
class _Tree:
    """One tree as LightGBM numbers it: nodes, leaves and category sets from 0."""

    child: npt.NDArray[np.int64]
    feature: npt.NDArray[np.int64]
    threshold: Float64
    decision: npt.NDArray[np.int64]
    leaf: Float64
    node_rows: npt.NDArray[np.int64]
    leaf_rows: npt.NDArray[np.int64]
    category_start: npt.NDArray[np.int64]
    category_bits: npt.NDArray[np.int64]

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> "_Tree":
        if fields.get("is_linear", "0") != "0":
            raise ForestError("leaves that are linear models are not supported")
        split = fields["num_leaves"] != "1"
        sets = split and fields["num_cat"] != "0"
        return cls(
            np.stack([_whole(fields, name, split) for name in ("left_child", "right_child")], 1),
            _whole(fields, "split_feature", split),
            np.array(fields["threshold"].split() if split else [], np.float64),
            _whole(fields, "decision_type", split),
            np.array(fields["leaf_value"].split(), np.float64),
            _whole(fields, "internal_count", split),
            _whole(fields, "leaf_count", split) if split else np.ones(1, np.int64),
            _whole(fields, "cat_boundaries", sets) if sets else np.zeros(1, np.int64),
            _whole(fields, "cat_threshold", sets),
        )


def _fields(block: str) -> dict[str, str]:
    lines = block.partition("\nend of trees")[0].splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _whole(fields: Mapping[str, str], name: str, there: bool) -> npt.NDArray[np.int64]:
    return np.array(fields[name].split() if there else [], np.int64)


def _joined(trees: list[_Tree], header: Mapping[str, str]) -> Forest:
    if not trees or header.get("num_tree_per_iteration") != "1" or "average_output" in header:
        raise ForestError("expected one tree per round, whose leaves are added")
    features = int(header["max_feature_idx"]) + 1
    root, child, threshold = [], [], []
    nodes = leaves = sets = words = 0
    starts = [np.zeros(1, np.int64)]
    for tree in trees:
        _check(tree, features)
        root.append(nodes if len(tree.child) else -1 - leaves)
        child.append(np.where(tree.child < 0, tree.child - leaves, tree.child + nodes))
        threshold.append(tree.threshold + np.where(tree.decision & CATEGORICAL, sets, 0))
        starts.append(tree.category_start[1:] + words)
        nodes, leaves = nodes + len(tree.child), leaves + len(tree.leaf)
        sets, words = sets + len(tree.category_start) - 1, words + len(tree.category_bits)
    return Forest(
        features,
        np.array(root, np.int32),
        np.concatenate(child).astype(np.int32),
        np.concatenate([tree.feature for tree in trees]).astype(np.int32),
        np.concatenate(threshold),
        np.concatenate([tree.decision for tree in trees]).astype(np.uint8),
        np.concatenate([tree.leaf for tree in trees]),
        np.array([len(tree.child) for tree in trees], np.int64),
        np.concatenate([tree.node_rows for tree in trees]),
        np.concatenate([tree.leaf_rows for tree in trees]),
        np.concatenate(starts).astype(np.int32),
        np.concatenate([tree.category_bits for tree in trees]).astype(np.uint32),
    )


def _check(tree: _Tree, features: int) -> None:
    """Refuse what would lead the walk out of its arrays, or round in circles."""
    nodes, sets = len(tree.child), len(tree.category_start) - 1
    after = tree.child > np.arange(nodes)[:, None]  # a node's children come after it
    leads_on = after & (tree.child < nodes) | (tree.child < 0) & (tree.child >= -len(tree.leaf))
    category = (tree.decision & CATEGORICAL) != 0
    known = (tree.threshold >= 0) & (tree.threshold < sets)
    if not (
        len(tree.feature) == len(tree.threshold) == len(tree.decision) == nodes
        and leads_on.all()
        and not (tree.decision & MISSING_ZERO).any()
        and ((tree.feature >= 0) & (tree.feature < features)).all()
        and known[category].all()
        and (np.diff(tree.category_start) >= 0).all()
        and tree.category_start[0] == 0
        and tree.category_start[-1] == len(tree.category_bits)
        and len(tree.leaf) == len(tree.leaf_rows) == nodes + 1
        and len(tree.node_rows) == nodes
        and (tree.node_rows > 0).all()
    ):
        raise ForestError("a tree contradicts itself, or takes 0 for missing")


@nb.njit(cache=True, nogil=True, inline="always")
def fits(
    value: float,
    threshold: float,
    kind: int,
    category_start: Int32,
    category_bits: npt.NDArray[np.uint32],
) -> bool:
    """Tell whether a value meets a node's condition, as LightGBM decides it."""
    if kind & CATEGORICAL:
        if not -1.0 < value < BEYOND_INT32:
            return False
        code = np.int64(value)  # LightGBM cuts it to an int, towards 0
        word = category_start[np.int64(threshold)] + (code >> 5)
        if word >= category_start[np.int64(threshold) + 1]:
            return False
        return (category_bits[word] >> np.uint32(code & 31)) & 1 == 1
    if np.isnan(value):  # a 0 where training saw none missing
        return kind & DEFAULT_LEFT != 0 if kind & MISSING_NAN else threshold >= 0.0
    return value <= threshold


@nb.njit(cache=True, nogil=True)
def _walk(  # noqa: PLR0917
    X: Float32,
    root: Int32,
    child: Int32,
    feature: Int32,
    threshold: Float64,
    decision: npt.NDArray[np.uint8],
    leaf: Float64,
    category_start: Int32,
    category_bits: npt.NDArray[np.uint32],
) -> Float64:
    out = np.empty(X.shape[0])
    for i in range(X.shape[0]):
        total = 0.0
        for tree in range(root.shape[0]):
            node = root[tree]
            while node >= 0:
                meets = fits(
                    X[i, feature[node]],
                    threshold[node],
                    decision[node],
                    category_start,
                    category_bits,
                )
                node = child[node, 0 if meets else 1]
            total += leaf[-1 - node]
        out[i] = total
    return out
