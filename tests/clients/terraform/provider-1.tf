# The provider of 2019, for Terraform 0.11.

variable "endpoint" {}

provider "aws" {
  region                  = "us-east-1"
  skip_get_ec2_platforms  = true
  skip_metadata_api_check = true

  endpoints {
    ecs            = "${var.endpoint}"
    cloudwatchlogs = "${var.endpoint}"
    sts            = "${var.endpoint}"
  }
}
