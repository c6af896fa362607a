"""Small gradient-boosted trees: LightGBM with our settings; how they are read off is not here.

Everything runs on one thread: LightGBM's own wait for one another busily, which on a machine that
has other work is several times slower than one (docs/decisions); callers run several fits, or
blocks of rows, side by side instead.
"""

from dataclasses import dataclass
from functools import cached_property

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from training.forest import Forest
from training.shapley import Shapley


@dataclass(frozen=True)
class Trees:
    """Fitted trees.

    Examples
    --------
    >>> X = np.repeat(np.array([[0.0], [1.0]], np.float32), 200, axis=0)
    >>> trees = fit(X, np.repeat([0.0, 1.0], 200), np.ones(400), categorical=[], seed=0, rounds=20)
    >>> bool(np.diff(trees.log_odds(X[[0, -1]]))[0] > 0)
    True
    """

    booster: lgb.Booster

    def log_odds(self, X: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return the raw score of each row, float64 [rows]; NaN in `X` is missing."""
        return self._forest.log_odds(X)

    def contributions(self, X: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return TreeSHAP values, float64 [rows, features].

        They and a constant add up to `log_odds`.
        """
        return self._shapley.contributions(X)

    @cached_property
    def _forest(self) -> Forest:
        return Forest.of(self.to_text())

    @cached_property
    def _shapley(self) -> Shapley:
        return Shapley.of(self._forest)

    def to_text(self) -> str:
        """Return LightGBM's own text format."""
        return self.booster.model_to_string()

    @classmethod
    def from_text(cls, text: str) -> "Trees":
        """Rebuild from `to_text`.

        Raises
        ------
        lightgbm.basic.LightGBMError, ForestError
            It is no such text.
        """
        trees = cls(lgb.Booster(model_str=text))
        _ = trees._forest
        return trees


def fit(
    X: npt.NDArray[np.float32],
    y: npt.NDArray[np.float64],
    weight: npt.NDArray[np.float64],
    *,
    categorical: list[int],
    seed: int,
    rounds: int = 400,
) -> Trees:
    """Fit small, strongly regularised trees (docs/decisions say why these settings)."""
    model = lgb.LGBMClassifier(
        n_estimators=rounds,
        learning_rate=0.03,
        num_leaves=7,
        min_child_samples=int(min(60, max(5, len(y) // 50))),
        colsample_bytree=0.5,
        reg_lambda=5.0,
        random_state=seed,
        deterministic=True,
        force_row_wise=True,
        n_jobs=1,
        verbose=-1,
    )
    model.fit(X, y, sample_weight=weight, categorical_feature=categorical or "auto")
    return Trees.from_text(model.booster_.model_to_string())
