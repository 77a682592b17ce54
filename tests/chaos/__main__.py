"""`python -m tests.chaos --seconds N --seed S`: breaks an installation under load, then audits it.

Prints one table; exits with 1 when something in it must be zero and is not.
"""

import argparse
import sys

from tests.chaos.run import run_chaos


def main() -> int:
    parser = argparse.ArgumentParser(description="Break an installation under load, then audit it")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    figures, words = run_chaos(seconds=options.seconds, seed=options.seed)
    print(f"seed {options.seed}, {options.seconds:g} s of chaos")
    print(figures.table())
    if faults := figures.faults():
        print(f"FAULTS: {faults}\n{words}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
