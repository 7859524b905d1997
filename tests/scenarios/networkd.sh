# Runs a command where systemd-networkd manages eth0, and has networkd configure that anew afterwards.
# $1: this node's address with its prefix length, $2: a line of [Network], the rest: the command.
# All of it is in a mount namespace of its own; the network is the node's. What is started ends with this script.
set -e
mount -t tmpfs none /run/systemd
mkdir -p /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp /run/dbus
chown -R systemd-network:systemd-network /run/systemd/netif
mount -t tmpfs none /run/dbus
mount -t tmpfs none /etc/systemd/network
# That of this network; and networkd waits for no udev where it cannot be written to.
mount -t sysfs -o ro none /sys
printf '[Match]\nName=eth0\n[Network]\nAddress=%s\nIPv6AcceptRA=no\n%s\n' "$1" "$2" >/etc/systemd/network/10-eth0.network
shift 2
dbus-daemon --system --nofork --nopidfile &
bus=$!
trap 'kill -KILL $bus $networkd 2>/dev/null; wait' EXIT
for _ in $(seq 80); do
    [ -S /run/dbus/system_bus_socket ] && break
    sleep 0.05
done
/usr/lib/systemd/systemd-networkd &
networkd=$!
link=/run/systemd/netif/links/$(cat /sys/class/net/eth0/ifindex)
for _ in $(seq 80); do
    grep -qs ADMIN_STATE=configured "$link" && break
    sleep 0.05
done
"$@"
networkctl reconfigure eth0
sleep 1
