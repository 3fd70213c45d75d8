#!/bin/sh
# Installs what the tests need from the system, or says clearly what to install.
#   tmux                 the end-to-end tests drive the real app in it
#   gnome-keyring, dbus  a real keyring for one test, which is skipped without them
#   openssh-client       real ssh-agents for the tests of key slots, which are skipped without it
set -eu
missing=""
command -v tmux >/dev/null 2>&1 || missing="$missing tmux"
command -v ssh-agent >/dev/null 2>&1 || missing="$missing openssh-client"
if [ "$(uname)" = Linux ]; then
    command -v gnome-keyring-daemon >/dev/null 2>&1 || missing="$missing gnome-keyring"
    command -v dbus-run-session >/dev/null 2>&1 || missing="$missing dbus"
fi
[ -z "$missing" ] && exit 0
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "installing$missing"
    apt-get update -qq >/dev/null
    # shellcheck disable=SC2086 - a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
    exit 0
fi
echo "For all tests, install:$missing" >&2
case "$missing" in *tmux*) exit 1 ;; esac
