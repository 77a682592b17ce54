"""`python -m tests.conformance`: asks every vendor for everything and writes `platform/docs/conformance.md`.

Exits with 1 when a cell is neither a pass nor the right refusal; the page is left alone then.
"""

import sys

from tests.conformance.page import PAGE, render_page
from tests.conformance.run import FAIL, open_desks, run_conformance


def main() -> int:
    with open_desks() as desks:
        results = run_conformance(desks)
    failed = {cell: said for cell, said in results.items() if said.startswith(FAIL)}
    for (feature, vendor), said in failed.items():
        print(f"{vendor}, {feature}: {said[:600]}")
    if not failed:
        PAGE.write_text(render_page(results))
    print(f"{len(results) - len(failed)} of {len(results)} as they should be")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
