package rest

import (
	"context"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"berth/access"
	"berth/fault"
	"berth/task"
)

// right is what somebody needs to use an operation.
type right struct {
	action string // as in policies
	server bool   // it is about the whole server and not about an account: for admins only
	reads  bool   // it changes nothing, whatever its method: it is not in the audit log
	later  bool   // the handler asks when it knows what the request is about
}

// rights are those of every operation, by method and path. An operation has the name of
// ECS's where it does the same, so that one policy is right for both fronts.
var rights = map[string]right{
	"POST /task-definitions":               {action: "ecs:RegisterTaskDefinition"},
	"GET /task-definitions":                {action: "ecs:ListTaskDefinitions"},
	"GET /task-definitions/:name":          {action: "ecs:DescribeTaskDefinition"},
	"DELETE /task-definitions/:name":       {action: "ecs:DeregisterTaskDefinition"},
	"PUT /task-definitions/:name/tags":     {action: "ecs:TagResource"},
	"POST /tasks":                          {action: "ecs:RunTask", later: true},
	"GET /tasks":                           {action: "ecs:ListTasks"},
	"GET /tasks/:id":                       {action: "ecs:DescribeTasks"},
	"POST /tasks/:id/stop":                 {action: "ecs:StopTask"},
	"POST /tasks/:id/interrupt":            {action: "berth:InterruptTask"},
	"GET /tasks/:id/exec":                  {action: "ecs:ExecuteCommand"},
	"GET /tasks/:id/logs":                  {action: "logs:GetLogEvents"},
	"GET /tasks/:id/usage":                 {action: "berth:GetUsage"},
	"GET /tasks/:id/isolation":             {action: "berth:GetIsolation"},
	"GET /tasks/:id/bill":                  {action: "berth:GetBill"},
	"GET /tasks/:id/estimate":              {action: "berth:GetEstimate"},
	"GET /usage":                           {action: "berth:GetUsage", server: true},
	"POST /estimates":                      {action: "berth:GetEstimate", reads: true},
	"POST /rightsizing":                    {action: "berth:GetRightsizing", reads: true},
	"POST /tunings":                        {action: "berth:CreateTuning", server: true},
	"GET /tunings":                         {action: "berth:ListTunings", server: true},
	"GET /tunings/:id":                     {action: "berth:DescribeTuning", server: true},
	"POST /tunings/:id/cancel":             {action: "berth:CancelTuning", server: true},
	"POST /tunings/:id/resume":             {action: "berth:ResumeTuning", server: true},
	"DELETE /tunings/:id":                  {action: "berth:DeleteTuning", server: true},
	"GET /costs":                           {action: "berth:GetCosts"},
	"GET /waste":                           {action: "berth:GetCosts"},
	"POST /what-if":                        {action: "berth:GetCosts", reads: true},
	"GET /chargeback/:period":              {action: "berth:GetChargeback", server: true},
	"POST /reconcile":                      {action: "berth:Reconcile", server: true, reads: true},
	"GET /exports/focus.csv":               {action: "berth:ExportCosts", server: true},
	"GET /exports/focus.parquet":           {action: "berth:ExportCosts", server: true},
	"GET /exports/cur.csv":                 {action: "berth:ExportCosts", server: true},
	"GET /events":                          {action: "ecs:DescribeTasks"},
	"GET /events/eventbridge":              {action: "ecs:DescribeTasks"},
	"GET /event-rules":                     {action: "events:ListRules"},
	"GET /event-rules/:name":               {action: "events:DescribeRule"},
	"PUT /event-rules/:name":               {action: "events:PutRule", server: true}, // Its webhook may be any host that the server reaches.
	"DELETE /event-rules/:name":            {action: "events:DeleteRule"},
	"GET /ledger/entries":                  {action: "berth:GetLedger", server: true},
	"GET /ledger/entries/:id/proof":        {action: "berth:GetLedger", server: true},
	"POST /ledger/entries/:id/reverse":     {action: "berth:ReverseEntry", server: true},
	"GET /ledger/verify":                   {action: "berth:VerifyLedger", server: true},
	"GET /ledger/checkpoint":               {action: "berth:GetCheckpoint"},
	"GET /ledger/consistency":              {action: "berth:GetCheckpoint"},
	"GET /ledger/key":                      {action: "berth:GetCheckpoint"},
	"GET /ledger/periods":                  {action: "berth:GetLedger", server: true},
	"POST /ledger/periods/:period/close":   {action: "berth:ClosePeriod", server: true},
	"GET /anomalies":                       {action: "berth:ListAnomalies", server: true},
	"GET /notices":                         {action: "berth:ListNotices", server: true},
	"GET /notices/stream":                  {action: "berth:ListNotices", server: true},
	"GET /target-groups":                   {action: "elasticloadbalancing:DescribeTargetGroups"},
	"GET /target-groups/:name":             {action: "elasticloadbalancing:DescribeTargetGroups"},
	"PUT /target-groups/:name":             {action: "elasticloadbalancing:CreateTargetGroup"},
	"DELETE /target-groups/:name":          {action: "elasticloadbalancing:DeleteTargetGroup"},
	"GET /target-groups/:name/targets":     {action: "elasticloadbalancing:DescribeTargetHealth"},
	"GET /security-groups":                 {action: "ec2:DescribeSecurityGroups"},
	"GET /security-groups/:name":           {action: "ec2:DescribeSecurityGroups"},
	"PUT /security-groups/:name":           {action: "ec2:CreateSecurityGroup"},
	"DELETE /security-groups/:name":        {action: "ec2:DeleteSecurityGroup"},
	"POST /images":                         {action: "berth:ImportImage", server: true},
	"GET /images":                          {action: "berth:ListImages"},
	"DELETE /images/*name":                 {action: "berth:DeleteImage", server: true},
	"POST /images/pull":                    {action: "berth:PullImage", server: true},
	"GET /images/pulls":                    {action: "berth:ListImages"},
	"POST /images/collect":                 {action: "berth:DeleteImage", server: true},
	"PUT /secrets/*name":                   {action: "berth:PutSecret", server: true},
	"GET /secrets":                         {action: "berth:ListSecrets", server: true},
	"DELETE /secrets/*name":                {action: "berth:DeleteSecret", server: true},
	"GET /price-lists":                     {action: "berth:ListPriceLists"},
	"POST /price-lists":                    {action: "berth:PutPriceList", server: true},
	"POST /price-lists/import":             {action: "berth:PutPriceList", server: true},
	"POST /price-lists/use":                {action: "berth:UsePriceList", server: true},
	"GET /price-lists/:id":                 {action: "berth:ListPriceLists"},
	"POST /price-lists/:id/activate":       {action: "berth:UsePriceList", server: true},
	"GET /budgets":                         {action: "berth:ListBudgets", server: true},
	"GET /budgets/:name":                   {action: "berth:ListBudgets", server: true},
	"PUT /budgets/:name":                   {action: "berth:PutBudget", server: true},
	"DELETE /budgets/:name":                {action: "berth:DeleteBudget", server: true},
	"GET /capacity":                        {action: "berth:GetCapacity"},
	"GET /whoami":                          {action: "sts:GetCallerIdentity"},
	"POST /users":                          {action: "iam:CreateUser"},
	"GET /users":                           {action: "iam:ListUsers"},
	"GET /users/:name":                     {action: "iam:GetUser"},
	"DELETE /users/:name":                  {action: "iam:DeleteUser"},
	"POST /users/:name/keys":               {action: "iam:CreateAccessKey"},
	"GET /users/:name/keys":                {action: "iam:ListAccessKeys"},
	"PATCH /keys/:id":                      {action: "iam:UpdateAccessKey"},
	"DELETE /keys/:id":                     {action: "iam:DeleteAccessKey"},
	"GET /users/:name/policies":            {action: "iam:ListUserPolicies"},
	"PUT /users/:name/policies/:policy":    {action: "iam:PutUserPolicy"},
	"DELETE /users/:name/policies/:policy": {action: "iam:DeleteUserPolicy"},
	"GET /roles/:name/policies":            {action: "iam:ListRolePolicies"},
	"PUT /roles/:name/policies/:policy":    {action: "iam:PutRolePolicy"},
	"DELETE /roles/:name/policies/:policy": {action: "iam:DeleteRolePolicy"},
	"GET /quotas/:account":                 {action: "berth:GetQuota"},
	"PUT /quotas/:account":                 {action: "berth:PutQuota", server: true},
	"GET /audit":                           {action: "cloudtrail:LookupEvents"},
}

// permit finds out who calls and whether they may, and writes into the audit log what came
// of it. It is the only way to an operation.
func (s *server) permit(op operation) gin.HandlerFunc {
	r, ok := rights[op.method+" "+op.path]
	if !ok {
		panic("rest: nobody may use " + op.method + " " + op.path) // found by the first test
	}
	r.reads = r.reads || op.method == http.MethodGet
	return s.hasRight(r)
}

// readMetrics is what /metrics needs: what the tasks of all accounts use is in it.
var readMetrics = right{action: "berth:GetMetrics", server: true, reads: true}

func (s *server) hasRight(r right) gin.HandlerFunc {
	return func(c *gin.Context) {
		began := s.Now()
		if err := s.hold(c); err != nil {
			s.fail(c, err)
			return
		}
		who, err := s.Identify(c.Request)
		if err != nil {
			if fault.KindOf(err) == fault.Unauthenticated {
				c.Header("WWW-Authenticate", `Bearer realm="berth"`)
			}
			s.fail(c, err)
			return
		}
		unsign(c.Request)
		ctx := access.With(c.Request.Context(), who)
		c.Request = c.Request.WithContext(ctx)
		a, err := s.action(ctx, c, r)
		if err == nil {
			err = s.allow(ctx, who, r, a)
		}
		if err != nil {
			s.fail(c, err)
		} else {
			c.Next()
		}
		if !r.reads && !c.GetBool(dryKey) {
			s.record(c, began, who, a)
		}
	}
}

func (s *server) allow(ctx context.Context, who access.Identity, r right, a access.Action) error {
	if r.server && !who.Admin {
		return fault.New(fault.Denied, "User: %s is not authorized to perform: %s, which is about the whole server: only its admins are", who.ARN, a.Name)
	}
	if s.Throttle != nil {
		if err := s.Throttle(who); err != nil {
			return err
		}
	}
	if r.later {
		return nil
	}
	return s.Access.Authorize(ctx, who, a)
}

// action is what the request wants to do, on what it names in its path.
func (s *server) action(ctx context.Context, c *gin.Context, r right) (access.Action, error) {
	a := access.Action{Name: r.action, Resource: "*"}
	who := access.From(ctx)
	path := c.FullPath()
	switch {
	case strings.Contains(path, "/tasks/:id"):
		if who.Admin {
			break // who may do everything need not wait for it
		}
		id, err := task.ParseID(c.Param("id"))
		if err != nil {
			return a, err
		}
		t, err := s.own(ctx, id)
		if err != nil {
			return a, err
		}
		a.Resource, a.Context = t.ARN, map[string][]string{"ecs:cluster": {t.ClusterARN}}
		tagged(a.Context, "aws:ResourceTag/", t.Tags)
	case strings.Contains(path, "/task-definitions/:name"):
		if family, revision, err := who.Realm().DefinitionRef(c.Param("name")); err == nil && revision > 0 {
			a.Resource = who.Realm().DefinitionARN(family, revision)
		}
	case strings.Contains(path, "/users/:name"):
		a.Resource = access.User{Account: who.Account, Name: c.Param("name")}.ARN()
	case strings.Contains(path, "/roles/:name"):
		a.Resource = "arn:aws:iam::" + who.Account + ":role/" + c.Param("name")
	}
	return a, nil
}

func tagged(keys map[string][]string, prefix string, tags []task.Tag) {
	for _, t := range tags {
		keys[prefix+t.Key] = []string{t.Value}
	}
}

// permitRun asks whether the caller may run r: on its definition, in its cluster, with its
// tags.
func (s *server) permitRun(ctx context.Context, r task.Run) error {
	who := access.From(ctx)
	a := access.Action{Name: "ecs:RunTask", Resource: "*", Context: map[string][]string{"ecs:cluster": {r.Realm.ClusterARN()}}}
	switch {
	case r.Inline != nil:
		a.Resource = r.Realm.DefinitionARN(r.Inline.Family, 0)
		a.Resource = strings.TrimSuffix(a.Resource, "0") + "*"
	case r.Definition != "":
		if family, revision, err := r.Realm.DefinitionRef(r.Definition); err == nil {
			if a.Resource = r.Realm.DefinitionARN(family, revision); revision == 0 {
				a.Resource = strings.TrimSuffix(a.Resource, "0") + "*"
			}
		}
	}
	tagged(a.Context, "aws:RequestTag/", r.Tags)
	for _, t := range r.Tags {
		a.Context["aws:TagKeys"] = append(a.Context["aws:TagKeys"], t.Key)
	}
	if err := s.Access.Authorize(ctx, who, a); err != nil {
		return err
	}
	roles := []string{r.Overrides.TaskRoleARN, r.Overrides.ExecutionRoleARN}
	if r.Inline != nil {
		roles = append(roles, r.Inline.TaskRoleARN, r.Inline.ExecutionRoleARN)
	} else if d, err := s.Definitions.Definition(ctx, r.Realm, r.Definition); err == nil {
		roles = append(roles, d.TaskRoleARN, d.ExecutionRoleARN)
	}
	return s.permitRoles(ctx, roles...)
}

// permitRoles asks whether the caller may have tasks act in some roles.
func (s *server) permitRoles(ctx context.Context, roles ...string) error {
	who := access.From(ctx)
	for _, a := range access.PassRoles(who.Account, roles...) {
		if err := s.Access.Authorize(ctx, who, a); err != nil {
			return err
		}
	}
	return nil
}

// What the handlers of a request leave for the audit log.
const (
	inputKey = "berth.input" // the operation's In
	faultKey = "berth.fault" // the error that was answered
	dryKey   = "berth.dry"   // true: nothing was to be done
)

// record writes a call that was to change something into the audit log.
func (s *server) record(c *gin.Context, began time.Time, who access.Identity, a access.Action) {
	source, name, _ := strings.Cut(a.Name, ":")
	if source != "berth" {
		source += ".amazonaws.com"
	}
	r := access.Record{
		EventID: c.Writer.Header().Get("X-Request-Id"), EventTime: began.UTC(), Source: source, Name: name, Account: who.Account, Region: who.Region,
		Identity: access.WhoOf(who), Address: who.Source, Agent: c.Request.UserAgent(),
	}
	if a.Resource != "*" {
		r.Resources = []string{a.Resource}
	}
	parameters := make(map[string]any)
	for _, p := range c.Params {
		parameters[p.Key] = p.Value
	}
	if in, ok := c.Get(inputKey); ok {
		if body := reflect.Indirect(reflect.ValueOf(in)).FieldByName("Body"); body.IsValid() {
			parameters["body"] = body.Interface()
		}
	}
	r.Parameters = access.Parameters(parameters)
	if err, ok := c.Get(faultKey); ok {
		r.ErrorCode, r.ErrorMessage = fault.KindOf(err.(error)).String(), fault.Message(err.(error))
	}
	s.Audit(c.Request.Context(), r)
}
