"""Learning from the history, up to the artifact that decides; knows nothing of HTTP."""
