// Command go leads the life of tasks and a service with the AWS SDK for Go version 2. It is
// a module of its own because of all that the SDK needs.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	scaling "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	cwl "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

const patience = 4 * time.Minute

// life is one cluster and what happens in it.
type life struct {
	name, account string
	ecs           *ecs.Client
	logs          *cloudwatchlogs.Client
	sts           *sts.Client
	scaling       *applicationautoscaling.Client
	network       *types.NetworkConfiguration
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	// Credentials are what the environment says and nothing else: no file, and no metadata
	// service of the host that the test runs on.
	key := credentials.NewStaticCredentialsProvider(need("AWS_ACCESS_KEY_ID"), need("AWS_SECRET_ACCESS_KEY"), "")
	c, err := config.LoadDefaultConfig(ctx, config.WithBaseEndpoint(need("ENDPOINT")), config.WithCredentialsProvider(key),
		config.WithRegion(need("AWS_REGION")), config.WithEC2IMDSClientEnableState(imds.ClientDisabled))
	if err != nil {
		fmt.Println("FAIL:", err)
		os.Exit(1)
	}
	l := &life{
		name: need("NAME"), account: need("ACCOUNT"),
		ecs: ecs.NewFromConfig(c), logs: cloudwatchlogs.NewFromConfig(c), sts: sts.NewFromConfig(c), scaling: applicationautoscaling.NewFromConfig(c),
		network: &types.NetworkConfiguration{AwsvpcConfiguration: &types.AwsVpcConfiguration{Subnets: []string{"subnet-12345678"}}},
	}
	failed := false
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"who", l.who}, {"cluster", l.cluster}, {"definitions", l.definitions}, {"task", l.task}, {"service", l.service}, {"scaling", l.scale},
		{"logs", l.log}, {"errors", l.errors}, {"tidy up", l.tidy},
	} {
		fmt.Println(time.Now().Format(time.TimeOnly), part.name)
		if err := part.run(ctx); err != nil {
			fmt.Printf("FAIL in %s: %v\n", part.name, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
	fmt.Println("ok")
}

// need returns a variable of the environment that must be there.
func need(name string) string {
	v := os.Getenv(name)
	if v == "" {
		fmt.Println("FAIL: set", name)
		os.Exit(2)
	}
	return v
}

// equal says what is not as it should be.
func equal(what string, got, want any) error {
	if reflect.DeepEqual(got, want) {
		return nil
	}
	return fmt.Errorf("%s is %v, not %v", what, got, want)
}

func (l *life) who(ctx context.Context) error {
	who, err := l.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return err
	}
	return equal("account", aws.ToString(who.Account), l.account)
}

func (l *life) cluster(ctx context.Context) error {
	made, err := l.ecs.CreateCluster(ctx, &ecs.CreateClusterInput{ClusterName: &l.name, CapacityProviders: []string{"FARGATE"}})
	if err != nil {
		return err
	}
	_, err = l.ecs.PutClusterCapacityProviders(ctx, &ecs.PutClusterCapacityProvidersInput{
		Cluster: &l.name, CapacityProviders: []string{"FARGATE", "FARGATE_SPOT"},
		DefaultCapacityProviderStrategy: []types.CapacityProviderStrategyItem{{CapacityProvider: aws.String("FARGATE"), Weight: 1, Base: 1}},
	})
	if err != nil {
		return err
	}
	found, err := l.ecs.DescribeClusters(ctx, &ecs.DescribeClustersInput{Clusters: []string{*made.Cluster.ClusterArn}, Include: []types.ClusterField{types.ClusterFieldSettings}})
	if err != nil {
		return err
	}
	if len(found.Clusters) != 1 {
		return fmt.Errorf("clusters: %v, failures %v", found.Clusters, found.Failures)
	}
	return errors.Join(equal("status", aws.ToString(found.Clusters[0].Status), "ACTIVE"),
		equal("capacity providers", found.Clusters[0].CapacityProviders, []string{"FARGATE", "FARGATE_SPOT"}))
}

func (l *life) register(ctx context.Context, command ...string) error {
	_, err := l.ecs.RegisterTaskDefinition(ctx, &ecs.RegisterTaskDefinitionInput{
		Family: &l.name, NetworkMode: types.NetworkModeAwsvpc, RequiresCompatibilities: []types.Compatibility{types.CompatibilityFargate},
		Cpu: aws.String("256"), Memory: aws.String("512"), ExecutionRoleArn: aws.String("arn:aws:iam::" + l.account + ":role/execution"),
		ContainerDefinitions: []types.ContainerDefinition{{
			Name: aws.String("main"), Image: aws.String("berth/demo:latest"), Command: command, StopTimeout: aws.Int32(2),
			LogConfiguration: &types.LogConfiguration{LogDriver: types.LogDriverAwslogs, Options: map[string]string{
				"awslogs-group": "/" + l.name, "awslogs-region": os.Getenv("AWS_REGION"), "awslogs-stream-prefix": "go"}},
		}},
	})
	return err
}

func (l *life) definitions(ctx context.Context) error {
	if _, err := l.logs.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: aws.String("/" + l.name)}); err != nil {
		return err
	}
	for range 3 {
		if err := l.register(ctx, "lines", "30"); err != nil {
			return err
		}
	}
	pages := ecs.NewListTaskDefinitionsPaginator(l.ecs, &ecs.ListTaskDefinitionsInput{FamilyPrefix: &l.name, MaxResults: aws.Int32(2)})
	var sizes []int
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		sizes = append(sizes, len(page.TaskDefinitionArns))
	}
	return equal("pages", sizes, []int{2, 1})
}

func (l *life) task(ctx context.Context) error {
	// The SDK makes an idempotency token of its own.
	ran, err := l.ecs.RunTask(ctx, &ecs.RunTaskInput{Cluster: &l.name, TaskDefinition: &l.name, NetworkConfiguration: l.network, Count: aws.Int32(2)})
	if err != nil {
		return err
	}
	if len(ran.Tasks) != 2 {
		return fmt.Errorf("tasks: %d, failures %v", len(ran.Tasks), ran.Failures)
	}
	arns := []string{*ran.Tasks[0].TaskArn, *ran.Tasks[1].TaskArn}
	ended, err := ecs.NewTasksStoppedWaiter(l.ecs, func(o *ecs.TasksStoppedWaiterOptions) { o.MinDelay, o.MaxDelay = time.Second, 2*time.Second }).
		WaitForOutput(ctx, &ecs.DescribeTasksInput{Cluster: &l.name, Tasks: arns}, patience)
	if err != nil {
		return err
	}
	for _, t := range ended.Tasks {
		if t.StartedAt == nil || t.StoppedAt == nil || t.Containers[0].ExitCode == nil {
			return fmt.Errorf("an ended task lacks its times or exit code: %+v", t)
		}
		if err := errors.Join(equal("exit code", *t.Containers[0].ExitCode, int32(0)), equal("stop code", t.StopCode, types.TaskStopCodeEssentialContainerExited)); err != nil {
			return err
		}
	}
	stream := "go/main/" + arns[0][strings.LastIndex(arns[0], "/")+1:]
	got, err := l.logs.GetLogEvents(ctx, &cloudwatchlogs.GetLogEventsInput{LogGroupName: aws.String("/" + l.name), LogStreamName: &stream, StartFromHead: aws.Bool(true)})
	if err != nil {
		return err
	}
	return equal("lines", len(got.Events), 30)
}

func (l *life) service(ctx context.Context) error {
	if err := l.register(ctx, "sleep", "1h"); err != nil {
		return err
	}
	_, err := l.ecs.CreateService(ctx, &ecs.CreateServiceInput{
		Cluster: &l.name, ServiceName: aws.String("go"), TaskDefinition: &l.name, DesiredCount: aws.Int32(1), NetworkConfiguration: l.network,
		DeploymentConfiguration: &types.DeploymentConfiguration{DeploymentCircuitBreaker: &types.DeploymentCircuitBreaker{Enable: true, Rollback: true}},
	})
	if err != nil {
		return err
	}
	which := &ecs.DescribeServicesInput{Cluster: &l.name, Services: []string{"go"}}
	stable, err := ecs.NewServicesStableWaiter(l.ecs, func(o *ecs.ServicesStableWaiterOptions) { o.MinDelay, o.MaxDelay = time.Second, 2*time.Second }).
		WaitForOutput(ctx, which, patience)
	if err != nil {
		return err
	}
	if err := equal("running", stable.Services[0].RunningCount, int32(1)); err != nil {
		return err
	}
	deployments, err := l.ecs.ListServiceDeployments(ctx, &ecs.ListServiceDeploymentsInput{Cluster: &l.name, Service: aws.String("go")})
	if err != nil {
		return err
	}
	return equal("deployments", len(deployments.ServiceDeployments), 1)
}

// scale lets Application Auto Scaling hold the service, and deletes the service then.
func (l *life) scale(ctx context.Context) error {
	id, dimension := aws.String("service/"+l.name+"/go"), scaling.ScalableDimensionECSServiceDesiredCount
	if _, err := l.scaling.RegisterScalableTarget(ctx, &applicationautoscaling.RegisterScalableTargetInput{
		ServiceNamespace: scaling.ServiceNamespaceEcs, ResourceId: id, ScalableDimension: dimension, MinCapacity: aws.Int32(1), MaxCapacity: aws.Int32(2),
	}); err != nil {
		return err
	}
	put, err := l.scaling.PutScalingPolicy(ctx, &applicationautoscaling.PutScalingPolicyInput{
		PolicyName: aws.String("cpu"), PolicyType: scaling.PolicyTypeTargetTrackingScaling,
		ServiceNamespace: scaling.ServiceNamespaceEcs, ResourceId: id, ScalableDimension: dimension,
		TargetTrackingScalingPolicyConfiguration: &scaling.TargetTrackingScalingPolicyConfiguration{TargetValue: aws.Float64(60),
			PredefinedMetricSpecification: &scaling.PredefinedMetricSpecification{PredefinedMetricType: scaling.MetricTypeECSServiceAverageCPUUtilization}},
	})
	if err != nil {
		return err
	}
	found, err := l.scaling.DescribeScalingPolicies(ctx, &applicationautoscaling.DescribeScalingPoliciesInput{ServiceNamespace: scaling.ServiceNamespaceEcs, ResourceId: id})
	if err != nil {
		return err
	}
	if len(found.ScalingPolicies) != 1 || aws.ToString(found.ScalingPolicies[0].PolicyARN) != aws.ToString(put.PolicyARN) {
		return fmt.Errorf("policies: %+v", found.ScalingPolicies)
	}
	_, err = l.scaling.DeregisterScalableTarget(ctx, &applicationautoscaling.DeregisterScalableTargetInput{ServiceNamespace: scaling.ServiceNamespaceEcs, ResourceId: id, ScalableDimension: dimension})
	return err
}

func (l *life) log(ctx context.Context) error {
	group, stream := aws.String("/"+l.name), aws.String("own")
	if _, err := l.logs.CreateLogStream(ctx, &cloudwatchlogs.CreateLogStreamInput{LogGroupName: group, LogStreamName: stream}); err != nil {
		return err
	}
	now := time.Now().UnixMilli()
	put, err := l.logs.PutLogEvents(ctx, &cloudwatchlogs.PutLogEventsInput{LogGroupName: group, LogStreamName: stream, LogEvents: []cwl.InputLogEvent{
		{Timestamp: aws.Int64(now), Message: aws.String(`{"level":"error","n":1}`)}, {Timestamp: aws.Int64(now + 1), Message: aws.String(`{"level":"info","n":2}`)}}})
	if err != nil {
		return err
	}
	if put.RejectedLogEventsInfo != nil {
		return fmt.Errorf("events were rejected: %+v", put.RejectedLogEventsInfo)
	}
	found, err := l.logs.FilterLogEvents(ctx, &cloudwatchlogs.FilterLogEventsInput{LogGroupName: group, FilterPattern: aws.String(`{ $.level = "error" }`)})
	if err != nil {
		return err
	}
	return equal("errors", len(found.Events), 1)
}

func (l *life) errors(ctx context.Context) error {
	_, err := l.ecs.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: aws.String(l.name + "-none"), Services: []string{"x"}})
	var missing *types.ClusterNotFoundException
	if !errors.As(err, &missing) {
		return fmt.Errorf("a missing cluster: %w", err)
	}
	_, err = l.logs.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: aws.String("/" + l.name)})
	var exists *cwl.ResourceAlreadyExistsException
	if !errors.As(err, &exists) {
		return fmt.Errorf("a log group that exists: %w", err)
	}
	_, err = l.ecs.RunTask(ctx, &ecs.RunTaskInput{Cluster: &l.name, TaskDefinition: &l.name})
	var invalid *types.InvalidParameterException
	if !errors.As(err, &invalid) {
		return fmt.Errorf("a task without a network: %w", err)
	}
	return nil
}

func (l *life) tidy(ctx context.Context) error {
	if _, err := l.ecs.DeleteService(ctx, &ecs.DeleteServiceInput{Cluster: &l.name, Service: aws.String("go"), Force: aws.Bool(true)}); err != nil {
		return err
	}
	err := ecs.NewServicesInactiveWaiter(l.ecs, func(o *ecs.ServicesInactiveWaiterOptions) { o.MinDelay, o.MaxDelay = time.Second, 2*time.Second }).
		Wait(ctx, &ecs.DescribeServicesInput{Cluster: &l.name, Services: []string{"go"}}, patience)
	if err != nil {
		return err
	}
	if _, err := l.logs.DeleteLogGroup(ctx, &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: aws.String("/" + l.name)}); err != nil {
		return err
	}
	gone, err := l.ecs.DeleteCluster(ctx, &ecs.DeleteClusterInput{Cluster: &l.name})
	if err != nil {
		return err
	}
	return equal("status", aws.ToString(gone.Cluster.Status), "INACTIVE")
}
