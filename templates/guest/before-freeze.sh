# shellcheck shell=sh disable=SC2154
# Run by the agent of a source VM directly before it is frozen, after services.sh.

# A clone begins with its links down. networkd would drop the lease, start systemd-hostnamed and tell other services, only to be
# killed for its new identity. So it is stopped in the memory that clones start with. The source VM continues it: cowherd asks for
# that, and if it cannot, this does after 20 seconds.
LC_ALL=C
networkd=
find_services
[ -z "$networkd" ] || {
  kill -STOP "$networkd"
  (
    sleep 20
    kill -CONT "$networkd"
  ) >/dev/null 2>&1 </dev/null &
}
