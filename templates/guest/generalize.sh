# shellcheck shell=sh
# Run as root in a guest before its last shutdown: removes what VMs with a copy of its disk must not share. POSIX sh: busybox, Debian,
# Ubuntu, Fedora. Services may still be running, so what is removed comes back only if they write it again while they stop.

export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Its first-boot work is then done again. The seed in the image stays, as with "cloud-init clean".
clean_cloud_init() {
  ! command -v cloud-init >/dev/null 2>&1 || cloud-init clean --logs >/dev/null 2>&1
  for part in data instance instances sem; do rm -rf "/var/lib/cloud/$part"; done
}

# An empty file: systemd generates a new machine-id at the next boot, and does not treat it as the first one.
clean_machine_id() {
  [ ! -e /etc/machine-id ] || : >/etc/machine-id
  [ -L /var/lib/dbus/machine-id ] || rm -f /var/lib/dbus/machine-id
}

clean_host_keys() {
  rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub /etc/ssh/ssh_host_*-cert.pub /etc/dropbear/dropbear_*_host_key
}

clean_network() {
  rm -f /var/lib/dhcp/*.leases /var/lib/dhclient/*.lease* /var/lib/dhcpcd/*.lease /var/lib/dhcpcd/duid /var/lib/dhcpcd5/*.lease \
    /etc/dhcpcd.duid /var/lib/NetworkManager/*.lease /var/lib/NetworkManager/secret_key /etc/udev/rules.d/70-persistent-net.rules
  for file in /etc/sysconfig/network-scripts/ifcfg-*; do
    [ ! -f "$file" ] || sed -i '/^HWADDR=/d' "$file"
  done
}

# Directories with mounts inside are skipped: their content is not on this disk.
clean_temporary() {
  for directory in /tmp /var/tmp; do
    if [ ! -d "$directory" ] || [ -L "$directory" ] || grep -q " $directory/" /proc/mounts; then continue; fi
    rm -rf "${directory:?}"/* "$directory"/.[!.]* "$directory"/..?*
  done
}

clean_logs() {
  rm -rf /var/log/journal/*
  find /var/log -xdev -type f \( -name '*.gz' -o -name '*.xz' -o -name '*.[0-9]' -o -name '*.old' \) -exec rm -f {} +
  # Services have them open, so the files stay.
  # shellcheck disable=SC2016 # for the inner shell
  find /var/log -xdev -type f -exec sh -c 'for file; do : >"$file"; done' sh {} +
}

clean_history() {
  for home in /root /home/*; do
    [ ! -d "$home" ] || rm -f "$home"/.*_history
  done
}

main() {
  clean_cloud_init
  clean_machine_id
  clean_host_keys
  clean_network
  clean_temporary
  clean_logs
  clean_history
  sync
  if [ -s /etc/machine-id ]; then
    echo 'cannot write to /etc/machine-id' >&2
    exit 1
  fi
  for key in /etc/ssh/ssh_host_*_key; do
    if [ -e "$key" ]; then
      echo "cannot remove $key" >&2
      exit 1
    fi
  done
  exit 0
}
main </dev/null
