#!/usr/bin/env bash
# Runs commands in a copy of this checkout on a fresh, minimal Debian of another release, with the libvirt, QEMU and Node.js of that
# release. The system has its own mounts, processes, devices and network, and is deleted at the end.
#
#   fresh-debian.sh [--keep DIR] SUITE [COMMAND]...
#                     SUITE: bookworm, trixie
#                     COMMAND: run by bash in the checkout; default: 'npm run quickstart' and 'npm test'
#                     --keep: use this directory and keep the system for another run
#
# Needs root, mmdebstrap and slirp4netns. If the release's own Node.js is too old, the Node.js of this machine is used.
# Exit code 3: something is missing. Otherwise the exit code of the first command that fails.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'fresh-debian: %s\n' "$*" >&2; }
give_up() { say "$*"; exit 3; }

dir=
if [ "${1:-}" = --keep ] && [ $# -gt 2 ]; then dir=$2; shift 2; fi
suite=${1:-}
[ -n "$suite" ] || give_up 'usage: fresh-debian.sh [--keep DIR] SUITE [COMMAND]...'
shift
[ $# -gt 0 ] || set -- 'npm run quickstart' 'npm test'
[ "$(id -u)" = 0 ] || give_up "this needs root: sudo bash scripts/fresh-debian.sh $suite"
for tool in mmdebstrap slirp4netns unshare; do
  command -v $tool >/dev/null || give_up "$tool is missing: apt-get install mmdebstrap slirp4netns util-linux"
done
[ -c /dev/net/tun ] || give_up '/dev/net/tun is missing: modprobe tun'

# --- The system -----------------------------------------------------------------------------------------------------------
system=${dir:-$(mktemp -d /var/tmp/cowherd-debian.XXXXXX)}
guest=
network=
# The mounts belong to the first process inside and disappear with it. Meanwhile unshare ignores signals, so kill it with KILL.
trap 'for pid in $guest $network; do kill -KILL "$pid" 2>/dev/null || true; done; [ -n "$dir" ] || rm -rf --one-file-system "$system"' EXIT
trap 'exit 130' INT TERM HUP

if [ ! -e "$system/etc/debian_version" ]; then
  say "creating a minimal Debian $suite in $system"
  # Use the mirror of this machine if it runs Debian.
  mirror=
  if grep -q '^ID=debian' /etc/os-release; then
    mirror=$(awk '/^URIs:/ { print $2; exit } /^deb / { print $2; exit }' \
      $(ls /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null))
  fi
  mmdebstrap --quiet --variant=apt --include=ca-certificates,mount,iproute2 "$suite" "$system" ${mirror:+"$mirror"}
fi
# Settings for reaching mirrors and registries.
cp /etc/hosts "$system/etc/hosts"
cp -r /etc/ssl/certs "$system/etc/ssl/"
{ grep -rls '^Acquire::' /etc/apt/apt.conf.d || true; } | xargs -r cp -t "$system/etc/apt/apt.conf.d"
for config in "${NPM_CONFIG_USERCONFIG:-$HOME/.npmrc}"; do [ ! -f "$config" ] || cp "$config" "$system/root/.npmrc"; done
# slirp4netns forwards to this machine's name servers.
echo 'nameserver 10.0.2.3' >"$system/etc/resolv.conf"

checkout=$system/root/cowherd
rm -rf "$checkout"
mkdir "$checkout"
git ls-files -z --cached --others --exclude-standard | xargs -0 sh -c 'for f; do [ ! -e "$f" ] || printf "%s\0" "$f"; done' sh |
  tar -c --null --files-from=- | tar -x -C "$checkout"

# --- Node -----------------------------------------------------------------------------------------------------------------
# Debian 12's own Node.js is too old; see docs/install.md for a newer one.
node_major=$(chroot "$system" sh -c 'apt-get update -qq && apt-cache policy nodejs' | sed -n 's/^ *Candidate: *\([0-9]*\).*/\1/p')
if [ "${node_major:-0}" -ge 20 ]; then
  node_packages='nodejs npm'
  certificates=
else
  say "Node.js $node_major of $suite is too old: using $(node --version) of this machine"
  node_packages=
  node=$(readlink -f "$(command -v node)")
  npm=$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")
  install -D "$node" "$system/usr/local/bin/node"
  mkdir -p "$system/usr/local/lib/node_modules"
  rm -rf "$system/usr/local/lib/node_modules/npm"
  cp -r "$npm" "$system/usr/local/lib/node_modules/npm"
  # Unlike other builds, Debian's Node.js uses the system's certificates.
  certificates=/etc/ssl/certs/ca-certificates.crt
  ln -sf ../lib/node_modules/npm/bin/npm-cli.js "$system/usr/local/bin/npm"
  ln -sf ../lib/node_modules/npm/bin/npx-cli.js "$system/usr/local/bin/npx"
fi

# --- The run --------------------------------------------------------------------------------------------------------------
cat >"$system/root/inside.sh" <<'EOF'
set -eu
until ip link show tap0 >/dev/null 2>&1; do sleep 0.1; done
ip link set lo up
export HOME=/root LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
[ -z "$node_packages" ] ||
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $node_packages >/dev/null 2>&1
cd /root/cowherd
for command; do
  printf '\nfresh-debian: Debian %s, Node %s: %s\n' "$(cat /etc/debian_version)" "$(node --version)" "$command"
  bash -c "$command"
done
EOF
kvm=
[ ! -c /dev/kvm ] || kvm=yes
export system node_packages certificates kvm
# shellcheck disable=SC2016
unshare --mount --pid --net --fork --kill-child bash -euo pipefail -c '
  mount --make-rprivate /
  mount --bind "$system" "$system"
  cd "$system"
  mount -t proc proc proc
  mount -t sysfs -o ro sysfs sys
  mount -t cgroup2 cgroup2 sys/fs/cgroup 2>/dev/null || true
  for tmpfs in run tmp dev; do mount -t tmpfs tmpfs $tmpfs; done
  for node in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
    IFS=: read -r name major minor <<<"$node"
    mknod -m 666 "dev/$name" c "$major" "$minor"
  done
  # As systemd-tmpfiles makes it at boot: virsh console locks its terminal there.
  mkdir -m 1777 run/lock
  mkdir dev/pts dev/shm dev/net
  mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
  ln -s pts/ptmx dev/ptmx
  ln -s /proc/self/fd dev/fd
  mknod -m 666 dev/net/tun c 10 200
  # setup.sh changes its group to kvm.
  [ -z "$kvm" ] || mknod -m 600 dev/kvm c 10 232
  mount -t tmpfs tmpfs dev/shm
  mkdir -p .outside
  pivot_root . .outside
  cd /
  umount -l /.outside
  exec env -i system= node_packages="$node_packages" NODE_EXTRA_CA_CERTS="$certificates" TERM="${TERM:-dumb}" bash /root/inside.sh "$@"
' inside "$@" <&0 &
guest=$!
inner=
for _ in $(seq 100); do
  inner=$(pgrep -P "$guest" || true)
  [ -z "$inner" ] || break
  sleep 0.1
done
[ -n "$inner" ] || give_up 'the system did not start'
slirp4netns --configure --mtu=65520 --disable-host-loopback "$inner" tap0 >/dev/null 2>&1 &
network=$!
wait "$guest"
