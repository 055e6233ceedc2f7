// Command terraform is Terraform's provider for AWS 1.60.0, the newest that is to be had as
// a Go module and, of 2019, as old as the protocol of Terraform 0.11, which is built from
// this module too. It is a module of its own because of all that they need.
package main

import (
	"github.com/hashicorp/terraform/plugin"
	"github.com/terraform-providers/terraform-provider-aws/aws"
)

func main() {
	plugin.Serve(&plugin.ServeOpts{ProviderFunc: aws.Provider})
}
