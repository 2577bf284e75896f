# shellcheck shell=sh disable=SC2154,SC2034
# Restarts programs that must notice a change.

# restart PID [linked]: kills a program, and starts it again with the same arguments in the same cgroup; linked: when a card
# has a link.
restart() {
  pid=$1
  when=$2
  words=$(tr '\0' '\n' <"/proc/$pid/cmdline")
  group=
  while IFS= read -r group_line; do
    case $group_line in 0::/?*) group=/sys/fs/cgroup${group_line#0::}/cgroup.procs ;; esac
  done <"/proc/$pid/cgroup"
  set --
  while IFS= read -r word; do
    [ "$word" != "hostname:$old_hostname" ] || word=hostname:$hostname
    set -- "$@" "$word"
  done <<WORDS
$words
WORDS
  # KILL, because on TERM a DHCP client might release the lease of the other VM.
  kill -9 "$pid"
  # Wait until its sockets are free.
  tries=0
  while [ -d "/proc/$pid" ] && [ $tries -lt 20 ]; do
    tries=$((tries + 1))
    sleep 0.02
  done
  (
    # Otherwise it would exit together with the agent.
    [ ! -w "$group" ] || echo 0 >"$group"
    [ "$when" != linked ] || await_link
    exec "$@"
  ) >/dev/null 2>&1 </dev/null &
}

# These clients do not notice a link that comes up. That of a clone does after it has reported its identity, within a second.
await_link() {
  tries=0
  while [ $tries -lt 120 ]; do
    for device in $cards; do
      carrier=
      { read -r carrier <"/sys/class/net/$device/carrier"; } 2>/dev/null
      [ "$carrier" != 1 ] || return
    done
    tries=$((tries + 1))
    sleep 0.25
  done
}
