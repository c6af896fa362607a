"""Small gradient-boosted trees: LightGBM with the settings of this project, and its two native ways to predict.

Everything runs on one thread: LightGBM's own wait for one another busily, which on a machine that has other work
is several times slower than one (docs/decisions); callers run several fits, or blocks of rows, side by side instead.
"""

import ctypes
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
from lightgbm.basic import _LIB, _c_str, _safe_call

FEW_ROWS = 8
"""Up to so many rows the single-row call is faster than the batch call; both give the same numbers."""

_FLOAT32, _RAW_SCORE = 0, 1


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

    def __post_init__(self) -> None:
        """Prepare the single-row call."""
        object.__setattr__(self, "_single", _SingleRow(self.booster))

    def log_odds(self, X: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return the raw score of each row, float64 [rows]; NaN in `X` is missing."""
        if len(X) <= FEW_ROWS:
            return self._single(X)  # type: ignore[attr-defined,no-any-return]
        return self.booster.predict(X, raw_score=True, num_threads=1)  # type: ignore[return-value]

    def contributions(self, X: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return TreeSHAP values, float64 [rows, features]; they and a constant add up to `log_odds`."""
        return self.booster.predict(X, pred_contrib=True, num_threads=1)[:, :-1]  # type: ignore[index,return-value]

    def to_text(self) -> str:
        """Return LightGBM's own text format."""
        return self.booster.model_to_string()

    @classmethod
    def from_text(cls, text: str) -> "Trees":
        """Rebuild from `to_text`; raises ``lightgbm.basic.LightGBMError`` when it is none."""
        return cls(lgb.Booster(model_str=text))


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


class _SingleRow:
    """LightGBM's C call for one row, without the work that `Booster.predict` does around it."""

    def __init__(self, booster: lgb.Booster) -> None:
        self._booster = booster
        self._columns = booster.num_feature()
        self._config = ctypes.c_void_p()
        _safe_call(
            _LIB.LGBM_BoosterPredictForMatSingleRowFastInit(
                booster._handle,  # noqa: SLF001
                ctypes.c_int(_RAW_SCORE),
                ctypes.c_int(0),
                ctypes.c_int(-1),
                ctypes.c_int(_FLOAT32),
                ctypes.c_int32(self._columns),
                _c_str("num_threads=1"),
                ctypes.byref(self._config),
            )
        )

    def __call__(self, X: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        X = np.ascontiguousarray(X, np.float32)
        if X.ndim != 2 or X.shape[1] != self._columns:
            raise ValueError(
                f"the trees know {self._columns} features, got rows of shape {X.shape}"
            )
        out = (ctypes.c_double * len(X))()
        written, first, stride = ctypes.c_int64(), X.ctypes.data, X.strides[0]
        for row in range(len(X)):
            _safe_call(
                _LIB.LGBM_BoosterPredictForMatSingleRowFast(
                    self._config,
                    ctypes.c_void_p(first + row * stride),
                    ctypes.byref(written),
                    ctypes.byref(out, row * ctypes.sizeof(ctypes.c_double)),
                )
            )
        return np.array(out)

    def __del__(self) -> None:
        if self._config:
            _LIB.LGBM_FastConfigFree(self._config)

    def __reduce__(self) -> Any:
        raise TypeError("trees are stored as text: Trees.to_text")
