#!/usr/bin/env bash
# Four Linux VMs with ssh as an unprivileged user: seeds, forwarded ports, commands across the fleet.
# GOLDEN=FILE uses an existing image; otherwise the tiny Linux is built.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../own-store.sh"
cowherd() { printf '\n$ cowherd %s\n' "$*"; node "$here/../../bin/run.js" "$@"; }
fleet=${FLEET:-linux}

cd "$work"
if [ -n "${GOLDEN:-}" ]; then cp "$GOLDEN" tiny.qcow2; else "$here/../tiny-linux/build.sh" tiny.qcow2; fi
cowherd spawn "$fleet" --base tiny.qcow2 --count 4 --memory 128MiB --seed nocloud --forward-ssh --wait agent,ssh
cowherd status "$fleet"
cowherd exec "$fleet" -- hostname
echo 'hello from outside' >note
cowherd cp note "$fleet:/root/"
cowherd exec "$fleet" 1-2 --via ssh -- 'cat /root/note; uptime'
cowherd ssh "$fleet-003" -- uname -sr
cowherd inventory "$fleet" 4 --format ssh-config
cowherd reset "$fleet" --wait agent,ssh
cowherd exec "$fleet" -- 'ls /root'
cowherd teardown "$fleet" --with-base --yes
