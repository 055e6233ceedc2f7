package client

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"berth/billing"
	"berth/server/api"
	"berth/task"
)

// Register registers a definition, given as the JSON of the ECS
// RegisterTaskDefinition call. Every call makes a new revision.
func (c *Client) Register(ctx context.Context, definition json.RawMessage) (task.Definition, error) {
	var d task.Definition
	err := c.call(ctx, request{method: "POST", path: "/task-definitions", body: definition}, &d)
	return d, err
}

// Definition returns a definition. name is a family, which means its latest
// ACTIVE revision, or family:revision, or an ARN.
func (c *Client) Definition(ctx context.Context, name string) (task.Definition, error) {
	var d task.Definition
	err := c.call(ctx, request{method: "GET", path: "/task-definitions/" + url.PathEscape(name)}, &d)
	return d, err
}

// Deregister makes a revision INACTIVE and returns it.
func (c *Client) Deregister(ctx context.Context, name string) (task.Definition, error) {
	var d task.Definition
	err := c.call(ctx, request{method: "DELETE", path: "/task-definitions/" + url.PathEscape(name)}, &d)
	return d, err
}

// TagDefinition replaces the tags of a revision; none takes all away.
func (c *Client) TagDefinition(ctx context.Context, name string, tags []task.Tag) (task.Definition, error) {
	var d task.Definition
	path := "/task-definitions/" + url.PathEscape(name) + "/tags"
	if tags == nil {
		tags = []task.Tag{} // null would be no list
	}
	err := c.call(ctx, request{method: "PUT", path: path, body: api.TagList{Tags: tags}}, &d)
	return d, err
}

// DefinitionQuery selects definitions. Zero values select all ACTIVE ones.
type DefinitionQuery struct {
	FamilyPrefix string
	Status       string // ACTIVE or INACTIVE
	Descending   bool
}

// Definitions yields definitions by family and revision, page after page.
func (c *Client) Definitions(ctx context.Context, q DefinitionQuery) iter.Seq2[task.Definition, error] {
	query := values("familyPrefix", q.FamilyPrefix, "status", q.Status)
	if q.Descending {
		query.Set("sort", "DESC")
	}
	return pages(query, func(query url.Values) ([]task.Definition, string, error) {
		var page api.DefinitionPage
		err := c.call(ctx, request{method: "GET", path: "/task-definitions", query: query}, &page)
		return page.TaskDefinitions, page.NextToken, err
	})
}

// Run runs tasks and returns them as they were accepted.
func (c *Client) Run(ctx context.Context, r api.RunRequest) ([]task.Task, error) {
	var out api.RunResponse
	err := c.call(ctx, request{method: "POST", path: "/tasks", body: r}, &out)
	return out.Tasks, err
}

// Preview says what Run would do, whether the tasks would start now and what they would
// cost, and does nothing. Errors are those of Run; a task that the host could never hold
// is an Admission.
func (c *Client) Preview(ctx context.Context, r api.RunRequest) (api.RunResponse, error) {
	var out api.RunResponse
	err := c.call(ctx, request{method: "POST", path: "/tasks", query: values("dryRun", "true"), body: r}, &out)
	return out, err
}

// Task returns a task. id may be an ARN.
func (c *Client) Task(ctx context.Context, id string) (task.Task, error) {
	var t task.Task
	err := c.call(ctx, request{method: "GET", path: taskPath(id, "")}, &t)
	return t, err
}

// TaskQuery selects tasks. Zero values select all.
type TaskQuery struct {
	LastStatus    task.Status
	DesiredStatus task.Status
	Cluster       string // name of one
	Family        string
	Group         string
	StartedBy     string
	Tag           string // KEY or KEY=VALUE
}

// Tasks yields tasks, newest first, page after page.
func (c *Client) Tasks(ctx context.Context, q TaskQuery) iter.Seq2[task.Task, error] {
	query := values("lastStatus", string(q.LastStatus), "desiredStatus", string(q.DesiredStatus),
		"cluster", q.Cluster, "family", q.Family, "group", q.Group, "startedBy", q.StartedBy, "tag", q.Tag)
	return pages(query, func(query url.Values) ([]task.Task, string, error) {
		var page api.TaskPage
		err := c.call(ctx, request{method: "GET", path: "/tasks", query: query}, &page)
		return page.Tasks, page.NextToken, err
	})
}

// Stop asks a task to stop and returns before it has. Asking again changes
// nothing.
func (c *Client) Stop(ctx context.Context, id, reason string) (task.Task, error) {
	var t task.Task
	err := c.call(ctx, request{method: "POST", path: taskPath(id, "/stop"), body: api.StopRequest{Reason: reason}}, &t)
	return t, err
}

// Usage returns what a task used. With a Limit it is one page; without, it is all of
// it, page after page.
func (c *Client) Usage(ctx context.Context, id string, q billing.UsageQuery) (billing.Usage, error) {
	var all billing.Usage
	for first := true; first || q.Token != "" && q.Limit == 0; first = false {
		query := values("from", stamp(q.From), "to", stamp(q.To), "nextToken", q.Token)
		if q.Resolution > 0 {
			query.Set("resolution", strconv.Itoa(int(q.Resolution/time.Second)))
		}
		if query.Set("limit", strconv.Itoa(q.Limit)); q.Limit == 0 {
			query.Set("limit", strconv.Itoa(usagePage))
		}
		var u billing.Usage
		if err := c.call(ctx, request{method: "GET", path: taskPath(id, "/usage"), query: query}, &u); err != nil {
			return all, err
		}
		u.Samples = append(all.Samples, u.Samples...)
		all, q.Token = u, u.NextToken
	}
	return all, nil
}

// usagePage is the largest page of readings.
const usagePage = 10000

// GroupUsage yields what tasks reserved, used and wasted, group by group in the order
// of their keys. Of q, By, From, To and Family are looked at.
func (c *Client) GroupUsage(ctx context.Context, q billing.GroupQuery) iter.Seq2[billing.UsageGroup, error] {
	query := values("groupBy", strings.Join(q.By, ","), "family", q.Family, "from", stamp(q.From), "to", stamp(q.To))
	return pages(query, func(query url.Values) ([]billing.UsageGroup, string, error) {
		var page billing.UsageGroups
		err := c.call(ctx, request{method: "GET", path: "/usage", query: query}, &page)
		return page.Groups, page.NextToken, err
	})
}

// Interrupt takes a task on FARGATE_SPOT away and returns before it has ended.
func (c *Client) Interrupt(ctx context.Context, id string) (task.Task, error) {
	var t task.Task
	err := c.call(ctx, request{method: "POST", path: taskPath(id, "/interrupt")}, &t)
	return t, err
}

// Isolation returns what keeps a task apart, as the kernel of the server's host says.
func (c *Client) Isolation(ctx context.Context, id string) (task.Isolation, error) {
	var i task.Isolation
	err := c.call(ctx, request{method: "GET", path: taskPath(id, "/isolation")}, &i)
	return i, err
}

// Bill returns what a task costs, so far or in the end.
func (c *Client) Bill(ctx context.Context, id string) (billing.Bill, error) {
	var b billing.Bill
	err := c.call(ctx, request{method: "GET", path: taskPath(id, "/bill")}, &b)
	return b, err
}

// Images returns the images on the server's host.
func (c *Client) Images(ctx context.Context) ([]task.Image, error) {
	var list api.ImageList
	err := c.call(ctx, request{method: "GET", path: "/images"}, &list)
	return list.Images, err
}

// Import sends an OCI or docker-archive tar and names the image tag, or as the
// archive says if tag is empty.
func (c *Client) Import(ctx context.Context, tag string, tar io.Reader) ([]task.Image, error) {
	var list api.ImageList
	err := c.call(ctx, request{method: "POST", path: "/images", query: values("tag", tag), stream: tar}, &list)
	return list.Images, err
}

// RemoveImage removes an image by its name. An image that a task needs is a
// fault.Conflict unless force is set.
func (c *Client) RemoveImage(ctx context.Context, name string, force bool) error {
	query := url.Values{}
	if force {
		query.Set("force", "true")
	}
	return c.call(ctx, request{method: "DELETE", path: "/images/" + url.PathEscape(name), query: query}, nil)
}

// CollectImages removes the images that no task needs.
func (c *Client) CollectImages(ctx context.Context) (api.Collected, error) {
	var out api.Collected
	err := c.call(ctx, request{method: "POST", path: "/images/collect"}, &out)
	return out, err
}

// Capacity returns what tasks may reserve and what they do reserve.
func (c *Client) Capacity(ctx context.Context) (api.Capacity, error) {
	var out api.Capacity
	err := c.call(ctx, request{method: "GET", path: "/capacity"}, &out)
	return out, err
}

// Health says whether tasks can run. It is an error only if no server answers.
func (c *Client) Health(ctx context.Context) (api.Health, error) {
	req, err := c.request(ctx, request{method: "GET", path: rootPath + "healthz"})
	if err != nil {
		return api.Health{}, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return api.Health{}, unreachable(c.base, err)
	}
	defer resp.Body.Close()
	var h api.Health
	if err := json.NewDecoder(io.LimitReader(resp.Body, bodyMax)).Decode(&h); err != nil || h.Status == "" {
		return api.Health{}, foreign(c.base, resp.Status)
	}
	if resp.StatusCode != http.StatusOK && h.Status == "ok" {
		h.Status = "unavailable"
	}
	return h, nil
}

// taskPath is where a task is. id may be an ARN, which has slashes.
func taskPath(id, below string) string { return "/tasks/" + url.PathEscape(id) + below }

// values makes a query of pairs and leaves out those without a value.
func values(pairs ...string) url.Values {
	query := make(url.Values)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			query.Set(pairs[i], pairs[i+1])
		}
	}
	return query
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// pages yields what fetch returns, page after page.
func pages[T any](query url.Values, fetch func(url.Values) ([]T, string, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			page, next, err := fetch(query)
			if err != nil {
				var zero T
				yield(zero, err)
				return
			}
			for _, item := range page {
				if !yield(item, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			query.Set("nextToken", next)
		}
	}
}
