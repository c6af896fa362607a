"""`leadqual --help` against `python -c pass`, as whole processes; medians of several turns."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

TURNS = 7
BAR_SECONDS = 0.3


def main() -> None:
    """Print both medians and their difference."""
    leadqual = Path(sys.executable).with_name("leadqual")
    commands = {"leadqual --help": [leadqual, "--help"], "pass": [sys.executable, "-c", "pass"]}
    seconds = {
        name: statistics.median(_seconds(c) for _ in range(TURNS)) for name, c in commands.items()
    }
    more = seconds["leadqual --help"] - seconds["pass"]
    print(
        f"leadqual --help {seconds['leadqual --help']:.3f} s, python -c pass {seconds['pass']:.3f} s"
    )
    print(
        f"difference {more:.3f} s (bar {BAR_SECONDS}): {'holds' if more < BAR_SECONDS else 'MISSED'}"
    )


def _seconds(command: list[object]) -> float:
    start = time.perf_counter()
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
