"""python -m app.cli.workers DESCRIPTOR: a worker, which loads no more than it needs to serve."""

from __future__ import annotations

import sys

from app.cli.lazy import loading

with loading():
    from app.cli.workers.work import work

if __name__ == "__main__":
    sys.exit(work(int(sys.argv[1])))
