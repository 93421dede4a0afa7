#!/bin/bash
# A life cycle by curl and jq, as people's deploy scripts do it. $1: Marathon, $2: Mesos' master.
set -euo pipefail
marathon=$1 mesos=$2
call() { curl --silent --show-error --fail-with-body --header 'Content-Type: application/json' "$@"; }
app() { call "$marathon/v2/apps/$1" | jq --raw-output "$2"; }
settled() {
  for _ in {1..400}; do
    [[ $(call "$marathon/v2/deployments" | jq length) == 0 ]] && return
    sleep 0.05
  done
  echo "a deployment does not end" >&2
  exit 1
}
is() { [[ $2 == "$3" ]] || { echo "$1: $2 instead of $3" >&2; exit 1; }; }

events=$(mktemp)
curl --silent --no-buffer --header 'Accept: text/event-stream' "$marathon/v2/events" >"$events" &
trap 'kill $!; rm -f "$events"' EXIT
until grep --quiet event_stream_attached "$events"; do sleep 0.05; done

is ping "$(call "$marathon/ping")" pong
call "$marathon/v2/apps" --data '{"id": "/c", "cmd": "echo v1; exec sleep 1000", "cpus": 0.1, "mem": 16}' | jq --exit-status '.deployments[0].id' >/dev/null
settled
is list "$(call "$marathon/v2/apps" | jq --raw-output '.apps[].id')" /c
is running "$(app c .app.tasksRunning)" 1
old=$(app c .app.version)

call --request PUT "$marathon/v2/apps/c" --data '{"cmd": "echo v2; exec sleep 1000"}' | jq --exit-status .deploymentId >/dev/null
settled
is update "$(app c .app.cmd)" 'echo v2; exec sleep 1000'
call --request PUT "$marathon/v2/apps/c" --data '{"instances": 2}' >/dev/null
settled
is scale "$(app c '.app.tasks | length')" 2
before=$(app c '[.app.tasks[].id] | sort | join(" ")')
call --request POST "$marathon/v2/apps/c/restart" >/dev/null
settled
[[ $(app c '[.app.tasks[].id] | sort | join(" ")') != "$before" ]] || { echo "no restart" >&2; exit 1; }
call --request PUT "$marathon/v2/apps/c" --data "{\"version\": \"$old\"}" >/dev/null
settled
is "roll back" "$(app c .app.cmd)" 'echo v1; exec sleep 1000'

# The log of a task, as log tools find it: the master's state, the agent's state, the executor's directory.
task=$(app c '.app.tasks[0].id')
agent=$(call "$mesos/master/state" | jq --raw-output --arg id "$task" '.frameworks[].tasks[] | select(.id == $id).slave_id')
directory=$(call "$mesos/agent/$agent/slave(1)/state" | jq --raw-output --arg id "$task" '.frameworks[].executors[] | select(.id == $id).directory')
call --get "$mesos/agent/$agent/files/read" --data-urlencode "path=$directory/stdout" --data offset=0 | jq --raw-output .data | grep --quiet --line-regexp v1
call --get "$mesos/files/browse" --data-urlencode "path=$directory" | jq --exit-status 'map(.path | endswith("/stdout")) | any' >/dev/null

call --request DELETE "$marathon/v2/apps/c" >/dev/null
settled
is removed "$(curl --silent --output /dev/null --write-out '%{http_code}' "$marathon/v2/apps/c")" 404
for event in api_post_event deployment_info status_update_event deployment_step_success deployment_success app_terminated_event; do
  grep --quiet "^event: $event$" "$events" || { echo "no $event" >&2; exit 1; }
done
echo done
