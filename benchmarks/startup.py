"""`leadqual --help` against `python -c pass`, as whole processes; medians of several turns."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import results

TURNS = 7
BAR_SECONDS = 0.3


def main() -> None:
    """Print both medians and their difference."""
    leadqual = _median([str(Path(sys.executable).with_name("leadqual")), "--help"])
    bare = _median([sys.executable, "-c", "pass"])
    verdict = "holds" if leadqual - bare < BAR_SECONDS else "MISSED"
    print(f"leadqual --help {leadqual:.3f} s, python -c pass {bare:.3f} s")
    print(f"difference {leadqual - bare:.3f} s (bar {BAR_SECONDS}): {verdict}")
    results.keep("startup", [{"leadqual_help_seconds": leadqual, "python_seconds": bare}])


def _median(command: list[str]) -> float:
    return statistics.median(_seconds(command) for _ in range(TURNS))


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
