#!/bin/sh
# Installs Debian packages, as root, without letting their services start or start again at the next boot.
set -eu
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    # A shell that a signal ends forgets its EXIT trap, and no service of this machine would start any more.
    trap 'exit 130' HUP INT TERM
    # 101 is "forbidden by policy": see invoke-rc.d(8). The devcluster starts its own daemons from its own folder.
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
units='munge mariadb slurmdbd slurmctld slurmd ssh podman podman-restart postgresql'
fresh=
if [ -d /run/systemd/system ]; then
    for unit in $units; do
        systemctl cat "$unit.service" >/dev/null 2>&1 || fresh="$fresh $unit.service"
    done
fi
# The timeout waits for another apt that holds the lock; without it apt gives up at once.
apt="apt-get -o DPkg::Lock::Timeout=400 -qq"
$apt update
DEBIAN_FRONTEND=noninteractive $apt install -y --no-install-recommends "$@" >/dev/null
for unit in $fresh; do
    systemctl disable "$unit" 2>/dev/null || true
done
