#!/usr/bin/env bash
# Starts a real OpenStack cloud (Keystone, Glance, Placement, Nova) with two compute hosts on this machine, on 127.0.0.1 only.
#
#   up.sh [--fake] [DIR]            DIR: where everything of it is kept; default: a new directory in /var/tmp
#                                   --fake: hosts with Nova's fake driver, which has no guests, instead of libvirt
#
# Writes DIR to standard output. DIR/clouds.yaml has the clouds "nightly", a user of a project, and "nightly-admin". If the cloud is
# running already, only processes that have ended are started again. down.sh DIR stops it and removes DIR.
#
# All processes are in a PID namespace, so that none can outlive the cloud, and in a mount namespace. Each compute host has a host name,
# a mount namespace and a libvirtd with a network namespace of its own. COWHERD_OPENSTACK_PORTS: the first of eight ports (default
# 18770). Needs root. Exit code 2: invalid arguments. Exit code 3: something is missing; see install.sh.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

driver=libvirt
dir=
for word; do
  case $word in
    --fake) driver=fake ;;
    -*) printf 'openstack: unknown option %s\nusage: up.sh [--fake] [DIR]\n' "$word" >&2; exit 2 ;;
    *) dir=$(realpath -m -- "$word") ;;
  esac
done
[ "$(id -u)" = 0 ] || { printf 'openstack: this needs root: sudo bash %s\n' "$0" >&2; exit 3; }
[ -n "$dir" ] || dir=$(mktemp -d /var/tmp/cowherd-openstack.XXXXXX)
asked=$driver
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$here/common.sh"

for tool in nova-compute nova-scheduler glance-api uwsgi_python3 mariadbd memcached tini libvirtd unshare nsenter; do
  command -v $tool >/dev/null || give_up "$tool is missing: bash $here/install.sh"
done

create_directory() {
  if [ -e "$dir/settings" ]; then
    [ "$driver" = "$asked" ] || give_up "the cloud in $dir has the $driver driver: bash $here/down.sh $dir"
    return
  fi
  [ -z "$(ls -A "$dir" 2>/dev/null)" ] || give_up "$dir is not empty: name another directory"
  is_new=yes
  mkdir -p "$dir"/{etc,run,log,tmp}
  # QEMU's user must reach the disks, but need not see what is beside them.
  chmod 711 "$dir"
  chmod 700 "$dir"/{etc,run,log,tmp}
  printf 'first_port=%s\ndriver=%s\n' "$first_port" "$driver" >"$dir/settings"
}

assert_ports_are_free() {
  local port
  for port in $(seq "$first_port" "$last_port"); do
    ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null ||
      give_up "port $port of 127.0.0.1 is in use: set COWHERD_OPENSTACK_PORTS to the first of eight other ports"
  done
}

# Creates the namespaces, which exist as long as their first process.
create_namespaces() {
  setsid unshare --mount --pid --fork --kill-child=KILL --mount-proc --propagation private -- tini -- sleep infinity \
    </dev/null >"$log/cloud.out" 2>&1 &
  record "$!" >"$run/cloud.pid"
  disown
  local init=''
  for _ in $(seq 100); do
    init=$(pgrep -P "$!" -x tini) && break
    sleep 0.1
  done
  [ -n "$init" ] || give_up "the namespaces could not be created: $(cat "$log/cloud.out")"
  record "$init" >"$run/init.pid"
}

# A cloud that was running before stays.
is_new=no
is_done=no
clean_up() {
  [ $is_new = yes ] && [ $is_done = no ] || return 0
  say "removing $dir again"
  bash "$here/down.sh" "$dir"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP
create_directory
if ! pid_of "$run/init.pid" >/dev/null; then
  assert_ports_are_free
  create_namespaces
fi
# In the background, because a trap waits for the end of a command in the foreground.
in_cloud bash "$here/start.sh" "$dir" &
wait $!
is_done=yes
printf '%s\n' "$dir"
