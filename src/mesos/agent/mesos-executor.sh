#!/bin/sh
# Runs one task of a Mesos-style agent and writes down how it ended, whatever becomes of the agent meanwhile.
#
#   mesos-executor.sh --task META SANDBOX PROGRAM [ARGUMENT...]
#   mesos-executor.sh --plugins DIRECTORY PREFIXES PROGRAM [ARGUMENT...]
#
# META/started: from now on the task can be asked to end. META/binds: three lines for each bind mount: source, target, rw or ro. META/prefixes: see leave_volumes. META/exit: the
# status, as a shell has it. Standard output and error are the sandbox's files. The task has mount and process namespaces of its
# own. The second form runs a program that sees DIRECTORY as /run/docker/plugins.

# A new mount namespace holds copies of all mounts, also of volumes that are others' and could not be unmounted as long as it
# lives. Lets go of those below the prefixes, which are the lines of file $1.
leave_volumes() {
  while read -r _ _ _ _ point _; do
    point=$(printf '%b' "$point")
    while read -r prefix; do
      case $point in "$prefix"/*) umount --lazy "$point" ;; esac
    done <"$1"
  done <<EOF
$(tac /proc/self/mountinfo)
EOF
}

case $1 in
--plugins)
  mkdir -p /run/docker/plugins && mount --bind "$2" /run/docker/plugins || exit 125
  leave_volumes "$3"
  shift 3
  exec "$@"
  ;;
--init)
  meta=$2 sandbox=$3
  shift 3
  while read -r source && read -r target && read -r mode; do
    mount --bind "$source" "$target" || exit 125
    [ "$mode" = rw ] || mount -o remount,bind,ro "$target" || exit 125
  done <"$meta/binds"
  leave_volumes "$meta/prefixes"
  cd "$sandbox" || exit 125
  # The first process of a namespace gets only the signals that it asks for.
  trap 'kill -TERM -"$child" 2>/dev/null' TERM
  setsid "$@" &
  child=$!
  : >"$meta/started"
  while :; do
    wait "$child"
    status=$?
    kill -0 "$child" 2>/dev/null || exit $status
  done
  ;;
--task)
  meta=$2
  shift
  unshare --mount --pid --fork --kill-child --mount-proc "$0" --init "$@" &
  echo $! >"$meta/unshare.pid"
  echo "Forked command at $!"
  wait $!
  status=$?
  echo "Command exited with status $status (pid: $!)"
  echo "$status" >"$meta/exit.new"
  mv "$meta/exit.new" "$meta/exit"
  ;;
esac
