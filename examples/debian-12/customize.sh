# shellcheck shell=sh
# Run by build.sh in the tree, $1, after packages are installed and before mmdebstrap clears lists, caches and machine-id.
set -eu
cd "$1"
grub=$1/boot/grub/i386-pc

chroot "$1" systemctl --quiet enable systemd-networkd

# GRUB's core image follows the boot record; it loads the rest from the first partition.
mkdir "$grub"
cp "$1"/usr/lib/grub/i386-pc/*.mod "$1"/usr/lib/grub/i386-pc/*.lst "$grub/"
chroot "$1" grub-mkimage -O i386-pc -o /boot/grub/i386-pc/core.img -p '(hd0,msdos1)/boot/grub' biosdisk part_msdos ext2

# Files that all clones would share.
rm -rf "$1"/etc/ssh/ssh_host_* "$1"/var/lib/cloud/* "$1/var/lib/systemd/random-seed"
# Settings of the build machine: names, and options for apt and dpkg.
echo debian >"$1/etc/hostname"
ln -sf ../run/systemd/resolve/stub-resolv.conf "$1/etc/resolv.conf"
rm -f "$1/etc/.resolv.conf.systemd-resolved.bak" "$1/etc/apt/apt.conf.d/99mmdebstrap" "$1/etc/dpkg/dpkg.cfg.d/99mmdebstrap"
find "$1/var/log" "$1/var/cache/debconf" "$1/var/lib/dpkg" -type f \( -name '*.log' -o -name '*-old' \) -delete
