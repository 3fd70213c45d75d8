#!/bin/sh
# Installs what the tests need from the system, or says clearly what to install.
# tmux: the end-to-end tests drive the real app in it.
set -eu
missing=""
command -v tmux >/dev/null 2>&1 || missing="$missing tmux"
[ -z "$missing" ] && exit 0
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "installing$missing"
    apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $missing >/dev/null
    exit 0
fi
echo "The tests need:$missing. Install them, for example: sudo apt-get install$missing" >&2
exit 1
