#!/usr/bin/env bash
# Two Debian 12 servers on one image, each itself; IMAGE=FILE takes an image that is there, or says where to build it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../own-store.sh"
cowherd() { printf '\n$ cowherd %s\n' "$*"; node "$here/../../bin/run.js" "$@"; }

image=${IMAGE:-${XDG_CACHE_HOME:-$HOME/.cache}/cowherd/debian-12.qcow2}
if [ ! -f "$image" ]; then
  mkdir -p "$(dirname "$image")"
  "$here/build.sh" "$image"
fi

# FLEET sets another name than "debian": the names are those of domains, which all users of a host share.
fleet=${FLEET:-debian}
ready=(--wait 'cloud-init,ssh' --timeout 20m)
cowherd spawn "$fleet" --base "$image" --count 2 --memory 512MiB --seed nocloud --forward-ssh "${ready[@]}"
cowherd exec "$fleet" -- 'hostname; cloud-init status'
cowherd exec "$fleet" -- 'echo mine > /root/mark'
cowherd reset "$fleet" "${ready[@]}"
cowherd exec "$fleet" --via ssh -- 'hostname; ls /root'
cowherd report "$fleet"
cowherd teardown "$fleet" --with-base --yes
