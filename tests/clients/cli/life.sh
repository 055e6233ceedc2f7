#!/usr/bin/env bash
# The life of tasks and a service as one leads it with the AWS CLI. AWS is the program,
# ENDPOINT the server, NAME what everything is called.
set -euo pipefail
: "${NAME:?}" "${ENDPOINT:?}" "${ACCOUNT:?}" "${WORK:?}" "${AWS_REGION:?}" "${AWS_ACCESS_KEY_ID:?}" "${AWS_SECRET_ACCESS_KEY:?}"
export AWS_PAGER= AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true
aws() { "$AWS" --endpoint-url "$ENDPOINT" --output json "$@"; }
text() { "$AWS" --endpoint-url "$ENDPOINT" --output text "$@"; }
fail() { echo "FAIL: $*" >&2; exit 1; }
is() { [ "$2" = "$3" ] || fail "$1 is '$2', not '$3'"; }
has() { case $2 in *"$3"*) ;; *) fail "$1 is '$2', without '$3'" ;; esac }
refused() { # CODE TEXT COMMAND...: it must fail with that code and text
  local out
  if out=$(aws "${@:3}" 2>&1); then fail "${*:3} was not refused"; fi
  has "what ${*:3} says" "$out" "($1)"
  has "what ${*:3} says" "$out" "$2"
}
step() { echo "$(date +%T) $*"; }
network='awsvpcConfiguration={subnets=[subnet-12345678],assignPublicIp=DISABLED}'

step who
is account "$(text sts get-caller-identity --query Account)" "$ACCOUNT"

step cluster
is status "$(text ecs create-cluster --cluster-name "$NAME" --tags key=team,value=blue --query cluster.status)" ACTIVE
is tags "$(text ecs describe-clusters --clusters "$NAME" --include TAGS --query 'clusters[0].tags[0].value')" blue
has clusters "$(text ecs list-clusters --query clusterArns)" "cluster/$NAME"
refused ClusterNotFoundException 'Cluster not found.' ecs list-tasks --cluster "$NAME-none"

step definition
aws logs create-log-group --log-group-name "/$NAME"
cat >"$WORK/definition.json" <<J
{"family": "$NAME", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512",
 "executionRoleArn": "arn:aws:iam::$ACCOUNT:role/execution", "taskRoleArn": "arn:aws:iam::$ACCOUNT:role/task",
 "containerDefinitions": [{"name": "main", "image": "berth/demo:latest", "essential": true, "command": ["serve", "8080"], "stopTimeout": 2,
   "portMappings": [{"containerPort": 8080}],
   "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "/$NAME", "awslogs-region": "$AWS_REGION", "awslogs-stream-prefix": "app"}}}]}
J
first=$(text ecs register-task-definition --cli-input-json "file://$WORK/definition.json" --query taskDefinition.taskDefinitionArn)
has "the definition's ARN" "$first" ":task-definition/$NAME:1"
is protocol "$(text ecs describe-task-definition --task-definition "$NAME" --query 'taskDefinition.containerDefinitions[0].portMappings[0].protocol')" tcp

step run
sed 's/"serve", "8080"/"lines", "40"/' "$WORK/definition.json" >"$WORK/lines.json"
aws ecs register-task-definition --cli-input-json "file://$WORK/lines.json" >/dev/null
short=$(text ecs run-task --cluster "$NAME" --task-definition "$NAME:2" --launch-type FARGATE --network-configuration "$network" --query 'tasks[0].taskArn')
long=$(text ecs run-task --cluster "$NAME" --task-definition "$NAME:1" --launch-type FARGATE --network-configuration "$network" \
  --enable-execute-command --started-by "$NAME" --tags key=k,value=v --query 'tasks[0].taskArn')
aws ecs wait tasks-running --cluster "$NAME" --tasks "$long"
is status "$(text ecs describe-tasks --cluster "$NAME" --tasks "$long" --query 'tasks[0].lastStatus')" RUNNING
has address "$(text ecs describe-tasks --cluster "$NAME" --tasks "$long" --query "tasks[0].attachments[0].details[?name=='privateIPv4Address'].value | [0]")" .
is "the started" "$(text ecs list-tasks --cluster "$NAME" --started-by "$NAME" --query 'taskArns[0]')" "$long"
is "a missing task" "$(text ecs describe-tasks --cluster "$NAME" --tasks 0123456789abcdef0123456789abcdef --query 'failures[0].reason')" MISSING

step logs
aws ecs wait tasks-stopped --cluster "$NAME" --tasks "$short"
is "exit code" "$(text ecs describe-tasks --cluster "$NAME" --tasks "$short" --query 'tasks[0].containers[0].exitCode')" 0
is "stop code" "$(text ecs describe-tasks --cluster "$NAME" --tasks "$short" --query 'tasks[0].stopCode')" EssentialContainerExited
stream=app/main/${short##*/}
is "lines of the tail" "$(text logs tail "/$NAME" --since 1h --log-stream-names "$stream" | wc -l)" 40
is "events of the stream" "$(text logs get-log-events --log-group-name "/$NAME" --log-stream-name "$stream" --start-from-head --query 'length(events)')" 40
is streams "$(text logs describe-log-streams --log-group-name "/$NAME" --query 'length(logStreams)')" 2

step exec
# The plugin wants a terminal.
command="'$AWS' --endpoint-url '$ENDPOINT' ecs execute-command --cluster '$NAME' --task '$long' --container main --interactive --command '/demo id'"
has "what the command says" "$(PATH=$(dirname "$PLUGIN"):$PATH script -qec "$command" /dev/null </dev/null)" CapEff

step stop
is desired "$(text ecs stop-task --cluster "$NAME" --task "$long" --reason "enough" --query task.desiredStatus)" STOPPED
aws ecs wait tasks-stopped --cluster "$NAME" --tasks "$long"
is reason "$(text ecs describe-tasks --cluster "$NAME" --tasks "$long" --query 'tasks[0].stoppedReason')" enough
is "stop code" "$(text ecs describe-tasks --cluster "$NAME" --tasks "$long" --query 'tasks[0].stopCode')" UserInitiated

step service
is status "$(text ecs create-service --cluster "$NAME" --service-name web --task-definition "$NAME:1" --desired-count 2 --launch-type FARGATE \
  --network-configuration "$network" --query service.status)" ACTIVE
aws ecs wait services-stable --cluster "$NAME" --services web
is running "$(text ecs describe-services --cluster "$NAME" --services web --query 'services[0].runningCount')" 2
has "the service's tasks" "$(text ecs list-tasks --cluster "$NAME" --service-name web --query 'taskArns[0]')" ":task/$NAME/"
is desired "$(text ecs update-service --cluster "$NAME" --service web --desired-count 1 --query service.desiredCount)" 1
aws ecs wait services-stable --cluster "$NAME" --services web
is running "$(text ecs describe-services --cluster "$NAME" --services web --query 'services[0].runningCount')" 1
refused InvalidParameterException 'The service cannot be stopped while it is scaled above 0.' ecs delete-service --cluster "$NAME" --service web
aws ecs update-service --cluster "$NAME" --service web --desired-count 0 >/dev/null
aws ecs delete-service --cluster "$NAME" --service web >/dev/null
aws ecs wait services-inactive --cluster "$NAME" --services web

step "tidy up"
for n in 1 2; do aws ecs deregister-task-definition --task-definition "$NAME:$n" >/dev/null; done
is "the definition's status" "$(text ecs describe-task-definition --task-definition "$NAME:1" --query taskDefinition.status)" INACTIVE
aws logs delete-log-group --log-group-name "/$NAME"
is status "$(text ecs delete-cluster --cluster "$NAME" --query cluster.status)" INACTIVE
echo "ok"
