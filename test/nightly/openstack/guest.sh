#!/usr/bin/env bash
# Runs a command in the guest of a server, through its serial console on its compute host. The guest must have a root shell there, as
# tiny Linux has. Writes the output of the command to standard output.
#
#   guest.sh DIR SERVER-ID COMMAND
#
# Exit code: that of the command; 124 if the guest does not answer within a minute.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# = 3 ] || { printf 'usage: guest.sh DIR SERVER-ID COMMAND\n' >&2; exit 2; }
dir=$(realpath -m -- "$1")
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$here/common.sh"

name=
for host in "${hosts[@]}"; do
  [ ! -d "$dir/hosts/$host/instances/$2" ] || name=$host
done
[ -n "$name" ] || { say "server $2 is on no host of $dir"; exit 2; }
bash "$here/on-host.sh" "$dir" "$name" timeout 60 /usr/bin/python3 "$here/guest.py" "$2" "$3"
