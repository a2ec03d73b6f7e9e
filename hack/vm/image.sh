#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Makes the guest from Debian's packages: DIR/root.img (ext4), DIR/vmlinuz, DIR/initrd.img.
# Usage, as root: hack/vm/image.sh DIR. `vm image` calls it, and keeps what it makes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?a directory}

# What is mounted below is gone with this process.
if [ -z "${IN_NAMESPACE:-}" ]; then
    exec env IN_NAMESPACE=1 unshare --mount --propagation private "$0" "$@"
fi

release=trixie
base=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,udev,kmod,login,passwd,procps,psmisc,iproute2,ca-certificates
packages=(
    python3 systemd-container apparmor uidmap attr acl
    runc crun criu busybox-static
    bats jq gawk strace socat ncat xz-utils zstd file bpftool
    containerd podman conmon fuse-overlayfs netavark passt iptables nftables
)
modules=(
    net fs crypto lib arch/x86/crypto block drivers/char/hw_random
    drivers/block/{virtio_blk,loop,brd} drivers/block/null_blk
    drivers/net/{veth,dummy,tun,macvlan,ifb,virtio_net,net_failover} drivers/net/ipvlan
)
without=(fs/{xfs,btrfs,ocfs2,gfs2,ceph,smb,nfs,nfsd,jfs,f2fs,bcachefs,ubifs} net/{bluetooth,mac80211,wireless,ceph,sctp,tipc,nfc,batman-adv})
# They cost time at boot and do nothing for a machine that lives for minutes.
masked=(
    getty@tty1.service getty.target serial-getty@ttyS0.service console-getty.service
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer
    podman-auto-update.timer podman.socket podman.service podman-restart.service podman-clean-transient.service containerd.service
    systemd-timesyncd.service systemd-random-seed.service systemd-update-utmp.service systemd-journal-flush.service
    systemd-pstore.service ldconfig.service systemd-journal-catalog-update.service systemd-update-done.service
    systemd-hwdb-update.service systemd-sysusers.service systemd-firstboot.service systemd-machine-id-commit.service
    systemd-binfmt.service proc-sys-fs-binfmt_misc.automount sys-kernel-debug.mount sys-kernel-tracing.mount
    sys-kernel-config.mount modprobe@configfs.service modprobe@dm_mod.service modprobe@drm.service
    modprobe@efi_pstore.service modprobe@loop.service modprobe@fuse.service systemd-networkd.service
    systemd-network-generator.service systemd-udev-settle.service systemd-remount-fs.service systemd-tpm2-setup.service
    systemd-tpm2-setup-early.service systemd-pcrmachine.service systemd-hibernate-clear.service
    systemd-udev-load-credentials.service systemd-tmpfiles-clean.timer remote-fs.target apparmor.service
)

step() { echo "[image, $SECONDS s] $*"; }

# The command line's last lines of a log are what explains a failure.
logged() {
    "$@" >"$out/build.log" 2>&1 || { tail -n 20 "$out/build.log" >&2; echo "image.sh: $1 failed" >&2; exit 1; }
}

in_root() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"; }

install_packages() {
    read -r mirror _ < <("$here/../debian-mirror.sh")
    step "debootstrap $release"
    logged debootstrap --variant=minbase --include="$base" "$release" "$root" "$mirror"
    mount -t proc proc "$root/proc"
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    echo "deb $mirror $release main" >"$root/etc/apt/sources.list"
    # The machine's way to its mirror, and no complaint about a mirror that stands still.
    { apt-config dump | grep -i '^acquire::[a-z]*::proxy' || true
      echo 'Acquire::Check-Valid-Until "false";'
      echo 'Acquire::Check-Date "false";'; } >"$root/etc/apt/apt.conf.d/90image"
    # Neither is read by anyone in there.
    printf 'path-exclude=/usr/share/%s/*\n' doc man locale info >"$root/etc/dpkg/dpkg.cfg.d/image"
    step "${#packages[@]} packages and a kernel"
    logged in_root apt-get update -qq
    logged in_root apt-get install -qq -y --no-install-recommends "${packages[@]}"
    kernel=$(in_root apt-cache depends linux-image-amd64 | awk '/Depends: linux-image/ { print $2; exit }')
    # Unpacked beside the root: only some modules of it are wanted, and no initramfs tools.
    logged in_root sh -c "cd /root && apt-get download -qq $kernel"
    mkdir "$work/kernel"
    dpkg-deb -x "$root"/root/linux-image-*.deb "$work/kernel"
    umount "$root/proc"
    rm -rf "$root"/root/*.deb "$root"/usr/sbin/policy-rc.d "$root"/etc/apt/apt.conf.d/90image "$root"/etc/resolv.conf \
        "$root"/etc/apt/sources.list "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale,info}/*
}

install_modules() {
    version=$(ls "$work/kernel/usr/lib/modules")
    local from=$work/kernel/usr/lib/modules/$version to=$root/usr/lib/modules/$version module
    mkdir -p "$to/kernel"
    cp "$from"/modules.{builtin,builtin.modinfo,order} "$to/"
    for module in "${modules[@]}"; do
        [ -d "$from/kernel/$module" ] || module=$module.ko.xz
        [ -e "$from/kernel/$module" ] || continue
        mkdir -p "$to/kernel/$(dirname "$module")"
        cp -a "$from/kernel/$module" "$to/kernel/$module"
    done
    for module in "${without[@]}"; do rm -rf "${to:?}/kernel/$module"; done
    find "$to" -name '*.ko.xz' -print0 | xargs -0 -n 50 -P 2 xz -d
    depmod -b "$root/usr" "$version" 2>>"$out/build.log" || depmod -b "$root" "$version"
}

# A user with a manager of its own from boot on, to which controllers are delegated.
add_user() {
    in_root useradd -m -s /bin/bash -u 1000 rootless
    grep -q ^rootless: "$root/etc/subuid" || echo rootless:100000:65536 >>"$root/etc/subuid"
    grep -q ^rootless: "$root/etc/subgid" || echo rootless:100000:65536 >>"$root/etc/subgid"
    mkdir -p "$root/var/lib/systemd/linger" "$root/etc/systemd/system/user@.service.d"
    : >"$root/var/lib/systemd/linger/rootless"
    printf '[Service]\nDelegate=cpu cpuset io memory pids\n' >"$root/etc/systemd/system/user@.service.d/delegate.conf"
}

configure() {
    local etc=$root/etc unit
    echo guest >"$etc/hostname"
    printf '127.0.0.1 localhost guest\n::1 localhost\n' >"$etc/hosts"
    : >"$etc/fstab"
    # A fixed one: made anew at boot it would ask for a first-boot set-up.
    printf '%032d\n' 1 >"$etc/machine-id"
    in_root passwd -d root >/dev/null
    add_user
    mkdir -p "$etc/systemd/journald.conf.d" "$etc/systemd/system.conf.d" "$etc/systemd/system/multi-user.target.wants"
    printf '[Journal]\nStorage=volatile\nForwardToConsole=no\nAudit=no\n' >"$etc/systemd/journald.conf.d/guest.conf"
    printf '[Manager]\nDefaultTimeoutStopSec=10s\nLogLevel=warning\n' >"$etc/systemd/system.conf.d/guest.conf"
    for unit in "${masked[@]}"; do ln -sf /dev/null "$etc/systemd/system/$unit"; done
    install -m 755 "$here/guest/agent" "$root/usr/local/sbin/agent"
    install -m 644 "$here/guest/agent.service" "$etc/systemd/system/agent.service"
    ln -s ../agent.service "$etc/systemd/system/multi-user.target.wants/agent.service"
}

make_initrd() {
    local dir=$work/initrd module file list=
    mkdir -p "$dir"/{bin,lib,dev,new}
    cp "$root/bin/busybox" "$dir/bin/busybox"
    for module in virtio_blk ext4; do
        # In the order in which they must be loaded.
        while read -r file; do
            [ -e "$dir/lib/$(basename "$file")" ] && continue
            cp "$file" "$dir/lib/"
            list="$list $(basename "$file")"
        done < <(modprobe -d "$root/usr" -S "$version" --show-depends "$module" 2>/dev/null | awk '/^insmod/ { print $2 }' ||
            modprobe -d "$root" -S "$version" --show-depends "$module" | awk '/^insmod/ { print $2 }')
    done
    [ -n "$list" ] || { echo "image.sh: no module for the disk" >&2; exit 1; }
    cat >"$dir/init" <<END
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in $list; do /bin/busybox insmod /lib/\$module; done
/bin/busybox mount -t ext4 -o rw,noatime /dev/vda /new
/bin/busybox mount --move /dev /new/dev
exec /bin/busybox switch_root /new /sbin/init
END
    chmod 755 "$dir/init"
    (cd "$dir" && find . | cpio -o -H newc --quiet) >"$out/initrd.img"
}

make_disk() {
    truncate -s "$(($(du -sm "$root" | cut -f 1) + 1500))M" "$out/root.img"
    logged mke2fs -q -t ext4 -O ^has_journal,^metadata_csum,^64bit -E lazy_itable_init=1 -m 0 -d "$root" "$out/root.img"
}

mkdir -p "$out"
work=$out/work root=$out/work/root
rm -rf "$work"
mkdir "$work"
install_packages
step "image"
install_modules
configure
make_initrd
make_disk
cp "$work"/kernel/boot/vmlinuz-* "$out/vmlinuz"
in_root dpkg-query -W -f '${Package} ${Version}\n' >"$out/packages"
echo "linux $version" >>"$out/packages"
rm -rf "$work" "$out/build.log"
step "done: $(du -sm --apparent-size "$out/root.img" | cut -f 1) MiB disk, $(du -sm "$out" | cut -f 1) MiB used"
