#!/usr/bin/env bash
# How soon a container is served after its start, and what following an idle engine costs. A Docker engine in a network
# namespace of its own, 50 containers ($COUNT), idle for 60 s ($SECONDS_IDLE). As root; needs docker.io, busybox-static,
# iproute2 and curl.
#
#   bash benches/containers.sh [PROGRAM]     default: target/release/doorward
set -euo pipefail
program=$(realpath "${1:-target/release/doorward}")
work=$(mktemp -d) ns=doorward-bench-$$ engine='' gateway=''
docker() { command docker -H "unix://$work/docker.sock" "$@"; }
inside() { nsenter --net="/run/netns/$ns" "$@"; }
end() {
    [ -z "$gateway" ] || kill "$gateway" 2>/dev/null || true
    local all; all=$(docker ps -aq 2>/dev/null) || true
    # shellcheck disable=SC2086 # one word for each container
    [ -z "$all" ] || docker rm -f $all >/dev/null || true
    # The engine unmounts what it mounted.
    kill "$(cat "$work/pid")" && wait "$engine" || true
    ip netns del "$ns" || true
    rm -rf "$work"
}
trap end EXIT
ip netns add "$ns" && ip -n "$ns" link set lo up
inside dockerd --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/pid" -H "unix://$work/docker.sock" \
    --bip 10.203.0.1/24 --default-address-pool base=10.204.0.0/16,size=24 >"$work/engine.log" 2>&1 &
engine=$!
for _ in $(seq 300); do docker version >/dev/null 2>&1 && break; sleep 0.1; done
mkdir -p "$work/image/bin" && cp "$(command -v busybox)" "$work/image/bin/busybox"
for word in sh httpd; do ln -s busybox "$work/image/bin/$word"; done
tar -C "$work/image" -c . | docker import - tiny:1 >/dev/null
cat >"$work/routes.toml" <<TOML
domain = "home.test"
allow = ["anyone"]
[listen.lan]
http = "127.0.0.1:8080"
[docker]
socket = "$work/docker.sock"
TOML
inside "$program" run --config "$work/routes.toml" --state "$work/state" >"$work/out" 2>"$work/err" &
for _ in $(seq 100); do grep -q serving "$work/err" && break; sleep 0.1; done
gateway=$(pgrep -f -- "run --config $work/routes.toml")
started() { # started <name>: milliseconds from the return of `docker start` to the first 200
    docker create --name "$1" -e "VIRTUAL_HOST=$1.home.test" tiny:1 httpd -f -p 80 -h /bin >/dev/null
    docker start "$1" >/dev/null
    local from; from=$(date +%s%N)
    until [ "$(inside curl -s -o /dev/null -w '%{http_code}' -H "Host: $1.home.test" http://127.0.0.1:8080/httpd)" = 200 ]; do :; done
    echo $((($(date +%s%N) - from) / 1000000))
}
for n in $(seq "${COUNT:-50}"); do started "c$n"; done | sort -n >"$work/times"
echo "first 200 after \`docker start\` returned, ms: median $(sed -n "$(((${COUNT:-50} + 1) / 2))p" "$work/times"), slowest $(tail -1 "$work/times")"
ticks() { awk '{ print $14 + $15 }' "/proc/$gateway/stat"; }
sleep 2
from=$(ticks)
sleep "${SECONDS_IDLE:-60}"
echo "idle with ${COUNT:-50} containers: $((($(ticks) - from) * 1000 / $(getconf CLK_TCK))) ms of processor time in ${SECONDS_IDLE:-60} s," \
    "$(awk '/VmRSS/ { print int($2 / 1024) }' "/proc/$gateway/status") MiB resident"
