#!/bin/sh
# Turn a minimal Debian root file system into that of a lab host. Runs inside it; $1 is the directory of the recipe.
set -eu
recipe=$1

# Hardware, clock and network belong to the machine below.
for unit in systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket \
    systemd-modules-load.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount \
    systemd-networkd.service systemd-networkd.socket systemd-resolved.service systemd-timesyncd.service \
    getty.target console-getty.service getty@tty1.service \
    dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount; do
  ln -sf /dev/null "/etc/systemd/system/$unit"
done

install -D -m 755 "$recipe/boot.sh" /usr/local/lib/lab/boot
install -D -m 644 "$recipe/lab-boot.service" /etc/systemd/system/lab-boot.service
mkdir -p /etc/systemd/system/sysinit.target.wants
ln -sf ../lab-boot.service /etc/systemd/system/sysinit.target.wants/lab-boot.service
if [ -e "$recipe/oci-wrapper" ]; then
  install -m 755 "$recipe/oci_wrapper.py" /usr/local/sbin/runc
fi

echo 'LANG=C.UTF-8' > /etc/default/locale
install -d -m 700 /root/.ssh
# What tells machines apart is made at first boot; traces of how the image was made go.
: > /etc/machine-id
# systemd would take the machine ID from here, the same on every host.
rm -f /var/lib/dbus/machine-id
rm -f /etc/ssh/ssh_host_* /usr/sbin/policy-rc.d /etc/apt/apt.conf.d/docker-* /etc/dpkg/dpkg.cfg.d/docker*
: > /etc/resolv.conf
: > /etc/hostname
: > /etc/hosts
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/log/bootstrap.log
