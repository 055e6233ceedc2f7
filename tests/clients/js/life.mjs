// What programs do with the AWS SDK for JavaScript version 3: commands, waiters, paginators,
// errors that are classes.
import assert from "node:assert/strict";
import * as ECS from "@aws-sdk/client-ecs";
import * as Logs from "@aws-sdk/client-cloudwatch-logs";
import * as STS from "@aws-sdk/client-sts";

// Credentials are what the environment says and nothing else.
for (const needed of ["NAME", "ENDPOINT", "ACCOUNT", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]) assert.ok(process.env[needed], `set ${needed}`);
process.env.AWS_EC2_METADATA_DISABLED = "true";
const { NAME: name, ENDPOINT: endpoint, ACCOUNT: account } = process.env;
const ecs = new ECS.ECSClient({ endpoint });
const logs = new Logs.CloudWatchLogsClient({ endpoint });
const sts = new STS.STSClient({ endpoint });
const networkConfiguration = { awsvpcConfiguration: { subnets: ["subnet-12345678"] } };
const waiting = (client) => ({ client, maxWaitTime: 240, minDelay: 1, maxDelay: 2 });
const step = (text) => console.log(new Date().toISOString().slice(11, 19), text);

step("who");
assert.equal((await sts.send(new STS.GetCallerIdentityCommand({}))).Account, account);

step("cluster and definition");
const { cluster } = await ecs.send(new ECS.CreateClusterCommand({ clusterName: name, capacityProviders: ["FARGATE", "FARGATE_SPOT"],
  defaultCapacityProviderStrategy: [{ capacityProvider: "FARGATE_SPOT", weight: 1 }], settings: [{ name: "containerInsights", value: "disabled" }] }));
assert.equal(cluster.status, "ACTIVE");
await logs.send(new Logs.CreateLogGroupCommand({ logGroupName: `/${name}`, tags: { team: "blue" } }));
const { taskDefinition } = await ecs.send(new ECS.RegisterTaskDefinitionCommand({
  family: name, networkMode: "awsvpc", requiresCompatibilities: ["FARGATE"], cpu: "256", memory: "512",
  executionRoleArn: `arn:aws:iam::${account}:role/execution`, tags: [{ key: "team", value: "blue" }],
  containerDefinitions: [{ name: "main", image: "berth/demo:latest", command: ["lines", "20"], environment: [{ name: "A", value: "1" }],
    logConfiguration: { logDriver: "awslogs", options: { "awslogs-group": `/${name}`, "awslogs-region": process.env.AWS_REGION, "awslogs-stream-prefix": "js" } } }],
}));
assert.equal(taskDefinition.revision, 1);
assert.ok(taskDefinition.registeredAt instanceof Date);
assert.deepEqual(taskDefinition.containerDefinitions[0].mountPoints, []);

step("task");
const ran = await ecs.send(new ECS.RunTaskCommand({ cluster: name, taskDefinition: name, networkConfiguration, propagateTags: "TASK_DEFINITION" }));
assert.deepEqual(ran.failures, []);
const { taskArn } = ran.tasks[0];
const ended = await ECS.waitUntilTasksStopped(waiting(ecs), { cluster: name, tasks: [taskArn] });
assert.equal(ended.state, "SUCCESS");
const task = (await ecs.send(new ECS.DescribeTasksCommand({ cluster: name, tasks: [taskArn], include: ["TAGS"] }))).tasks[0];
assert.equal(task.containers[0].exitCode, 0);
assert.equal(task.capacityProviderName, "FARGATE_SPOT");
assert.deepEqual(task.tags, [{ key: "team", value: "blue" }]);
assert.ok(task.stoppedAt > task.startedAt && task.startedAt >= task.pullStoppedAt);

step("logs");
const messages = [];
const stream = `js/main/${taskArn.split("/").pop()}`;
for await (const page of Logs.paginateFilterLogEvents({ client: logs, pageSize: 7 }, { logGroupName: `/${name}`, logStreamNames: [stream] })) {
  messages.push(...page.events.map((e) => e.message));
}
assert.equal(messages.length, 20);

step("errors");
await assert.rejects(ecs.send(new ECS.DescribeServicesCommand({ cluster: `${name}-none`, services: ["x"] })), (err) => {
  assert.ok(err instanceof ECS.ClusterNotFoundException, `${err.name}: ${err.message}`);
  assert.equal(err.$metadata.httpStatusCode, 400);
  assert.ok(err.$metadata.requestId);
  return true;
});
await assert.rejects(logs.send(new Logs.GetLogEventsCommand({ logGroupName: `/${name}`, logStreamName: "none" })),
  (err) => err instanceof Logs.ResourceNotFoundException && err.message === "The specified log stream does not exist.");

step("service");
await ecs.send(new ECS.RegisterTaskDefinitionCommand({ family: name, networkMode: "awsvpc", requiresCompatibilities: ["FARGATE"], cpu: "256", memory: "512",
  containerDefinitions: [{ name: "main", image: "berth/demo:latest", command: ["sleep", "1h"], stopTimeout: 2 }] }));
const service = { cluster: name, serviceName: "js", taskDefinition: name, desiredCount: 1, networkConfiguration, enableECSManagedTags: true,
  deploymentConfiguration: { deploymentCircuitBreaker: { enable: true, rollback: true } } };
assert.equal((await ecs.send(new ECS.CreateServiceCommand(service))).service.status, "ACTIVE");
assert.equal((await ECS.waitUntilServicesStable(waiting(ecs), { cluster: name, services: ["js"] })).state, "SUCCESS");
const arns = [];
for await (const page of ECS.paginateListTasks({ client: ecs, pageSize: 1 }, { cluster: name, serviceName: "js" })) arns.push(...page.taskArns);
assert.equal(arns.length, 1);
await ecs.send(new ECS.DeleteServiceCommand({ cluster: name, service: "js", force: true }));
assert.equal((await ECS.waitUntilServicesInactive(waiting(ecs), { cluster: name, services: ["js"] })).state, "SUCCESS");

step("tidy up");
await ECS.waitUntilTasksStopped(waiting(ecs), { cluster: name, tasks: arns });
await logs.send(new Logs.DeleteLogGroupCommand({ logGroupName: `/${name}` }));
assert.equal((await ecs.send(new ECS.DeleteClusterCommand({ cluster: name }))).cluster.status, "INACTIVE");
console.log("ok");
