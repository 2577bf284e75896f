# shellcheck shell=sh disable=SC2154
# Run by the guest's agent after the guest's memory was restored, or was loaded into another VM. POSIX sh: busybox, Debian,
# Ubuntu, Fedora. cowherd puts the files of this directory that are needed before this one, since each byte and each process
# takes time in an emulated guest, and before them these assignments, quoted; an empty value means: do not change.
#
#   clock       seconds since the epoch, with a fraction
#   entropy     random text from the host
#   renew       yes: request a new DHCP lease
#   thawed      yes: this is the source VM after a freeze, see before-freeze.sh
#   hostname, machine_id
#   macs        OLD=NEW, one per word
#   host_keys   renew
#   new_TYPE, new_TYPE_pub   new OpenSSH host keys: ed25519, ecdsa, rsa
#   new_dropbear             a key file of dropbear, ed25519, as octal escapes
#   hook        a command line from the user
#   report      yes: report the guest's identity
#
# At the end it prints what core/guest/identity-report.ts reads.

note() { notes="$notes
note $*"; }

main() {
  export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
  for variable in notes set_to changed patterns changes waiting flushed is_new hook_code reseeded old_hostname \
    udhcpc dhclient dhcpcd network_manager networkd; do
    eval "$variable="
  done
  [ -z "$clock" ] || set_clock
  [ -z "$entropy" ] || reseed
  [ -z "$machine_id" ] || set_machine_id
  [ -z "$hostname" ] || set_hostname
  [ -z "$renew$thawed" ] || find_services
  [ -z "$thawed" ] || [ -z "$networkd" ] || kill -CONT "$networkd"
  # Otherwise it would request and get the other VM's address as soon as it saw the new MAC.
  [ -z "$networkd" ] || [ -z "$machine_id" ] || kill -STOP "$networkd"
  [ -z "$macs" ] || set_macs
  [ -z "$renew" ] || renew_lease
  echo 'cowherd-self 1'
  [ -z "$host_keys" ] || renew_host_keys
  # Otherwise a guest that is killed before its kernel has written the changes would boot as the other VM.
  [ -z "$hostname$machine_id$host_keys" ] || sync
  [ -z "$renew" ] || [ -z "$networkd" ] || [ -z "$is_new" ] || ensure_networkd
  [ -z "$hook" ] || run_hook
  [ -z "$renew$report" ] || await_addresses
  [ -z "$report" ] || report_identity
  [ -z "$hook_code" ] || echo "hook $hook_code"
  # The time that was set, or the guest's own.
  echo "clock ${set_to:-$(date +%s.%N)}$notes"
  echo cowherd-end
}
# The shell reads this text from its standard input; no other program may read from it.
main </dev/null
