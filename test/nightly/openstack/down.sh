#!/usr/bin/env bash
# Stops a cloud that up.sh has started, with all its guests, and removes its directory. Does nothing if there is none.
#
#   down.sh DIR
#
# Exit code 1: a process has not ended. Exit code 2: invalid arguments.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# = 1 ] || { printf 'usage: down.sh DIR\n' >&2; exit 2; }
dir=$(realpath -m -- "$1")
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$here/common.sh"

[ -e "$dir" ] || exit 0
# up.sh may have been stopped before it wrote anything.
rmdir -- "$dir" 2>/dev/null && exit 0
[ -f "$dir/settings" ] || { say "$dir is not the directory of a cloud: it is not removed"; exit 2; }

# The kernel ends all processes of a PID namespace with its first one, and waits for them.
for file in cloud init; do
  pid=$(pid_of "$run/$file.pid") || continue
  kill -KILL "$pid" 2>/dev/null || true
  for _ in $(seq 300); do
    pid_of "$run/$file.pid" >/dev/null || continue 2
    sleep 0.1
  done
  say "process $pid of the cloud has not ended"
  exit 1
done
rm -rf --one-file-system -- "$dir"
