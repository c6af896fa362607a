"""Which of several suppressions of a lead counts; what it does is the scorer's."""

from collections.abc import Sequence

from training.scorer import OBJECTED


def foremost(reasons: Sequence[str]) -> str | None:
    """Return the suppression that counts: an objection before all others, else the first named.

    >>> foremost(["customer", "objected"]), foremost(["partner", "customer"]), foremost([])
    ('objected', 'partner', None)
    """
    if OBJECTED in reasons:
        return OBJECTED
    return reasons[0] if reasons else None
