#!/usr/bin/env bash
# Two Debian 12 servers from one image, each with its own identity. IMAGE=FILE uses an existing image, or builds it there.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../own-store.sh"
cowherd() { printf '\n$ cowherd %s\n' "$*"; node "$here/../../bin/run.js" "$@"; }

image=${IMAGE:-${XDG_CACHE_HOME:-$HOME/.cache}/cowherd/debian-12.qcow2}
if [ ! -f "$image" ]; then
  mkdir -p "$(dirname "$image")"
  "$here/build.sh" "$image"
fi

# FLEET sets another name than "debian": domain names are shared by all users of a host.
fleet=${FLEET:-debian}
ready=(--wait 'cloud-init,ssh' --timeout 20m)
cowherd spawn "$fleet" --base "$image" --count 2 --memory 512MiB --seed nocloud --forward-ssh "${ready[@]}"
cowherd exec "$fleet" -- 'hostname; cloud-init status'
cowherd exec "$fleet" -- 'echo mine > /root/mark'
cowherd reset "$fleet" "${ready[@]}"
cowherd exec "$fleet" --via ssh -- 'hostname; ls /root'
cowherd report "$fleet"
cowherd teardown "$fleet" --with-base --yes
