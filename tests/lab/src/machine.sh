# Boots the Debian in $1 inside the namespaces that this process has to itself: process 1 becomes systemd. What it writes is
# gone with it. $2: an empty directory, $3: a name for its control group, $4: the directory of PostgreSQL's socket.
set -e

# Its control groups are a branch of the host's, of which it sees nothing else.
if [ -z "$5" ]; then
    mount --make-rprivate /
    mount -t tmpfs machine "$2"
    mkdir "$2/groups" "$2/root" "$2/upper" "$2/work"
    mount -t cgroup2 machine "$2/groups"
    mkdir "$2/groups/$3"
    echo 0 > "$2/groups/$3/cgroup.procs"
    umount "$2/groups"
    exec unshare --cgroup sh "$0" "$1" "$2" "$3" "$4" inside
fi

root=$2/root
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" machine "$root"
# debootstrap has taken over the host's name, which nobody resolves here.
echo machine > "$root/etc/hostname"
echo 127.0.0.1 localhost machine > "$root/etc/hosts"
mount -t proc machine "$root/proc"
# The host's kernel is not the machine's to configure.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro machine "$root/sys"
mount -t cgroup2 machine "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 machine "$root/run"
mount -t tmpfs -o mode=755 machine "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm" "$root/run/postgresql"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 machine "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
for device in null zero full random urandom tty; do
    : > "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mount --bind "$4" "$root/run/postgresql"
mkdir "$root/old"
cd "$root"
pivot_root . old
umount -l /old
rmdir /old
exec env -i container=pgvrrp-lab PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd
