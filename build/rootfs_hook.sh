#!/bin/sh
# mmdebstrap's setup hook and its customize hook, run in the tools root with the new root's folder as $1.
# Mounted by build/rootfs.py: /mnt/repo (the locked .debs), /mnt/first (those that packages' scripts need),
# /mnt/expected (name, version and architecture of each, sorted), /mnt/exclude (dpkg's path options, a line each),
# /mnt/native (the builder root, where its Python is the same as the new root's).
#
# Unpacking is done by the tools root's own dpkg, at native speed; the packages' scripts run inside, emulated where
# the machine is not arm64. Byte-compiling Python's library inside took 115 of 250 seconds: the same Python of this
# machine's architecture writes the same bytes in two.
set -eu
root=$1
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

if [ -e /mnt/native/usr/bin/python3.13 ]; then
    mkdir "$root/run/native"
    mount --bind /mnt/native "$root/run/native"
    loader=$(cd /mnt/native && echo usr/lib/*/ld-linux-*.so.*)
    cat > /mnt/python <<EOF
#!/bin/sh
exec /run/native/$loader --library-path /run/native/${loader%/*} /run/native/usr/bin/python3.13 "\$@"
EOF
    chmod 755 /mnt/python
    mount --bind /mnt/python "$root/usr/bin/python3.13"
fi
chroot "$root" dpkg --log=/dev/null --force-unsafe-io --configure -a
if [ -e "$root/run/native" ]; then
    umount "$root/usr/bin/python3.13" "$root/run/native"
    rmdir "$root/run/native"
fi

# shellcheck disable=SC2016 # dpkg-query's own variables
dpkg-query --admindir="$root/var/lib/dpkg" --show \
    --showformat='${Package} ${Version} ${Architecture} ${db:Status-Status}\n' | LC_ALL=C sort > /mnt/installed
diff -u /mnt/expected /mnt/installed

# The user that the image runs as. Appended rather than made by adduser: that is one more package, and emulated.
echo 'spark:x:1000:1000::/home/spark:/bin/bash' >> "$root/etc/passwd"
echo 'spark:x:1000:' >> "$root/etc/group"
echo 'spark:!::0:99999:7:::' >> "$root/etc/shadow"
echo 'spark:!::' >> "$root/etc/gshadow"
mkdir -m 755 "$root/home/spark"
chown 1000:1000 "$root/home/spark"

# Nothing that tells when, where or how this was made, and no second copy of what can be made again.
: > "$root/etc/machine-id"
: > "$root/etc/hostname"
: > "$root/etc/resolv.conf"
rm -rf "$root/etc/apt" "$root/var/lib/apt" "$root/var/cache" "$root/var/log" "$root/tmp" "$root/run" "$root/var/tmp" \
    "$root/var/lib/dpkg/lock" "$root/var/lib/dpkg/lock-frontend" "$root/var/lib/dpkg/arch"
find "$root/etc" "$root/var" -xdev \( -name '*-old' -o -name '*-' -o -name '.pwd.lock' \) -type f -delete
mkdir "$root/run" "$root/var/cache" "$root/var/log"
mkdir -m 1777 "$root/tmp" "$root/var/tmp"
