# What most people describe with Terraform: a cluster, a log group, a task definition and a
# service, in words that Terraform 0.11 and 1.x both know.

variable "name" {}

variable "count_of_tasks" {
  default = "1"
}

variable "setting" {
  default = "2"
}

data "aws_caller_identity" "me" {}

data "aws_region" "here" {}

resource "aws_ecs_cluster" "main" {
  name = "${var.name}"

  tags = {
    team = "blue"
  }
}

resource "aws_cloudwatch_log_group" "main" {
  name              = "/${var.name}"
  retention_in_days = 7

  tags = {
    team = "blue"
  }
}

resource "aws_ecs_task_definition" "main" {
  family                   = "${var.name}"
  network_mode             = "awsvpc"
  requires_compatibilities = ["FARGATE"]
  cpu                      = "256"
  memory                   = "512"
  execution_role_arn       = "arn:aws:iam::${data.aws_caller_identity.me.account_id}:role/execution"
  task_role_arn            = "arn:aws:iam::${data.aws_caller_identity.me.account_id}:role/task"

  container_definitions = <<J
[{
  "name": "main", "image": "berth/demo:latest", "command": ["sleep", "1h"],
  "environment": [{"name": "Z", "value": "1"}, {"name": "A", "value": "${var.setting}"}],
  "portMappings": [{"containerPort": 8080}],
  "healthCheck": {"command": ["CMD", "/demo", "exit", "0"], "interval": 5, "timeout": 5, "retries": 3},
  "logConfiguration": {"logDriver": "awslogs", "options": {
    "awslogs-group": "${aws_cloudwatch_log_group.main.name}", "awslogs-region": "${data.aws_region.here.name}", "awslogs-stream-prefix": "tf"}}
}]
J

  volume {
    name = "scratch"
  }

  tags = {
    team = "blue"
  }
}

resource "aws_ecs_service" "main" {
  name            = "web"
  cluster         = "${aws_ecs_cluster.main.id}"
  task_definition = "${aws_ecs_task_definition.main.arn}"
  desired_count   = "${var.count_of_tasks}"
  launch_type     = "FARGATE"

  deployment_minimum_healthy_percent = 0
  deployment_maximum_percent         = 200

  network_configuration {
    subnets          = ["subnet-12345678"]
    security_groups  = []
    assign_public_ip = false
  }
}

output "account" {
  value = "${data.aws_caller_identity.me.account_id}"
}

output "service" {
  value = "${aws_ecs_service.main.id}"
}
