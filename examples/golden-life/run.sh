#!/usr/bin/env bash
# The life of a golden image: change one VM, promote its disk to the next golden image, and move the fleet to it.
# GOLDEN=FILE uses an existing image; otherwise the tiny Linux is built.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../own-store.sh"
# Quotes the words of a command line.
quoted() { for word; do case $word in *[!A-Za-z0-9_./:=@%+,-]*) printf " '%s'" "$word" ;; *) printf ' %s' "$word" ;; esac; done; }
cowherd() { printf '\n$ cowherd%s\n' "$(quoted "$@")"; node "$here/../../bin/run.js" "$@"; }
fleet=${FLEET:-life}

cd "$work"
if [ -n "${GOLDEN:-}" ]; then cp "$GOLDEN" tiny.qcow2; else "$here/../tiny-linux/build.sh" tiny.qcow2; fi
cowherd spawn "$fleet" --base tiny.qcow2 --count 3 --memory 128MiB --seed nocloud --wait agent
cowherd exec "$fleet" 1 -- 'echo "the new feature" >/root/feature; sync'
cowherd stop "$fleet" 1
cowherd promote "$fleet-001" --as tiny2
cowherd rebase "$fleet" --base tiny2 --wait agent
cowherd exec "$fleet" -- 'cat /root/feature'
cowherd status "$fleet"
cowherd base history
cowherd base prune
cowherd base prune --yes
cowherd teardown "$fleet" --with-base --yes
