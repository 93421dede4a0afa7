#!/bin/sh
# Holds the /dev/fuse descriptor (fd 3) of one mounted volume and runs its engine again whenever that dies, so that the
# kernel keeps the mount and the new engine goes on where the old one stopped. It does nothing else, on purpose: what
# does nothing seldom dies and never needs an upgrade. Should it be killed, the engine starts another one.
#
#   cd RUN_DIRECTORY_OF_THE_VOLUME; sdc-supervisor.sh NODE
#
# Standard input: empty, or a pipe held by the engine that is being replaced; its end means that that engine is gone.
node=$1
engine=${0%/*}/sdc-engine.js

read -r _
exec </dev/null

# With version 1 of cgroups, whoever needs memory in a group that is full waits until the group's pages have been written back;
# when these are the volume's pages, the engine would wait for itself. It leaves the group, as the kernel's own disks are in none.
if [ -w /sys/fs/cgroup/memory/cgroup.procs ]; then
  echo $$ >/sys/fs/cgroup/memory/cgroup.procs
fi

while :; do
  "$node" --max-semi-space-size=1 --max-old-space-size=64 "$engine" $$
  status=$?
  # 0: unmounted. 4: it cannot go on; giving up the descriptor makes the kernel answer errors instead of waiting for ever.
  case $status in 0 | 4) exit $status ;; esac
  echo "engine ended with status $status, starting another one" >&2
  sleep 0.02
done
