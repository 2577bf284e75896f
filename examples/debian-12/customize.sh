# shellcheck shell=sh
# What build.sh does in the tree, $1, after the packages are installed and before mmdebstrap empties lists, caches and machine-id.
set -eu
cd "$1"
grub=$1/boot/grub/i386-pc

chroot "$1" systemctl --quiet enable systemd-networkd

# GRUB's core goes behind the boot record; the rest of GRUB it finds in the first partition.
mkdir "$grub"
cp "$1"/usr/lib/grub/i386-pc/*.mod "$1"/usr/lib/grub/i386-pc/*.lst "$grub/"
chroot "$1" grub-mkimage -O i386-pc -o /boot/grub/i386-pc/core.img -p '(hd0,msdos1)/boot/grub' biosdisk part_msdos ext2

# What all clones would share.
rm -rf "$1"/etc/ssh/ssh_host_* "$1"/var/lib/cloud/* "$1/var/lib/systemd/random-seed"
# What is this machine's: names, and what the build told apt and dpkg.
echo debian >"$1/etc/hostname"
ln -sf ../run/systemd/resolve/stub-resolv.conf "$1/etc/resolv.conf"
rm -f "$1/etc/.resolv.conf.systemd-resolved.bak" "$1/etc/apt/apt.conf.d/99mmdebstrap" "$1/etc/dpkg/dpkg.cfg.d/99mmdebstrap"
find "$1/var/log" "$1/var/cache/debconf" "$1/var/lib/dpkg" -type f \( -name '*.log' -o -name '*-old' \) -delete
