"""On PYTHONPATH, this makes a process whose event loop SIGUSR2 blocks, for as many seconds as BLOCKED_FOR says."""

import os
import signal
import time

signal.signal(signal.SIGUSR2, lambda *_: time.sleep(float(os.environ.get("BLOCKED_FOR", "0"))))
