// Command sdk is a program that uses the AWS SDK for Go with nothing configured, to be run
// as a container of a task: it prints where the SDK found credentials, which ones, and
// the region. It is a module of its own because of all that the SDK needs.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/config"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "sdk:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	c, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	got, err := c.Credentials.Retrieve(ctx)
	if err != nil {
		return err
	}
	fmt.Println(got.Source, got.AccessKeyID, got.SecretAccessKey, got.SessionToken, got.CanExpire, c.Region)
	return nil
}
