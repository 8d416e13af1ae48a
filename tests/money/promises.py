"""What the matrix asks of parts that are not there yet: each is switched on here and nowhere else.

A cell that rests on one of them is expected to fail until then; as soon as it passes, the switch is due.
"""

from __future__ import annotations

JSON_VIA_STREAM = False
"""`json_upstream: stream`: a JSON answer is streamed upstream and put together here."""

CHECKPOINTS = False
"""An open row is written again, at most once a second, with what its answer has taken so far."""

WASTE = False
"""What an attempt generated before it died is booked as wasted."""
