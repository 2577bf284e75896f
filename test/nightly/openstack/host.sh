#!/usr/bin/env bash
# Becomes nova-compute of one host, with a libvirtd of its own, as on another machine. Called by start.sh.
#
#   host.sh DIR NAME
#
# It has its own host name, which Nova asks libvirt for, and its own directories in place of those of the machine's libvirtd. libvirtd
# has a network namespace, so that it cannot change networks and firewall rules of the machine. nova-compute has not: it must reach the
# cloud on 127.0.0.1.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=$1 name=$2
driver=
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$here/common.sh"
state=$dir/hosts/$name
compute=(nova-compute --config-file "$etc/nova-$name.conf" --log-file "$log/host-$name.log")

umask 022
mkdir -p "$state/instances"
chmod 711 "$dir/hosts" "$state" "$state/instances"
[ "$driver" = libvirt ] || exec "${compute[@]}"
if [ "${3:-}" != inside ]; then
  mkdir -p "$state"/libvirt/{run,etc,lib,cache,log}
  exec unshare --mount --uts --propagation private -- bash "${BASH_SOURCE[0]}" "$dir" "$name" inside
fi

hostname "$name"
for place in run:/run/libvirt etc:/etc/libvirt lib:/var/lib/libvirt cache:/var/cache/libvirt log:/var/log/libvirt; do
  mkdir -p "${place#*:}"
  mount --bind "$state/libvirt/${place%%:*}" "${place#*:}"
done
printf '%s\n' 'auth_unix_rw = "none"' >/etc/libvirt/libvirtd.conf
# Control groups would be left behind when the cloud is stopped.
printf '%s\n' 'security_driver = "none"' 'namespaces = []' 'cgroup_controllers = []' >/etc/libvirt/qemu.conf
: >/etc/libvirt/virtlogd.conf
virtlogd --pid-file "$state/libvirt/virtlogd.pid" &
unshare --net -- libvirtd --config /etc/libvirt/libvirtd.conf --pid-file "$state/libvirt/libvirtd.pid" &
for _ in $(seq 100); do
  [ ! -S /run/libvirt/libvirt-sock ] || break
  sleep 0.1
done
exec "${compute[@]}"
