"""What the requests speak of: a cluster, definitions, tasks, services and logs that are there,
and the smallest request of each operation that means something."""

import itertools
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError

# What Berth is for: these operations must do what they are asked. All others must be refused
# in the words of their own model.
SUPPORTED = {
    "ecs": {
        "CreateCluster", "UpdateCluster", "UpdateClusterSettings", "PutClusterCapacityProviders", "DeleteCluster", "DescribeClusters",
        "ListClusters", "RegisterTaskDefinition", "DeregisterTaskDefinition", "DeleteTaskDefinitions", "DescribeTaskDefinition",
        "ListTaskDefinitions", "ListTaskDefinitionFamilies", "RunTask", "StopTask", "DescribeTasks", "ListTasks", "TagResource",
        "UntagResource", "ListTagsForResource", "PutAccountSetting", "DeleteAccountSetting", "ListAccountSettings",
        "PutAccountSettingDefault", "DescribeCapacityProviders", "GetTaskProtection", "UpdateTaskProtection", "CreateService",
        "UpdateService", "DeleteService", "DescribeServices", "ListServices", "ListServicesByNamespace", "ListServiceDeployments",
        "DescribeServiceDeployments", "DescribeServiceRevisions", "StopServiceDeployment", "CreateTaskSet", "UpdateTaskSet",
        "UpdateServicePrimaryTaskSet", "DeleteTaskSet", "DescribeTaskSets", "ExecuteCommand",
    },
    "logs": {
        "CreateLogGroup", "DeleteLogGroup", "DescribeLogGroups", "ListLogGroups", "CreateLogStream", "DeleteLogStream",
        "DescribeLogStreams", "PutLogEvents", "GetLogEvents", "FilterLogEvents", "PutRetentionPolicy", "DeleteRetentionPolicy",
        "TagResource", "UntagResource", "ListTagsForResource", "TagLogGroup", "UntagLogGroup", "ListTagsLogGroup",
    },
    "sts": {"GetCallerIdentity", "AssumeRole", "GetSessionToken", "GetAccessKeyInfo"},
    "application-autoscaling": {
        "RegisterScalableTarget", "DeregisterScalableTarget", "DescribeScalableTargets", "PutScalingPolicy", "DeleteScalingPolicy",
        "DescribeScalingPolicies", "DescribeScalingActivities", "TagResource", "UntagResource", "ListTagsForResource",
    },
}
HEAVY = {"StopTask", "StopServiceDeployment", "DeleteTaskSet", "DeleteService", "ExecuteCommand"}  # making what they need takes long
NAMES = {"CreateCluster": "clusterName", "CreateService": "serviceName", "CreateLogGroup": "logGroupName", "CreateLogStream": "logStreamName"}
SKIPPED = {("logs", "StartLiveTail")}  # answers with a stream that does not end; a test of its own


class World:
    def __init__(self, args):
        self.args, self.n = args, itertools.count(1)
        session = boto3.Session(aws_access_key_id=args.key, aws_secret_access_key=args.secret, region_name=args.region)
        config = Config(retries={"mode": "standard", "total_max_attempts": 10}, read_timeout=20)
        self.ecs, self.logs, self.scaling = (
            session.client(name, endpoint_url=args.endpoint, config=config) for name in ("ecs", "logs", "application-autoscaling"))
        self.run = f"c{int(time.time())}"
        self.cluster, self.family, self.group = self.run, self.run, "/" + self.run
        self.cluster_arn = self.ecs.create_cluster(clusterName=self.cluster)["cluster"]["clusterArn"]
        self.prefix, self.account = self.cluster_arn.rsplit(":", 1)[0], self.cluster_arn.split(":")[4]
        self.definition = self.register()
        self.made = {}
        self.hints, self.needs = self.values(), self.companions()

    def name(self, kind="x"):
        return f"{self.run}-{kind}{next(self.n)}"

    def register(self, family=None):
        d = self.ecs.register_task_definition(
            family=family or self.family, networkMode="awsvpc", requiresCompatibilities=["FARGATE"], cpu="256", memory="512",
            taskRoleArn="arn:aws:iam::123456789012:role/task",
            containerDefinitions=[{"name": "main", "image": self.args.image, "essential": True, "command": ["hello", "-for", "600s"], "stopTimeout": 2}])
        return d["taskDefinition"]["taskDefinitionArn"]

    def once(self, key, make):
        """What make makes, made once; None if the server cannot make it yet."""
        if key not in self.made:
            try:
                self.made[key] = make()
            except ClientError as err:
                print(f"note: no {key}: {err}")
                self.made[key] = None
        return self.made[key]

    def start(self, **more):
        run = self.ecs.run_task(cluster=self.cluster, taskDefinition=self.definition, launchType="FARGATE", networkConfiguration=network(), **more)
        if not run["tasks"]:
            raise RuntimeError(f"no task: {run['failures']}")
        return run["tasks"][0]["taskArn"]

    def task(self):
        return self.once("task", lambda: self.start(enableExecuteCommand=True)) or self.prefix + ":task/x/" + "0" * 32

    def running(self):
        def make():
            arn = self.task()
            self.ecs.get_waiter("tasks_running").wait(cluster=self.cluster, tasks=[arn], WaiterConfig={"Delay": 1, "MaxAttempts": 60})
            return arn
        return self.once("running", make)

    def service(self, **more):
        name = self.name("service")
        given = dict(cluster=self.cluster, serviceName=name, desiredCount=0)
        if more.get("deploymentController") is None:
            given |= dict(taskDefinition=self.definition, launchType="FARGATE", networkConfiguration=network())
        self.ecs.create_service(**given | more)
        return name

    def usual(self):
        return self.once("service", self.service) or "none"

    def served(self):
        """A service that has a task, for its protection."""
        def make():
            name = self.service(desiredCount=1)
            for _ in range(100):
                arns = self.ecs.list_tasks(cluster=self.cluster, serviceName=name)["taskArns"]
                if arns:
                    return arns[0]
                time.sleep(0.2)
            raise RuntimeError("a service without a task")
        return self.once("task of a service", make) or "none"

    def external(self):
        return self.once("external", lambda: self.service(deploymentController={"type": "EXTERNAL"})) or "none"

    def set(self):
        made = self.ecs.create_task_set(cluster=self.cluster, service=self.external(), taskDefinition=self.definition, launchType="FARGATE",
                                        networkConfiguration=network(), scale={"value": 0, "unit": "PERCENT"})
        return made["taskSet"]["taskSetArn"]

    def usual_set(self):
        return self.once("task set", self.set) or "none"

    def deployment(self, member):
        def make():
            given = self.ecs.list_service_deployments(cluster=self.cluster, service=self.usual())["serviceDeployments"]
            return given[0]
        return (self.once("deployment", make) or {}).get(member, "none")

    def log_group(self):
        def make():
            self.logs.create_log_group(logGroupName=self.group)
            self.logs.create_log_stream(logGroupName=self.group, logStreamName="s")
            return self.group
        return self.once("log group", make) or self.group

    def new_group(self):
        name = "/" + self.name("group")
        self.logs.create_log_group(logGroupName=name)
        return name

    def new_stream(self):
        name = self.name("stream")
        self.log_group()
        self.logs.create_log_stream(logGroupName=self.group, logStreamName=name)
        return name

    def target(self):
        """The resource ID of a scalable target."""
        def make():
            resource = f"service/{self.cluster}/{self.usual()}"
            self.scaling.register_scalable_target(ServiceNamespace="ecs", ResourceId=resource, ScalableDimension="ecs:service:DesiredCount",
                                                  MinCapacity=0, MaxCapacity=1)
            return resource
        return self.once("scalable target", make) or f"service/{self.cluster}/none"

    def policy(self):
        name = self.name("policy")
        self.scaling.put_scaling_policy(PolicyName=name, PolicyType="TargetTrackingScaling", **self.scalable(),
                                        TargetTrackingScalingPolicyConfiguration=TRACKING)
        return name

    def scalable(self):
        return {"ServiceNamespace": "ecs", "ResourceId": self.target(), "ScalableDimension": "ecs:service:DesiredCount"}

    def target_arn(self):
        found = self.scaling.describe_scalable_targets(ServiceNamespace="ecs", ResourceIds=[self.target()])["ScalableTargets"]
        return found[0].get("ScalableTargetARN", "none")

    def supports(self, service, operation):
        return operation in SUPPORTED.get(service, ())

    def wants(self, service, operation):
        return (service.name, operation) not in SKIPPED

    def rename(self, operation, case):
        """Gives what a request makes a name of its own: of what is there already, the rest may not be looked at."""
        name = NAMES.get(operation)
        if name in case.request and case.path != name and isinstance(case.request[name], str):
            case.request[name] = ("/" if name == "logGroupName" else "") + self.name(operation)

    def clean(self, service, operation, answer):
        """Ends what a request began, so that the next ones have the machine."""
        if not answer.ok or not answer.parsed:
            return
        if operation == "RunTask":
            for t in answer.parsed.get("tasks", []):
                self.ecs.stop_task(cluster=self.cluster, task=t["taskArn"])
        elif operation == "CreateService":
            self.ecs.delete_service(cluster=self.cluster, service=answer.parsed["service"]["serviceArn"], force=True)
        elif operation == "CreateTaskSet":  # a service has five at most
            self.ecs.delete_task_set(cluster=self.cluster, service=self.external(), taskSet=answer.parsed["taskSet"]["taskSetArn"], force=True)

    def close(self):
        for service in self.paged("list_services", "serviceArns"):
            self.try_to(lambda: self.ecs.delete_service(cluster=self.cluster, service=service, force=True))
        for task in self.paged("list_tasks", "taskArns"):
            self.try_to(lambda: self.ecs.stop_task(cluster=self.cluster, task=task))

    def paged(self, operation, member):
        try:
            return [arn for page in self.ecs.get_paginator(operation).paginate(cluster=self.cluster) for arn in page[member]]
        except ClientError:
            return []

    def try_to(self, do):
        try:
            do()
        except Exception as err:  # an answer that cannot be read, too
            print("note: when cleaning up:", err)

    def whole(self, operation, least):
        """What the request with all members needs, so that not all are refused for the same reason."""
        return least() if least and operation not in ("RegisterTaskDefinition",) else {}

    def least(self, service, operation):
        """Makes the smallest request of an operation that means something; None: the model says it all."""
        c = {"cluster": self.cluster}
        ecs = {
            "CreateCluster": lambda: {"clusterName": self.name("cluster")},
            "UpdateCluster": lambda: c | {"settings": [{"name": "containerInsights", "value": "disabled"}]},
            "UpdateClusterSettings": lambda: c | {"settings": [{"name": "containerInsights", "value": "disabled"}]},
            "PutClusterCapacityProviders": lambda: c | {"capacityProviders": ["FARGATE", "FARGATE_SPOT"], "defaultCapacityProviderStrategy": []},
            "DeleteCluster": lambda: {"cluster": self.ecs.create_cluster(clusterName=self.name("cluster"))["cluster"]["clusterName"]},
            "DescribeClusters": lambda: {"clusters": [self.cluster]},
            "RegisterTaskDefinition": lambda: {
                "family": self.family + "-r", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512",
                "executionRoleArn": "arn:aws:iam::123456789012:role/e", "volumes": [{"name": "v"}],
                "containerDefinitions": [{"name": "main", "image": self.args.image}, {"name": "other", "image": self.args.image}]},
            "DeregisterTaskDefinition": lambda: {"taskDefinition": self.register(self.family + "-d")},
            "DeleteTaskDefinitions": lambda: {"taskDefinitions": [self.ecs.deregister_task_definition(
                taskDefinition=self.register(self.family + "-d"))["taskDefinition"]["taskDefinitionArn"]]},
            "DescribeTaskDefinition": lambda: {"taskDefinition": self.definition},
            "RunTask": lambda: c | {"taskDefinition": self.definition, "networkConfiguration": network()},
            "StopTask": lambda: c | {"task": self.start()},
            "DescribeTasks": lambda: c | {"tasks": [self.task()]},
            "ListTasks": lambda: dict(c),
            "TagResource": lambda: {"resourceArn": self.cluster_arn, "tags": [{"key": "k", "value": "v"}]},
            "UntagResource": lambda: {"resourceArn": self.cluster_arn, "tagKeys": ["k"]},
            "ListTagsForResource": lambda: {"resourceArn": self.cluster_arn},
            "PutAccountSetting": lambda: {"name": "containerInsights", "value": "disabled"},
            "PutAccountSettingDefault": lambda: {"name": "containerInsights", "value": "disabled"},
            "DeleteAccountSetting": lambda: {"name": "containerInsights"},
            "GetTaskProtection": lambda: c | {"tasks": [self.served()]},
            "UpdateTaskProtection": lambda: c | {"tasks": [self.served()], "protectionEnabled": False},
            "CreateService": lambda: c | {"serviceName": self.name("service"), "taskDefinition": self.definition, "desiredCount": 0,
                                          "networkConfiguration": network()},
            "UpdateService": lambda: c | {"service": self.usual(), "desiredCount": 0},
            "DeleteService": lambda: c | {"service": self.service()},
            "DescribeServices": lambda: c | {"services": [self.usual()]},
            "ListServices": lambda: dict(c),
            "ListServiceDeployments": lambda: c | {"service": self.usual()},
            "ListServicesByNamespace": lambda: {"namespace": "arn:aws:servicediscovery:us-east-1:123456789012:namespace/ns-none"},
            "DescribeServiceDeployments": lambda: {"serviceDeploymentArns": [self.deployment("serviceDeploymentArn")]},
            "DescribeServiceRevisions": lambda: {"serviceRevisionArns": [self.deployment("targetServiceRevisionArn")]},
            "StopServiceDeployment": lambda: {"serviceDeploymentArn": self.going()},
            "CreateTaskSet": lambda: c | {"service": self.external(), "taskDefinition": self.definition, "launchType": "FARGATE",
                                          "networkConfiguration": network(), "scale": {"value": 0, "unit": "PERCENT"}},
            "UpdateTaskSet": lambda: c | {"service": self.external(), "taskSet": self.usual_set(), "scale": {"value": 0, "unit": "PERCENT"}},
            "UpdateServicePrimaryTaskSet": lambda: c | {"service": self.external(), "primaryTaskSet": self.usual_set()},
            "DeleteTaskSet": lambda: c | {"service": self.external(), "taskSet": self.set(), "force": True},
            "DescribeTaskSets": lambda: c | {"service": self.external()},
            "ExecuteCommand": lambda: c | {"task": self.running(), "command": "true", "interactive": True},
        }
        g = lambda: {"logGroupName": self.log_group()}
        s = lambda: g() | {"logStreamName": "s"}
        arn = lambda: f"arn:aws:logs:{self.args.region}:{self.account}:log-group:{self.log_group()}"
        logs = {
            "CreateLogGroup": lambda: {"logGroupName": "/" + self.name("group")},
            "DeleteLogGroup": lambda: {"logGroupName": self.new_group()},
            "CreateLogStream": lambda: g() | {"logStreamName": self.name("stream")},
            "DeleteLogStream": lambda: g() | {"logStreamName": self.new_stream()},
            "DescribeLogStreams": g, "FilterLogEvents": g, "DeleteRetentionPolicy": g, "ListTagsLogGroup": g, "GetLogEvents": s,
            "PutLogEvents": lambda: s() | {"logEvents": [{"timestamp": int(time.time() * 1000), "message": "m"}]},
            "PutRetentionPolicy": lambda: g() | {"retentionInDays": 7},
            "TagResource": lambda: {"resourceArn": arn(), "tags": {"k": "v"}},
            "UntagResource": lambda: {"resourceArn": arn(), "tagKeys": ["k"]},
            "ListTagsForResource": lambda: {"resourceArn": arn()},
            "TagLogGroup": lambda: g() | {"tags": {"k": "v"}},
            "UntagLogGroup": lambda: g() | {"tags": ["k"]},
        }
        scaling = {
            "RegisterScalableTarget": lambda: self.scalable() | {"MinCapacity": 0, "MaxCapacity": 1},
            "DeregisterScalableTarget": lambda: self.disposable(),
            "DescribeScalableTargets": lambda: {"ServiceNamespace": "ecs"},
            "DescribeScalingPolicies": lambda: {"ServiceNamespace": "ecs"},
            "DescribeScalingActivities": lambda: {"ServiceNamespace": "ecs"},
            "DescribeScheduledActions": lambda: {"ServiceNamespace": "ecs"},
            "PutScalingPolicy": lambda: self.scalable() | {"PolicyName": "contract", "PolicyType": "TargetTrackingScaling",
                                                           "TargetTrackingScalingPolicyConfiguration": TRACKING},
            "DeleteScalingPolicy": lambda: self.scalable() | {"PolicyName": self.policy()},
            "PutScheduledAction": lambda: self.scalable() | {"ScheduledActionName": "a", "Schedule": "rate(1 day)"},
            "DeleteScheduledAction": lambda: self.scalable() | {"ScheduledActionName": "a"},
            "TagResource": lambda: {"ResourceARN": self.target_arn(), "Tags": {"k": "v"}},
            "UntagResource": lambda: {"ResourceARN": self.target_arn(), "TagKeys": ["k"]},
            "ListTagsForResource": lambda: {"ResourceARN": self.target_arn()},
        }
        sts = {
            "AssumeRole": lambda: {"RoleArn": f"arn:aws:iam::{self.account}:role/task", "RoleSessionName": "contract"},
            "GetAccessKeyInfo": lambda: {"AccessKeyId": self.args.key},
        }
        make = {"ecs": ecs, "logs": logs, "application-autoscaling": scaling, "sts": sts}.get(service, {}).get(operation)
        return make and (lambda: self.retried(make))

    def retried(self, make):
        try:
            return make()
        except (ClientError, WaiterError, RuntimeError) as err:
            print(f"note: {err}")
            return {}

    def going(self):
        """A deployment that is going on, after one that has succeeded."""
        name = self.service()
        self.ecs.get_waiter("services_stable").wait(cluster=self.cluster, services=[name], WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        self.ecs.update_service(cluster=self.cluster, service=name, desiredCount=1, forceNewDeployment=True)
        for _ in range(50):
            found = self.ecs.list_service_deployments(cluster=self.cluster, service=name, status=["PENDING", "IN_PROGRESS"])["serviceDeployments"]
            if found:
                return found[0]["serviceDeploymentArn"]
            time.sleep(0.2)
        raise RuntimeError("a service without a deployment that goes on")

    def disposable(self):
        name = self.service()
        target = {"ServiceNamespace": "ecs", "ResourceId": f"service/{self.cluster}/{name}", "ScalableDimension": "ecs:service:DesiredCount"}
        self.scaling.register_scalable_target(**target, MinCapacity=0, MaxCapacity=1)
        return target

    def companions(self):
        return {
            "Tag": {"key": "k"}, "ContainerDefinition": {"name": "main", "image": self.args.image}, "KeyValuePair": {"name": "A"},
            "ContainerOverride": {"name": "main"}, "ClusterSetting": {"name": "containerInsights", "value": "enabled"},
            "LoadBalancer": {"containerName": "main", "containerPort": 80},
            "MountPoint": {"sourceVolume": "v", "containerPath": "/v"}, "Volume": {"name": "v"}, "VolumeFrom": {"sourceContainer": "other"},
            "PortMapping": {"containerPort": 80}, "SystemControl": {"namespace": "net.core.somaxconn", "value": "1024"},
            "HostEntry": {"hostname": "h", "ipAddress": "10.0.0.1"}, "ContainerRestartPolicy": {"enabled": True},
            "HealthCheck": {"command": ["CMD", "true"]}, "RuntimePlatform": {"operatingSystemFamily": "LINUX"},
            "AwsVpcConfiguration": {"subnets": ["subnet-12345678"]}, "CapacityProviderStrategyItem": {"capacityProvider": "FARGATE", "weight": 1},
            "EphemeralStorage": {"sizeInGiB": 21}, "DeploymentCircuitBreaker": {"enable": True, "rollback": False},
            "ContainerDependency": {"containerName": "other", "condition": "START"},
            "EFSVolumeConfiguration": {"fileSystemId": "fs-12345678"},
            "EnvironmentFile": {"value": "arn:aws:s3:::bucket/f.env", "type": "s3"}, "Secret": {"name": "S", "valueFrom": "s"},
            "Ulimit": {"name": "nofile", "softLimit": 1024, "hardLimit": 2048}, "Tmpfs": {"containerPath": "/t", "size": 16},
            "LogConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": self.group, "awslogs-region": self.args.region,
                                                                    "awslogs-stream-prefix": "p"}},
        }

    def values(self):
        """Hints: what members mean that the model calls strings."""
        role = "arn:aws:iam::123456789012:role/r"
        return {
            "cluster": self.cluster, "clusterName": lambda: self.name("cluster"), "clusters[]": self.cluster, "clusterArn": self.cluster_arn,
            "taskDefinition": self.definition, "launchType": "FARGATE", "family": self.family, "familyPrefix": self.family,
            "roleArn": role, "taskRoleArn": role, "executionRoleArn": role, "role": role, "RoleArn": role,
            "clientToken": lambda: self.name("token"), "nextToken": None, "NextToken": None, "platformVersion": "LATEST", "count": 1,
            "capacityProvider": "FARGATE", "capacityProviders[]": "FARGATE", "RunTask:capacityProviderStrategy[].base": 0,
            "image": self.args.image, "Container.name": "main", "ContainerDefinition.name": "main", "containerName": "main",
            "portName": "http", "resourceArn": self.cluster_arn, "key": "k", "aws:": None,
            "networkConfiguration": network(), "cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX",
            "restartPolicy.restartAttemptPeriod": 60, "restartAttemptPeriod": 60, "sizeInGiB": 21, "retentionInDays": 7, "filterPattern": "a",
            "logGroupName": self.group, "logStreamName": "s", "logGroupIdentifier": self.group, "logGroupNamePattern": "a",
            "startTime": int(time.time() * 1000) - 3_600_000, "endTime": int(time.time() * 1000), "minimumHealthyPercent": 100, "maximumPercent": 200,
            "accountIdentifiers[]": "123456789012", "RegisterTaskDefinition:cpu": "256", "RegisterTaskDefinition:memory": "512",
            "networkMode": "awsvpc", "requiresCompatibilities[]": "FARGATE", "sourcePath": None, "serviceNamespace": "ecs",
            "expiresInMinutes": 60, "hostPort": 80, "containerPort": 80, "desiredCount": 0, "timeoutSeconds": 30, "startedBy": "contract",
            "ResourceARN": f"arn:aws:application-autoscaling:{self.args.region}:{self.account}:scalable-target/0123456789abcdef",
            "ServiceNamespace": "ecs", "ScalableDimension": "ecs:service:DesiredCount", "principalArn": f"arn:aws:iam::{self.account}:root",
            "MetricAggregationType": "Average", "PredefinedMetricType": "ECSServiceAverageCPUUtilization", "kmsKeyId": None,
            "Schedule": "rate(1 day)", "Timezone": "UTC", "Policy": "{}", "ExternalId": "id", "SerialNumber": "arn:aws:iam::123456789012:mfa/m",
            "TokenCode": "123456", "RegisterTaskDefinition:containerDefinitions[].memory": 64, "memoryReservation": 64, "stopTimeout": 30,
            "startTimeout": 30, "interval": 5, "timeout": 5, "fileSystemId": "fs-12345678", "sourceVolume": "v", "sourceContainer": "other",
            "environmentFiles[].value": "arn:aws:s3:::bucket/f.env", "EnvironmentFile.value": "arn:aws:s3:::bucket/f.env",
            "ContainerDependency.containerName": "other", "condition": "START", "logDriver": "awslogs", "softLimit": 1024, "hardLimit": 4096,
            "containerPath": "/c", "namespace": "net.core.somaxconn", "SystemControl.value": "1024", "capacityProviderStrategy[].base": 0,
            "ClusterSetting.value": "enabled", "mountOptions[]": "rw", "add[]": "SYS_PTRACE", "drop[]": "ALL", "protocol": "tcp", "appProtocol": "http",
        }


TRACKING = {"TargetValue": 50.0, "PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"}}


def network():
    return {"awsvpcConfiguration": {"subnets": ["subnet-12345678"]}}
