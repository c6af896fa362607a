"""Scores for others, over HTTP and in files, by the model that training made."""
