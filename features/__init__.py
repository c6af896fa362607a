"""The data contract, the engagement history and every feature; no labels, no models, no clock."""
