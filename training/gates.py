"""What a gate raises that lets a run or a model not pass; the gates stand elsewhere."""

from typing import Any


class GateRefused(ValueError):
    """A gate does not let pass: the message names everything that failed, and what to do.

    Attributes
    ----------
    report : dict
        What ``report.json`` says of a run that was stopped before there was a model; of a promotion
        its verdict; else empty.
    """

    def __init__(self, message: str, report: dict[str, Any] | None = None) -> None:
        self.report = report or {}
        super().__init__(message)

    def __reduce__(self) -> tuple[type, tuple[str, dict[str, Any]]]:
        """Rebuild it when it is sent to another process."""
        return GateRefused, (str(self), self.report)
