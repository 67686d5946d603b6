#!/bin/sh
# The base image where no registry answers: a minimal Debian from its packages, as a tar file to `docker import`.
# usage: base.sh FILE.tar      (environment: DEBIAN_MIRROR, DEBIAN_SECURITY_MIRROR)
# Runs as root, or as an ordinary user with user namespaces (Debian packages uidmap, mmdebstrap).
set -eu
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
security=${DEBIAN_SECURITY_MIRROR:-http://deb.debian.org/debian-security}
exec mmdebstrap --quiet --variant=minbase \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    bookworm "$1" "deb $mirror bookworm main" "deb $mirror bookworm-updates main" "deb $security bookworm-security main"
