# A provider of today, for Terraform or OpenTofu 1.x.

variable "endpoint" {}

terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

provider "aws" {
  region                  = "us-east-1"
  skip_metadata_api_check = true

  endpoints {
    ecs  = var.endpoint
    logs = var.endpoint
    sts  = var.endpoint
    ec2  = var.endpoint
    iam  = var.endpoint
  }
}
