"""A life cycle by Debian's python3-marathon, a strict client: it raises on keys that it does not know."""

import logging
import sys
import threading
import time

from marathon import MarathonClient
from marathon.models import MarathonApp, MarathonGroup, MarathonHealthCheck

# It warns of its own way of reading a health check's command.
logging.getLogger("marathon").setLevel(logging.ERROR)
client = MarathonClient(sys.argv[1])


def until(what, condition):
    end = time.time() + 20
    while not condition():
        if time.time() > end:
            raise Exception("waited in vain for " + what)
        time.sleep(0.05)


def settled():
    return client.list_deployments() == []


def running(app_id):
    return [task for task in client.list_tasks(app_id) if task.state == "TASK_RUNNING"]


# It accepts JSON only, so that is what it gets.
assert client.ping() == b'"pong"', client.ping()
info = client.get_info()
assert info.version.split(".")[0] == "1", info.version
assert client.get_leader()["leader"]

events = []


def listen():
    for event in client.event_stream():
        events.append(event)
        if event.event_type == "deployment_success":
            return


listener = threading.Thread(target=listen, daemon=True)
listener.start()
until("the stream", lambda: len(events) >= 1)

volume = {
    "containerPath": "data",
    "mode": "RW",
    "external": {"name": "py", "provider": "dvdi", "size": 1, "options": {"dvdi/driver": "rexray"}},
}
app = MarathonApp(
    cmd="sleep 1000",
    cpus=0.1,
    mem=16,
    instances=1,
    container={"type": "MESOS", "volumes": [volume]},
    upgrade_strategy={"minimumHealthCapacity": 0, "maximumOverCapacity": 0},
)
created = client.create_app("py", app)
assert created.id == "/py", created.id
until("the task", lambda: len(running("py")) == 1)
listener.join(20)
kinds = [event.event_type for event in events]
assert kinds[0] == "event_stream_attached" and kinds[-1] == "deployment_success", kinds
plans = [event.plan for event in events if event.event_type == "deployment_info"]
assert plans[0].original.apps == [] and plans[0].target.apps[0]["id"] == "/py", plans[0].target.apps
assert "TASK_RUNNING" in [event.task_status for event in events if event.event_type == "status_update_event"], kinds
assert [one.id for one in client.list_apps(embed_tasks=True)] == ["/py"]
assert client.get_app("py").tasks_running == 1
assert client.list_deployments() == []

plain = client.create_app("group/plain", MarathonApp(cmd="sleep 1000", cpus=0.1, mem=16, instances=1))
until("the plain one", lambda: len(running("group/plain")) == 1)
client.scale_app("group/plain", instances=2)
until("two of them", lambda: len(running("group/plain")) == 2)
versions = client.list_versions("group/plain")
assert len(versions) == 2, versions
assert client.get_version("group/plain", versions[-1]).instances == 1
killed = client.kill_task("group/plain", running("group/plain")[0].id)
until("another one in its place", lambda: len(running("group/plain")) == 2)
client.restart_app("group/plain", force=True)
until("the restart", settled)
client.rollback_app("group/plain", versions[-1])
until("the roll back", settled)
assert client.get_app("group/plain").instances == 1
before = running("group/plain")[0].id
assert [task.id for task in client.kill_tasks("group/plain")] == [before]
until("another one", lambda: [task.id != before for task in running("group/plain")] == [True])
assert client.get_group("/group").id == "/group"
assert isinstance(client.list_queue(), list)

well = MarathonHealthCheck(protocol="COMMAND", command="true", interval_seconds=1, delay_seconds=0)
client.create_app("well", MarathonApp(cmd="sleep 1000", cpus=0.1, mem=16, instances=1, health_checks=[well]))
until("its health", settled)
result = running("well")[0].health_check_results[0]
assert result.alive and result.consecutive_failures == 0 and result.instance_id and result.first_success, result
assert client.get_app("well").tasks_healthy == 1

client.create_app("ill", MarathonApp(cmd="sleep 0.1; exit 7", cpus=0.1, mem=16, instances=1))
until("a failure", lambda: client.get_app("ill").last_task_failure)
failure = client.get_app("ill").last_task_failure
assert failure.message == "Command exited with status 7" and failure.state == "TASK_FAILED", failure
assert client.list_apps(embed_failures=True, app_id="ill")[0].last_task_failure.task_id

members = [MarathonApp(id=name, cmd="sleep 1000", cpus=0.1, mem=16, instances=1) for name in ["a", "b"]]
client.create_group(MarathonGroup(id="/set", apps=members[:1]))
until("the group", lambda: len(running("set/a")) == 1)
client.update_group("set", MarathonGroup(id="/set", apps=members), force=True)
until("its second member", lambda: len(running("set/b")) == 1)
assert sorted(app.id for app in client.get_group("set").apps) == ["/set/a", "/set/b"]
assert client.get_metrics()["gauges"]["marathon.apps.active.gauge"]["value"] == 6
client.delete_group("set", force=True)
until("the end of the group", lambda: client.list_apps(app_id="/set") == [])

client.create_app("big", MarathonApp(cmd="sleep 1000", cpus=99, mem=16, instances=1))
until("the queue", lambda: "/big" in [item.app.id for item in client.list_queue()])
for deployment in client.list_deployments():
    # Others end by themselves.
    if deployment.affected_apps == ["/big"]:
        client.delete_deployment(deployment.id, force=True)
for app_id in ["big", "ill", "well", "group/plain", "py"]:
    client.delete_app(app_id, force=True)
until("the end", lambda: client.list_apps() == [] and client.list_deployments() == [])
print("done")
