# shellcheck shell=sh disable=SC2154,SC2034
# DHCP clients of the guest.

# Read all processes once; each pidof would read all of /proc.
find_services() {
  for process in /proc/[0-9]*; do
    name=
    { read -r name <"$process/comm"; } 2>/dev/null
    case $name in
      udhcpc) udhcpc="$udhcpc ${process#/proc/}" ;;
      dhclient) dhclient="$dhclient ${process#/proc/}" ;;
      dhcpcd) dhcpcd=yes ;;
      NetworkManager) network_manager=yes ;;
      systemd-network) networkd=${process#/proc/} ;;
    esac
  done
}
