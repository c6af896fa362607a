"""Where figures are kept: ``bench/results.json``, an entry a benchmark, and the machine."""

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.processes import ROOT

FILE = ROOT / "bench" / "results.json"
PACKAGES = (
    "duckdb",
    "featuretools",
    "lightgbm",
    "mlflow",
    "numba",
    "numpy",
    "pandas",
    "polars",
    "pyarrow",
    "pyspark",
    "scikit-learn",
)


def keep(name: str, figures: Sequence[Mapping[str, Any]]) -> None:
    """Keep a benchmark's figures, a mapping a line, instead of those of an earlier run."""
    known = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    benchmarks = known.get("benchmarks", {}) if known.get("machine") == machine() else {}
    benchmarks[name] = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_average": os.getloadavg(),
        "figures": list(figures),
    }
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(
        json.dumps({"machine": machine(), "benchmarks": benchmarks}, indent=1) + "\n",
        encoding="utf-8",
    )
    print(f"kept in {FILE.relative_to(ROOT)}")


def machine() -> dict[str, Any]:
    """Describe the machine and what is installed; figures of another one are not mixed in."""
    installed = {each.name.lower(): each.version for each in metadata.distributions()}
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: installed[name] for name in PACKAGES if name in installed},
    }


def _cpu() -> str:
    stated = Path("/proc/cpuinfo")
    if not stated.exists():
        return platform.processor() or platform.machine()
    lines = stated.read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    json.dump(machine(), sys.stdout, indent=1)
