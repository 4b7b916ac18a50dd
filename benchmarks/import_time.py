"""How long `import mathlete` takes, against starting Python and against importing what it avoids.

    python benchmarks/import_time.py [--quick]

Medians over processes started in turn; seconds of wall clock. Last a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

PROGRAMS = {
    "python": "pass",
    "import mathlete": "import mathlete",
    "import mathlete.cli": "import mathlete.cli",
    "import sympy": "import sympy",
}


def main() -> None:
    """Time each program and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    rounds = 5 if parser.parse_args().quick else 21
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(rounds):
        for name, program in PROGRAMS.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", program], check=True)
            times[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, median in medians.items():
        ratio = median / medians["python"]
        print(f"{name:<22} {median * 1000:7.1f} ms  {ratio:5.2f} x python")
    own = medians["import mathlete"] - medians["python"]
    print(json.dumps({"median_s": medians, "import_mathlete_alone_s": own, "rounds": rounds}))


if __name__ == "__main__":
    main()
