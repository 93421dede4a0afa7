#!/bin/sh
# Runs one task of a Mesos-style agent and writes down how it ended, whatever becomes of the agent meanwhile.
#
#   mesos-executor.sh --task META SANDBOX PROGRAM [ARGUMENT...]
#   mesos-executor.sh --base PLUGINS VOLUMES
#
# META/started: from now on the task can be asked to end. META/cgroups: files to join cgroups by. META/binds: three lines for each bind mount: source, target, rw or ro. META/exit: the
# status, as a shell has it. Standard output and error are the sandbox's files. The task has mount and process namespaces of its
# own. The second form makes a new mount namespace that of an agent: PLUGINS is /run/docker/plugins there, and of all volumes
# there are those below VOLUMES. It says so, and waits until nobody wants anything of it any more.

# A new mount namespace holds copies of all mounts, also of volumes that are others' and could not be unmounted as long as it
# lives. Lets go of all volumes, of other instances too: our FUSE files, and what is mounted from loop devices over them. What is
# below directory $1 stays: it follows the mounts outside, and goes with them.
leave_volumes() {
  mounts=$(tac /proc/self/mountinfo)
  ours=$(echo "$mounts" | awk '{ for (i = 7; $i != "-"; i++); if ($(i + 2) == "rexray-sim") print $5 }')
  echo "$mounts" | awk '{ for (i = 7; $i != "-"; i++); print $5, $(i + 2) }' | while read -r point source; do
    case $source in
    rexray-sim) ;;
    /dev/loop*)
      read -r file 2>/dev/null <"/sys/block/${source#/dev/}/loop/backing_file" || continue
      echo "$ours" | grep -qxF "$file" || continue
      ;;
    *) continue ;;
    esac
    point=$(printf '%b' "$point")
    case $point in "$1"/*) ;; *) umount --lazy "$point" ;; esac
  done
}

case $1 in
--base)
  mkdir -p /run/docker/plugins && mount --bind "$2" /run/docker/plugins || exit 125
  leave_volumes "$3"
  echo ready
  read -r _
  ;;
--init)
  meta=$2 sandbox=$3
  shift 3
  while IFS= read -r source && IFS= read -r target && read -r mode; do
    mount --bind "$source" "$target" || exit 125
    [ "$mode" = rw ] || mount -o remount,bind,ro "$target" || exit 125
  done <"$meta/binds"
  cd "$sandbox" || exit 125
  # The first process of a namespace gets only the signals that it asks for.
  trap 'kill -TERM -"$child" 2>/dev/null' TERM
  # The files in META are nobody else's; the task's own are as usual. It can be asked to end when its process group is there.
  # shellcheck disable=SC2016
  exec setsid sh -c ': >"$0"; umask 022; exec "$@"' "$meta/started" "$@" &
  child=$!
  while :; do
    wait "$child"
    status=$?
    kill -0 "$child" 2>/dev/null || exit $status
  done
  ;;
--task)
  meta=$2
  shift
  umask 077
  # Not before the agent has written down that we are there; nothing at all when it dies over it.
  read -r _ <&4 || exit 125
  # The agent's descriptors are nothing to a task.
  exec 3<&- 4<&-
  # From here on, and for all that is started from here.
  while read -r group; do echo $$ >"$group"; done <"$meta/cgroups"
  # All of it ends with us: what nobody watches must not run.
  setpriv --pdeathsig=KILL unshare --mount --propagation=slave --pid --fork --kill-child --mount-proc "$0" --init "$@" &
  echo $! >"$meta/unshare.pid"
  echo "Forked command at $!"
  wait $!
  status=$?
  echo "Command exited with status $status (pid: $!)"
  echo "$status" >"$meta/exit.new"
  mv "$meta/exit.new" "$meta/exit"
  ;;
esac
