"""What programs do with boto3: paginators, waiters, error classes, idempotency tokens."""

import concurrent.futures
import os
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError

NAME, ENDPOINT, ACCOUNT = os.environ["NAME"], os.environ["ENDPOINT"], os.environ["ACCOUNT"]
for needed in ("AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):  # and nothing else: no file, no metadata service
    assert os.environ.get(needed), f"set {needed}"
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-12345678"]}}
QUICK = {"Delay": 1, "MaxAttempts": 240}
config = Config(retries={"mode": "standard"})
ecs, logs, sts = (boto3.client(name, endpoint_url=ENDPOINT, config=config) for name in ("ecs", "logs", "sts"))


def step(text):
    print(time.strftime("%T"), text, flush=True)


def equal(what, got, want):
    if got != want:
        sys.exit(f"FAIL: {what} is {got!r}, not {want!r}")


def raises(kind, text, call, **kwargs):
    try:
        call(**kwargs)
    except kind as err:
        if text not in str(err):
            sys.exit(f"FAIL: {kind.__name__} says {err}, without {text!r}")
        return err
    sys.exit(f"FAIL: no {kind.__name__} of {kwargs}")


def register(family, command, **more):
    return ecs.register_task_definition(
        family=family, networkMode="awsvpc", requiresCompatibilities=["FARGATE"], cpu="256", memory="512",
        containerDefinitions=[{"name": "main", "image": "berth/demo:latest", "command": command, "stopTimeout": 2}], **more,
    )["taskDefinition"]


def paginators():
    for n in range(25):
        register(f"{NAME}-p{n:02}", ["exit", "0"])
    pages = list(ecs.get_paginator("list_task_definition_families").paginate(familyPrefix=f"{NAME}-p", PaginationConfig={"PageSize": 10}))
    equal("pages", [len(p["families"]) for p in pages], [10, 10, 5])
    families = [f for p in pages for f in p["families"]]
    equal("families", families, [f"{NAME}-p{n:02}" for n in range(25)])

    for _ in range(12):
        register(f"{NAME}-many", ["exit", "0"])
    arns = ecs.get_paginator("list_task_definitions").paginate(familyPrefix=f"{NAME}-many", sort="DESC", PaginationConfig={"PageSize": 5})
    equal("revisions", [int(a.rsplit(":", 1)[1]) for a in arns.search("taskDefinitionArns[]")], list(range(12, 0, -1)))

    made = [ecs.create_cluster(clusterName=f"{NAME}-c{n}")["cluster"]["clusterArn"] for n in range(4)]
    found = list(ecs.get_paginator("list_clusters").paginate(PaginationConfig={"PageSize": 3}).search("clusterArns[]"))
    equal("clusters", sorted(set(made) & set(found)), made)
    equal("a cluster twice", len(found), len(set(found)))
    raises(ecs.exceptions.InvalidParameterException, "", ecs.list_clusters, nextToken="no such token")
    for arn in made:
        ecs.delete_cluster(cluster=arn)

    settings = list(ecs.get_paginator("list_account_settings").paginate(effectiveSettings=True).search("settings[].name"))
    equal("containerInsights among the settings", "containerInsights" in settings, True)


def errors():
    e = ecs.exceptions
    err = raises(e.ClusterNotFoundException, "Cluster not found.", ecs.run_task, cluster=NAME + "-none", taskDefinition=NAME, networkConfiguration=NETWORK)
    equal("status", err.response["ResponseMetadata"]["HTTPStatusCode"], 400)
    equal("request ID", len(err.response["ResponseMetadata"]["RequestId"]) > 30, True)
    raises(e.ClientException, "Unable to describe task definition.", ecs.describe_task_definition, taskDefinition=NAME + "-none")
    raises(e.ClientException, "TaskDefinition not found", ecs.run_task, cluster=NAME, taskDefinition=NAME + "-none", networkConfiguration=NETWORK)
    raises(e.InvalidParameterException, "", ecs.run_task, cluster=NAME, taskDefinition=NAME, count=11, networkConfiguration=NETWORK)
    raises(e.InvalidParameterException, "", ecs.stop_task, cluster=NAME, task="0123456789abcdef0123456789abcdef")
    raises(e.ClientException, "", register, family=NAME + " !", command=["exit"])
    raises(e.ServiceNotFoundException, "", ecs.update_service, cluster=NAME, service="none", desiredCount=1)
    equal("a failure", ecs.describe_clusters(clusters=[NAME + "-none"])["failures"][0]["reason"], "MISSING")
    raises(logs.exceptions.ResourceNotFoundException, "The specified log group does not exist.", logs.describe_log_streams, logGroupName="/" + NAME)
    logs.create_log_group(logGroupName="/" + NAME)
    raises(logs.exceptions.ResourceAlreadyExistsException, "The specified log group already exists", logs.create_log_group, logGroupName="/" + NAME)
    try:
        ecs.get_waiter("tasks_running").wait(cluster=NAME, tasks=["0123456789abcdef0123456789abcdef"], WaiterConfig=QUICK)
        sys.exit("FAIL: a task that is missing runs")
    except WaiterError as err:
        equal("why", err.last_response["failures"][0]["reason"], "MISSING")


def strangers():
    """Whose signature is wrong, and who is not known, can do nothing."""
    key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    if not key.startswith("AKIA"):
        return  # an open server believes everybody
    for given, code in (((key, secret + "x"), "InvalidSignatureException"), (("AKIAIOSFODNN7EXAMPLE", secret), "UnrecognizedClientException")):
        stranger = boto3.client("ecs", endpoint_url=ENDPOINT, config=config, aws_access_key_id=given[0], aws_secret_access_key=given[1])
        err = raises(ClientError, code, stranger.list_clusters)
        equal("request ID", len(err.response["ResponseMetadata"]["RequestId"]) > 30, True)


def tokens():
    run = dict(cluster=NAME, taskDefinition=NAME, launchType="FARGATE", networkConfiguration=NETWORK, clientToken=NAME)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        tasks = {r["tasks"][0]["taskArn"] for r in pool.map(lambda _: ecs.run_task(**run), range(4))}
    equal("tasks of one token", len(tasks), 1)
    err = raises(ecs.exceptions.ConflictException, "", ecs.run_task, **run | {"count": 2})
    equal("resources of the conflict", err.response.get("resourceIds"), list(tasks))
    return tasks.pop()


def tasks():
    register(NAME, ["sleep", "1h"])
    arn = tokens()
    ecs.get_waiter("tasks_running").wait(cluster=NAME, tasks=[arn], WaiterConfig=QUICK)
    task = ecs.describe_tasks(cluster=NAME, tasks=[arn], include=["TAGS"])["tasks"][0]
    equal("kind of time", task["startedAt"].tzinfo is not None, True)
    equal("size", (task["cpu"], task["memory"], task["launchType"], task["group"]), ("256", "512", "FARGATE", f"family:{NAME}"))
    equal("attachment", task["attachments"][0]["type"], "ElasticNetworkInterface")
    equal("empty lists", (task["tags"], task["overrides"]["containerOverrides"], task["containers"][0]["networkBindings"]), ([], [{"name": "main"}], []))
    more = ecs.run_task(cluster=NAME, taskDefinition=NAME, count=3, networkConfiguration=NETWORK, startedBy=NAME,
                        overrides={"containerOverrides": [{"name": "main", "command": ["exit", "3"]}]},
                        capacityProviderStrategy=[{"capacityProvider": "FARGATE_SPOT", "weight": 1}])
    equal("failures", more["failures"], [])
    arns = [t["taskArn"] for t in more["tasks"]]
    ecs.get_waiter("tasks_stopped").wait(cluster=NAME, tasks=arns, WaiterConfig=QUICK)
    ended = ecs.describe_tasks(cluster=NAME, tasks=arns)["tasks"]
    equal("exit codes", [t["containers"][0]["exitCode"] for t in ended], [3, 3, 3])
    equal("capacity providers", {t["capacityProviderName"] for t in ended}, {"FARGATE_SPOT"})
    listed = ecs.get_paginator("list_tasks").paginate(cluster=NAME, desiredStatus="STOPPED", startedBy=NAME, PaginationConfig={"PageSize": 2})
    equal("stopped tasks", sorted(listed.search("taskArns[]")), sorted(arns))
    raises(ecs.exceptions.ClusterContainsTasksException, "", ecs.delete_cluster, cluster=NAME)
    ecs.stop_task(cluster=NAME, task=arn)
    ecs.get_waiter("tasks_stopped").wait(cluster=NAME, tasks=[arn], WaiterConfig=QUICK)
    equal("again", ecs.stop_task(cluster=NAME, task=arn)["task"]["lastStatus"], "STOPPED")


def tags():
    arn = ecs.describe_clusters(clusters=[NAME])["clusters"][0]["clusterArn"]
    ecs.tag_resource(resourceArn=arn, tags=[{"key": "a", "value": "1"}, {"key": "b", "value": "2"}])
    ecs.untag_resource(resourceArn=arn, tagKeys=["a"])
    equal("tags", ecs.list_tags_for_resource(resourceArn=arn)["tags"], [{"key": "b", "value": "2"}])
    raises(ecs.exceptions.InvalidParameterException, "", ecs.tag_resource, resourceArn=arn, tags=[{"key": "aws:x", "value": "1"}])


def services():
    given = dict(cluster=NAME, serviceName="svc", taskDefinition=NAME, desiredCount=1, networkConfiguration=NETWORK)
    made = ecs.create_service(**given, clientToken=NAME)["service"]
    equal("the same again", ecs.create_service(**given, clientToken=NAME)["service"]["serviceArn"], made["serviceArn"])
    raises(ecs.exceptions.InvalidParameterException, "Creation of service was not idempotent.", ecs.create_service, **given | {"desiredCount": 2})
    ecs.get_waiter("services_stable").wait(cluster=NAME, services=["svc"], WaiterConfig=QUICK)
    service = ecs.describe_services(cluster=NAME, services=["svc"], include=["TAGS"])["services"][0]
    equal("deployments", [(d["status"], d["runningCount"]) for d in service["deployments"]], [("PRIMARY", 1)])
    ecs.update_service(cluster=NAME, service="svc", forceNewDeployment=True, deploymentConfiguration={"minimumHealthyPercent": 0, "maximumPercent": 100})
    ecs.get_waiter("services_stable").wait(cluster=NAME, services=["svc"], WaiterConfig=QUICK)
    tasks = ecs.list_tasks(cluster=NAME, serviceName="svc")["taskArns"]
    equal("tasks", len(tasks), 1)
    equal("listed", list(ecs.get_paginator("list_services").paginate(cluster=NAME).search("serviceArns[]")), [made["serviceArn"]])
    ecs.delete_service(cluster=NAME, service="svc", force=True)
    ecs.get_waiter("services_inactive").wait(cluster=NAME, services=["svc"], WaiterConfig=QUICK)


def events():
    logs.create_log_stream(logGroupName="/" + NAME, logStreamName="s")
    now = int(time.time() * 1000)
    for n in range(0, 300, 100):
        logs.put_log_events(logGroupName="/" + NAME, logStreamName="s",
                            logEvents=[{"timestamp": now + i, "message": f"line {i} {'ERROR' if i % 50 == 0 else 'ok'}"} for i in range(n, n + 100)])
    found = logs.get_paginator("filter_log_events").paginate(logGroupName="/" + NAME, filterPattern="ERROR", PaginationConfig={"PageSize": 2})
    equal("errors", [e["message"].split()[1] for p in found for e in p["events"]], ["0", "50", "100", "150", "200", "250"])
    got, token = [], None
    while True:
        page = logs.get_log_events(logGroupName="/" + NAME, logStreamName="s", startFromHead=True, limit=70, **({"nextToken": token} if token else {}))
        got += page["events"]
        if page["nextForwardToken"] == token:
            break
        token = page["nextForwardToken"]
    equal("events", [e["message"].split()[1] for e in got], [str(i) for i in range(300)])
    logs.put_retention_policy(logGroupName="/" + NAME, retentionInDays=7)
    equal("retention", logs.describe_log_groups(logGroupNamePrefix="/" + NAME)["logGroups"][0]["retentionInDays"], 7)
    logs.delete_log_group(logGroupName="/" + NAME)


def main():
    equal("account", sts.get_caller_identity()["Account"], ACCOUNT)
    equal("status", ecs.create_cluster(clusterName=NAME, capacityProviders=["FARGATE", "FARGATE_SPOT"])["cluster"]["status"], "ACTIVE")
    register(NAME, ["sleep", "1h"])
    failed = False
    for part in (strangers, paginators, errors, tags, tasks, services, events):
        step(part.__name__)
        try:
            part()
        except (ClientError, WaiterError, SystemExit, KeyError, IndexError) as err:  # The others are worth a look all the same.
            failed = True
            print(f"FAIL in {part.__name__}: {err!r}" if not isinstance(err, SystemExit) else f"{err} (in {part.__name__})", flush=True)
    if failed:
        sys.exit(1)
    ecs.delete_cluster(cluster=NAME)
    print("ok")


if __name__ == "__main__":
    main()
