#!/bin/sh
# Installs the Debian packages listed in the given files where they are missing; elsewhere prints the list and stops.
set -eu
missing=
for package in $(cat "$@"); do
    if command -v dpkg-query >/dev/null; then
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
    else
        missing="$missing $package"
    fi
done
[ -z "$missing" ] && exit 0
if ! command -v apt-get >/dev/null; then
    echo "Regent needs these packages (Debian's names); install them and run make again:$missing" >&2
    exit 1
fi
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
echo "installing:$missing" >&2
$as_root apt-get update -q >/dev/null
# Servers among them (nginx, prometheus) are for tests, which start their own: nothing is started by installing.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap '$as_root rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy >/dev/null
    $as_root chmod 755 $policy
fi
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -q $missing >/dev/null
