#!/usr/bin/env bash
# Runs a command on a compute host of the cloud: with its host name and its libvirtd.
#
#   on-host.sh DIR HOST COMMAND...
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -gt 2 ] || { printf 'usage: on-host.sh DIR HOST COMMAND...\n' >&2; exit 2; }
dir=$(realpath -m -- "$1")
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$here/common.sh"
shift
# The pid file of the host has numbers of the PID namespace, so the second step is made inside.
# shellcheck disable=SC2016 # expanded inside
in_cloud bash -c 'dir=$1; . "$2"; shift 2; on_host "$@"' on-host "$dir" "$here/common.sh" "$@"
