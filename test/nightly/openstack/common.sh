# shellcheck shell=bash disable=SC2034,SC2154 # used by the scripts that read this file
# Shared by the scripts of the cloud: settings, files, processes. The reader sets `dir`, the directory of the cloud, first.

say() { printf 'openstack: %s\n' "$*" >&2; }
give_up() { say "$*"; exit 3; }

etc=$dir/etc run=$dir/run log=$dir/log
hosts=(alpha beta)

# The services are Debian's: another Python, its modules and proxies must not get in between.
export PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
unset PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE REQUESTS_CA_BUNDLE
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY
export no_proxy=127.0.0.1

# Written when the directory is created. A directory without it is not one of these clouds.
if [ -f "$dir/settings" ]; then
  # shellcheck source=/dev/null
  . "$dir/settings"
fi
# Clouds with other ports can run beside this one. The numbers are below those that the kernel gives to clients.
first_port=${first_port:-${COWHERD_OPENSTACK_PORTS:-18770}}
identity_port=$first_port
image_port=$((first_port + 1))
compute_port=$((first_port + 2))
placement_port=$((first_port + 3))
network_port=$((first_port + 4))
rabbit_port=$((first_port + 5))
erlang_port=$((first_port + 6))
epmd_port=$((first_port + 7))
last_port=$epmd_port
identity_url=http://127.0.0.1:$identity_port/v3

# record PID: the process as a line of a pid file: with its start, because the kernel gives numbers of ended processes to others.
record() { printf '%s %s\n' "$1" "$(started "$1")"; }
# started PID: the 22nd field of stat; nothing if it has ended. The second field is a name in parentheses, which may contain spaces.
started() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
  # shellcheck disable=SC2086 # words
  set -- ${stat##*) }
  [ "$1" = Z ] || printf '%s\n' "${20}"
}
# pid_of FILE: the process of a pid file, if it exists.
pid_of() {
  local pid start
  { read -r pid start <"$1"; } 2>/dev/null || return 1
  [ -n "$start" ] && [ "$(started "$pid")" = "$start" ] && printf '%s\n' "$pid"
}

# in_cloud COMMAND...: runs a command among the processes of the cloud.
in_cloud() {
  local init
  init=$(pid_of "$run/init.pid") || { say "the cloud in $dir is not running"; return 1; }
  nsenter --target "$init" --pid --mount -- "$@"
}
# on_host NAME COMMAND...: runs a command on a compute host, from inside the cloud.
on_host() {
  local host
  host=$(pid_of "$run/host-$1.pid") || { say "host $1 is not running"; return 1; }
  shift
  nsenter --target "$host" --mount --uts -- "$@"
}
