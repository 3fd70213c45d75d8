"""A server that never answers: it begins another process, and says a line without end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
Path(sys.argv[1]).write_text(str(left.pid))
while True:
    sys.stdout.write("x" * (1 << 16))
