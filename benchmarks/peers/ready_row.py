"""The same model as most people log it: a row of features in, a probability out.

MLflow executes this file ("models from code"); the row is ready, no event is looked at.
"""

from pathlib import Path
from typing import Any

import mlflow.models
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel

from training.scorer import LeadScorer


class ReadyRow(PythonModel):
    """Features by name to the probability that the lead closes."""

    def load_context(self, context: Any) -> None:
        """Open the artifact."""
        self.scorer = LeadScorer.load(Path(context.artifacts["leadqual"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> np.ndarray:
        """Return a probability for each row."""
        X = np.ascontiguousarray(model_input.to_numpy(np.float32))
        return self.scorer.probability(X)


mlflow.models.set_model(ReadyRow())
