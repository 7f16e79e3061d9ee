#!/usr/bin/env bash
# Builds the image without a Docker engine, starts the server in it, and asks it for its health.
#
#   tests/image/build_with_buildah.sh [ARGUMENT OF buildah build ...]
#
# Needs root and Debian's packages buildah and debootstrap; takes some minutes and about 8 GB of
# disk, so it is no part of `make test`. The base is a Debian 12 made here (its Python is 3.11),
# since the official one may be out of reach; BASE=python:3.11-slim-bookworm takes that instead.
# PIP_CONF names the pip configuration of the build (default: this machine's, if it has one); what it
# points at on this disk has to be mounted: --volume /srv/wheels:/srv/wheels:ro
# KEEP=1 keeps the image and says where.
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { echo "image: $*"; }
for command in buildah debootstrap; do
  command -v "$command" >/dev/null || { say "$command is missing: apt-get install $command"; exit 2; }
done
[ "$(id -u)" -eq 0 ] || { say "debootstrap and chroot isolation need root"; exit 2; }

work=$(mktemp -d)
tidy() {
  buildah umount --all >/dev/null 2>&1 || true
  [ -n "${KEEP:-}" ] && say "kept in $work/storage" || rm -rf "$work"
}
trap tidy EXIT
# vfs and chroot: neither needs an overlay file system nor name spaces of the kernel.
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot TMPDIR=$work
buildah() { command buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"; }

if [ -z "${BASE:-}" ]; then
  say "making a Debian 12 base"
  container=$(buildah from scratch)
  # As the official image does: `python` is there too.
  debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv,python-is-python3 \
    bookworm "$(buildah mount "$container")" >"$work/debootstrap.log" 2>&1 ||
    { tail -n 20 "$work/debootstrap.log"; exit 1; }
  buildah umount "$container" >/dev/null
  buildah commit --quiet --rm "$container" localhost/modelyard-base >/dev/null
  BASE=localhost/modelyard-base
fi

PIP_CONF=${PIP_CONF:-/etc/pip.conf}
[ -e "$PIP_CONF" ] || { PIP_CONF=$work/pip.conf; : >"$PIP_CONF"; }
say "building on $BASE"
buildah build --isolation chroot --format docker --tag localhost/modelyard \
  --build-arg BASE="$BASE" --build-arg TORCH_INDEX="${TORCH_INDEX:-}" \
  --secret "id=pipconf,src=$PIP_CONF" "$@" .

container=$(buildah from localhost/modelyard)
inside() { buildah run --isolation chroot "$container" -- "$@"; }

say "version: $(inside modelyard --version)"
user=$(inside id -u)
[ "$user" = 10001 ] || { say "runs as uid $user, not as 10001"; exit 1; }
inside timeout 60 modelyard serve >"$work/refused.log" 2>&1 && code=0 || code=$?
if [ "$code" -eq 0 ] || ! grep -q "access" "$work/refused.log"; then
  tail -n 20 "$work/refused.log"; say "was to refuse without MODELYARD_ACCESS, ended with $code"; exit 1
fi
say "without MODELYARD_ACCESS: $(grep -m 1 access "$work/refused.log")"

# chroot isolation shares this machine's network: a free port, so that no other server answers.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
buildah config --env MODELYARD_PORT="$port" --env MODELYARD_ACCESS=open "$container"
health=$(buildah inspect --type image localhost/modelyard | python3 -c '
import json, shlex, sys
print(shlex.join(json.load(sys.stdin)["Docker"]["config"]["Healthcheck"]["Test"][1:]))')
inside /bin/sh -c "
  /usr/bin/tini -s -- modelyard serve & server=\$!
  for second in \$(seq 60); do
    sleep 1
    if $health 2>/dev/null; then
      echo \"image: healthy after \$second s\"; kill \$server; wait \$server; exit 0
    fi
    kill -0 \$server 2>/dev/null || break
  done
  kill \$server 2>/dev/null; echo 'image: the server did not become healthy'; exit 1"
say "done"
