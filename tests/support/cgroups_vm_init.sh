#!/bin/busybox sh
# The first process of the guest of tests/cgroups_vm.rs: what a service manager does for an agent, and no more.
# It judges nothing. What it saw goes to the second serial line, in sections: `=== name`, then text.

# Without these nothing makes sense: the end of the first process ends the machine.
set -e
export PATH=/bin:/usr/bin HOME=/root
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
exec 3>/dev/ttyS1

cd /sys/fs/cgroup
set +e
slice=system.slice
points=/root/data/points/metric.lp

fact() { echo "=== $1" >&3; cat >&3; }

# Waits until the log of a service holds a text; one bound (seconds since the boot) for all, so that the guest always ends.
await() {
  until grep -q "$2" "/tmp/$1.log"; do
    if [ "$(cut -d. -f1 /proc/uptime)" -ge 240 ]; then
      echo "$1: $2" | fact "in vain"
      return
    fi
    sleep 1
  done
}

# All that says how a group is treated; the numbers of its processes and what it uses are no part of it.
settings() {
  for group in $slice "$slice/$1"; do
    for file in cgroup.type cgroup.freeze memory.max memory.high memory.oom.group pids.max; do
      echo "$group/$file $(cat "$group/$file")"
    done
  done
  echo "$slice/cgroup.subtree_control $(cat $slice/cgroup.subtree_control)"
}

groups() { (cd "$slice/$1" && find . -mindepth 1 -type d | sort); }

# limit GROUP: what the kernel holds it to.
limits() { (cd "$1" && grep . memory.max memory.oom.group pids.max); }

# start SERVICE SUBGROUP: with limits of its own that the agent has to leave alone, as `MemoryMax=` and `TasksMax=` set them.
start() {
  mkdir -p "$slice/$1/$2"
  echo 800M > "$slice/$1/memory.max"
  echo 4096 > "$slice/$1/pids.max"
  settings "$1" | fact "$1: settings before"
  : > "/tmp/$1.log"
  # A shell of its own, which becomes the agent.
  sh -c 'echo $$ > "$0/cgroup.procs" && exec pythond --root /root agent' "$slice/$1/$2" >> "/tmp/$1.log" 2>&1 &
  agent=$!
}

stop() {
  echo $agent | fact "$1: agent"
  cat "$slice/$1/agent/cgroup.procs" | fact "$1: processes in agent"
  cat "$slice/$1/cgroup.procs" | fact "$1: processes in the service"
  groups "$1" | fact "$1: groups"
  pythond --root /root status --json | fact "$1: status"
  kill -TERM $agent
  wait $agent
  echo $? | fact "$1: exit"
  groups "$1" | fact "$1: groups after"
  settings "$1" | fact "$1: settings after"
  fact "$1: log" < "/tmp/$1.log"
}

echo "+memory +pids" > cgroup.subtree_control
mkdir $slice
echo "+memory +pids" > $slice/cgroup.subtree_control

# A systemd before 254 starts the agent in the group of the service itself.
start plain.service .
for script in limited.hog limited.child free.good free.bomb free.sheds; do
  await plain.service "$script: first run done"
done
limits $slice/plain.service/pythond-*/limited.hog | fact "limits of limited.hog"
limits $slice/plain.service/pythond-*/free.good | fact "limits of free.good"
wget -q -O - http://127.0.0.1:9529/metrics | fact "metrics"
stop plain.service
fact "points" < $points

# A later one knows `DelegateSubgroup=agent`.
start subgroup.service agent
for script in limited.hog free.good; do
  await subgroup.service "$script: first run done"
done
limits $slice/subgroup.service/pythond-*/limited.hog | fact "limits in the subgroup"
stop subgroup.service

exec 3>&-
poweroff -f
