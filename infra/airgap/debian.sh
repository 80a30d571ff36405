#!/bin/sh
# Makes a small Debian trixie as a tar file, from a package mirror alone. Needs root and debootstrap.
#   debian.sh FOLDER      an empty folder to work in; the result is FOLDER/debian.tar
# DEBIAN_MIRROR, DEBIAN_SECURITY_MIRROR and MODELYARD_CA_BUNDLE are as in docs/airgap.md.
set -eu
work=$1
root=$work/root
mirror=${DEBIAN_MIRROR:-}
security=${DEBIAN_SECURITY_MIRROR:-}
bundle=${MODELYARD_CA_BUNDLE:-/dev/null}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

release() { # debootstrap may have been stopped in the middle, with these still mounted
    umount -l "$root/proc" "$root/sys" 2>/dev/null || true
}
trap release EXIT
trap 'exit 130' INT TERM

if [ -s "$bundle" ]; then # debootstrap has no option for it, the wget that it calls has a file
    echo "ca_certificate = $bundle" >"$work/wgetrc"
    export WGETRC="$work/wgetrc"
fi

# without the check of signatures a mirror could hand out anything
debootstrap --variant=minbase --include=ca-certificates --force-check-sig --keyring="$keyring" \
    trixie "$root" ${mirror:+"$mirror"}

mirror=${mirror:-$(awk '$1 == "deb" { print $2; exit }' "$root/etc/apt/sources.list")}
security=${security:-${mirror%/}-security}
{
    echo "deb $mirror trixie main"
    echo "deb $mirror trixie-updates main"
    [ "$security" = none ] || echo "deb $security trixie-security main"
} >"$root/etc/apt/sources.list"

# no package may start a service while an image is built
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
cat >"$root/etc/apt/apt.conf.d/image" <<'CONF'
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };
CONF
# manuals and translations stay out; licences stay in
cat >"$root/etc/dpkg/dpkg.cfg.d/image" <<'CONF'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-include /usr/share/locale/locale.alias
CONF

cp "$bundle" "$root/tmp/bundle" # taken out again below
set --
[ ! -s "$bundle" ] || set -- -o Acquire::https::CAInfo=/tmp/bundle
chroot "$root" apt-get "$@" --error-on=any update
DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get "$@" -y dist-upgrade

find "$root/usr/share/doc" -type f ! -name copyright -delete
find "$root/usr/share/doc" "$root/usr/share/man" "$root/usr/share/info" "$root/usr/share/locale" \
    -mindepth 1 ! -type d ! -name copyright ! -name locale.alias -delete
find "$root/usr/share/doc" "$root/usr/share/man" "$root/usr/share/locale" -mindepth 1 -type d -empty -delete
rm -rf "$root"/tmp/* "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/cache/debconf/*-old \
    "$root"/var/log/* "$root/etc/resolv.conf" "$root/etc/hostname" "$root/etc/machine-id"
mkdir -p "$root/var/lib/apt/lists/partial" "$root/var/cache/apt/archives/partial"

release
tar --one-file-system -C "$root" --numeric-owner -cf "$work/debian.tar" .
