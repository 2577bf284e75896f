#!/usr/bin/env bash
# Ten VMs based on one golden image: spawn, status, reset, report, teardown.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../own-store.sh"
cowherd() { printf '\n$ cowherd %s\n' "$*"; node "$here/../../bin/run.js" "$@"; }
fleet=${FLEET:-first}

"$here/../golden.sh" "$work/golden.qcow2"
cd "$work"
cowherd spawn "$fleet" --base golden.qcow2 --count 10 --memory 16MiB --network none --wait console=^OK
cowherd status "$fleet"
cowherd reset "$fleet" 1-3
cowherd stop "$fleet" 10
cowherd report "$fleet"
cowherd teardown "$fleet" --with-base --yes
