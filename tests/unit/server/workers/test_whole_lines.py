from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from app.server.workers.whole_lines import in_whole_lines

ROOT = Path(__file__).parents[4]
WRITER = """
import sys
from pathlib import Path
from app.server.workers.whole_lines import in_whole_lines
stream = in_whole_lines(1, Path(sys.argv[1]))
for _ in range(100):
    stream.buffer.write((sys.argv[2] * 70_000 + "\\n").encode())
    stream.write(sys.argv[2] * 9_000 + "\\n")
"""


def test_long_lines_of_several_processes_never_mix(tmp_path):
    read, write = os.pipe()
    command = [sys.executable, "-c", WRITER, str(tmp_path / "lock")]
    processes = [subprocess.Popen([*command, letter], stdout=write, cwd=ROOT) for letter in "abc"]
    os.close(write)
    with os.fdopen(read, encoding="ascii") as stream:
        lines = stream.read().splitlines()
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert len(lines) == 600
    assert {len(set(line)) for line in lines} == {1}


def test_it_can_be_closed_twice_and_leaves_the_descriptor_open(tmp_path):
    read, write = os.pipe()
    stream = in_whole_lines(write, tmp_path / "lock")
    stream.write("one\n")
    stream.close()
    stream.close()
    os.write(write, b"two\n")
    assert os.read(read, 100) == b"one\ntwo\n"
    os.close(read)
    os.close(write)
