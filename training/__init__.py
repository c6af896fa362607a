"""Learning from the history: labels, candidates, calibration, the hand-off rule, evaluation, the artifact; knows nothing of HTTP."""
