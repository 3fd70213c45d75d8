#!/bin/sh
# Compiles the hashed requirement files from pyproject.toml. Usage: tools/lock.sh [UV]
set -eu
cd "$(dirname "$0")/.."
uv=${1:-uv}
compile() {
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
        --no-emit-index-url --no-emit-find-links --only-binary :all: --extra acp --extra embedded --extra files --extra mcp --extra memory --extra metrics --extra otlp --extra swarm --extra voice --group build \
        "$@" pyproject.toml
}
compile -o requirements/run.txt >/dev/null
compile --group dev -c requirements/run.txt -o requirements/dev.txt >/dev/null
if grep -n '://' requirements/*.txt; then
    echo "a lock file holds an address" >&2
    exit 1
fi
