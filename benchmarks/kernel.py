"""The kernel for one lead with 20 events, against the plain-Python reference of the tests."""

import sys
import timeit
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import results
from features.engagement import engagement
from features.history import DAY_US
from features.matrix import FeatureSpec, _kernel_arguments
from tests import reference
from tests.factories import AS_OF_US, event, make_lead

TURNS, BAR = 5, 10


def main() -> None:
    """Print microseconds of both and their ratio."""
    kinds = ("document_request", "inquiry", "seminar_attended", "web_visit")
    events = [event(age * 3.7, kinds[age % 4], "web", float(age)) for age in range(20)]
    spec = FeatureSpec(kinds, ("web",))
    lead = make_lead(events, AS_OF_US - 90 * DAY_US)
    fixed: tuple[Any, ...] = _kernel_arguments(spec, lead.history)
    row, now = np.zeros(1, np.int64), np.array([AS_OF_US])
    out = np.empty((1, len(spec.names)), np.float32)

    arguments: Any = (*fixed, row, lead.created_us, now, out)

    def kernel() -> None:
        engagement(*arguments)

    def plain() -> None:
        reference.engagement(spec, events, lead.created_us[0], AS_OF_US)

    kernel()
    ours = min(timeit.repeat(kernel, number=5_000, repeat=TURNS)) / 5_000 * 1e6
    theirs = min(timeit.repeat(plain, number=200, repeat=TURNS)) / 200 * 1e6
    print(
        f"kernel {ours:.2f} us, plain Python {theirs:.1f} us, ratio {theirs / ours:.0f} (bar {BAR})"
    )
    results.keep("kernel", [{"kernel_us": ours, "plain_python_us": theirs}])


if __name__ == "__main__":
    main()
