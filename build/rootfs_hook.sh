#!/bin/sh
# mmdebstrap's setup hook and its customize hook, run in the tools root with the new root's folder as $1.
# Mounted by build/rootfs.py: /mnt/repo (the locked .debs), /mnt/first (those that packages' scripts need),
# /mnt/expected (name, version and architecture of each, sorted), /mnt/exclude (dpkg's path options, a line each),
# /mnt/native (programs of the tools root to be used instead of the new root's while packages are configured; empty
# where both are of one architecture).
#
# The tools root's own dpkg unpacks, and while the packages' scripts run inside, the tools root's programs lie over
# the new root's: the same programs, of this machine's architecture. That gives the same bytes as emulating them all
# (a test compares) for a fifth of the processor time: 26 s instead of 134 s, most of it in byte-compiling Python's
# library and in hashing certificates.
set -eu
root=$1
cd /
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true

if [ "$MMDEBSTRAP_HOOK" = setup ]; then
    while read -r deb; do
        dpkg-deb --fsys-tarfile "/mnt/repo/$deb" | tar --extract --directory="$root" --preserve-permissions \
            --exclude=./usr/share/doc --exclude=./usr/share/man --exclude=./usr/share/locale \
            --exclude=./usr/share/info --exclude=./usr/share/lintian --exclude=./usr/share/bug
    done < /mnt/first
    exit 0
fi

xargs -a /mnt/exclude sh -c 'exec dpkg "$@" --unpack /mnt/repo/*.deb' unpack --root="$root" --log=/dev/null \
    --force-architecture --force-depends --force-unsafe-io

libraries=$(dirname "$(echo usr/lib/*/ld-linux-*.so.*)")
if [ -s /mnt/native ]; then
    for folder in lib64 "$libraries"; do
        mkdir "$root/$folder"
        mount --bind "/$folder" "$root/$folder"
    done
    : > /mnt/mounted
    while read -r program; do
        if [ -f "$root/$program" ] && [ ! -L "$root/$program" ]; then
            mount --bind "/$program" "$root/$program"
            echo "$root/$program" >> /mnt/mounted
        fi
    done < /mnt/native
fi
chroot "$root" dpkg --log=/dev/null --force-unsafe-io --configure -a
if [ -s /mnt/native ]; then
    xargs -a /mnt/mounted umount
    umount "$root/lib64" "$root/$libraries"
    rmdir "$root/lib64" "$root/$libraries"
fi

# shellcheck disable=SC2016 # dpkg-query's own variables
dpkg-query --admindir="$root/var/lib/dpkg" --show \
    --showformat='${Package} ${Version} ${Architecture} ${db:Status-Status}\n' | LC_ALL=C sort > /mnt/installed
diff -u /mnt/expected /mnt/installed

# The user that the image runs as. Appended rather than made by adduser: that is one more package, and emulated.
echo 'spark:*:1000:1000::/home/spark:/bin/bash' >> "$root/etc/passwd"
echo 'spark:x:1000:' >> "$root/etc/group"
mkdir -m 755 "$root/home/spark"
chown 1000:1000 "$root/home/spark"

# Nothing that tells when, where or how this was made, and no second copy of what can be made again.
: > "$root/etc/machine-id"
rm -f "$root/etc/hostname" "$root/etc/resolv.conf"
rm -rf "$root/etc/apt" "$root/var/lib/apt" "$root/var/cache" "$root/var/log" "$root/tmp" "$root/run" "$root/var/tmp" \
    "$root/var/lib/dpkg/lock" "$root/var/lib/dpkg/lock-frontend" "$root/var/lib/dpkg/arch"
find "$root/etc" "$root/var" -xdev \( -name '*-old' -o -name '*-' -o -name '.pwd.lock' \) -type f -delete
mkdir "$root/run" "$root/var/cache" "$root/var/log"
mkdir -m 1777 "$root/tmp" "$root/var/tmp"
