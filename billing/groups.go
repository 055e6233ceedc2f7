package billing

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"berth/fault"
)

// UsageGroups is what tasks reserved, used and wasted, added up in groups.
type UsageGroups struct {
	GroupBy   []string     `json:"groupBy"`
	Series    string       `json:"series" enum:"1m,1h" doc:"The series that was added up: minutes or hours"`
	From      *time.Time   `json:"from,omitempty" doc:"As asked for, widened to whole minutes or hours"`
	To        *time.Time   `json:"to,omitempty"`
	Groups    []UsageGroup `json:"groups"`
	NextToken string       `json:"nextToken,omitempty"`
}

// UsageGroup is what the tasks of one group reserved, used and wasted. The time of a
// task is that for which it is charged, before it is rounded up.
type UsageGroup struct {
	Key   map[string]string `json:"key" doc:"A value for each field of groupBy; empty if a task has no such tag"`
	Tasks int64             `json:"tasks" doc:"How many tasks had time in the range"`

	TaskSeconds float64 `json:"taskSeconds" doc:"Their time together"`

	ReservedCPUSeconds float64 `json:"reservedCpuSeconds" doc:"vCPU × seconds"`
	CPUSeconds         float64 `json:"cpuSeconds" doc:"Of CPU time"`
	WastedCPUSeconds   float64 `json:"wastedCpuSeconds" doc:"Reserved and not used"`
	CPUEfficiency      float64 `json:"cpuEfficiency" doc:"cpuSeconds / reservedCpuSeconds"`

	ReservedMemoryGiBSeconds float64 `json:"reservedMemoryGiBSeconds"`
	MemoryGiBSeconds         float64 `json:"memoryGiBSeconds" doc:"The working set over time"`
	WastedMemoryGiBSeconds   float64 `json:"wastedMemoryGiBSeconds"`
	MemoryEfficiency         float64 `json:"memoryEfficiency"`
	PeakWorkingSetBytes      uint64  `json:"peakWorkingSetBytes" doc:"The highest of one task"`

	ReservedStorageGiBSeconds float64 `json:"reservedStorageGiBSeconds"`
	StorageGiBSeconds         float64 `json:"storageGiBSeconds"`
	PeakStorageBytes          uint64  `json:"peakStorageBytes" doc:"The highest of one task"`

	ThrottledSeconds float64 `json:"throttledSeconds" doc:"For which processes were held back by the CPU limit"`
	OOMKills         uint64  `json:"oomKills"`
	ReadBytes        uint64  `json:"readBytes"`
	WriteBytes       uint64  `json:"writeBytes"`
	RxBytes          uint64  `json:"rxBytes"`
	TxBytes          uint64  `json:"txBytes"`
}

// UsageGroups adds up what tasks reserved and used, up to the last whole minute of each,
// in the order of the groups' keys. From minutes, if the range is of two days or less
// and they are kept for all of it; else from hours. q.After and q.Step are not looked
// at; token is the NextToken of the page before, and one that no page returned is
// fault.Invalid, as is what q.Check refuses.
func (m *Meter) UsageGroups(ctx context.Context, q GroupQuery, token string) (UsageGroups, error) {
	if err := q.Check(); err != nil {
		return UsageGroups{}, err
	}
	var err error
	if q.After, err = openGroup(token, len(q.By)); err != nil {
		return UsageGroups{}, err
	}
	kept, err := m.Ledger.Kept(ctx, Minute)
	if err != nil {
		return UsageGroups{}, err
	}
	end := q.To
	if end.IsZero() {
		end = m.Clock().Wall
	}
	if q.Step = Hour; !q.From.IsZero() && end.Sub(q.From) <= hoursFrom && !q.From.Before(kept) {
		q.Step = Minute
	}
	q.From, q.To = aligned(q.From, q.To, q.Step)
	out := UsageGroups{GroupBy: append([]string{}, q.By...), Series: seriesName(q.Step), From: given(q.From), To: given(q.To), Groups: []UsageGroup{}}
	q.Limit = max(1, q.Limit)
	limit := q.Limit
	q.Limit++
	sums, err := m.Ledger.UsageBy(ctx, q)
	if err != nil {
		return UsageGroups{}, err
	}
	if len(sums) > limit {
		sums = sums[:limit]
		out.NextToken = sealGroup(sums[limit-1].Key)
	}
	for _, s := range sums {
		out.Groups = append(out.Groups, s.group(q.By))
	}
	return out, nil
}

func given(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (s GroupSum) group(by []string) UsageGroup {
	const gib = 1 << 30
	g := UsageGroup{
		Key: make(map[string]string), Tasks: s.Tasks, TaskSeconds: s.Millis / 1e3,
		ReservedCPUSeconds: s.ReservedCPU / 1024 / 1e3, CPUSeconds: s.CPUNanos / 1e9,
		ReservedMemoryGiBSeconds: s.ReservedMemory / 1024 / 1e3, MemoryGiBSeconds: s.MemoryByteMillis / gib / 1e3,
		ReservedStorageGiBSeconds: s.ReservedStorage / gib / 1e3, StorageGiBSeconds: s.StorageByteMillis / gib / 1e3,
		PeakWorkingSetBytes: s.WorkingSetPeak, PeakStorageBytes: s.StoragePeak, ThrottledSeconds: s.ThrottledNanos / 1e9,
		OOMKills: s.OOMKills, ReadBytes: s.ReadBytes, WriteBytes: s.WriteBytes, RxBytes: s.RxBytes, TxBytes: s.TxBytes,
	}
	for i, field := range by {
		g.Key[field] = s.Key[i]
	}
	g.WastedCPUSeconds, g.CPUEfficiency = compared(g.ReservedCPUSeconds, g.CPUSeconds)
	g.WastedMemoryGiBSeconds, g.MemoryEfficiency = compared(g.ReservedMemoryGiBSeconds, g.MemoryGiBSeconds)
	return g
}

// compared returns what of reserved was not used, and which part was.
func compared(reserved, used float64) (wasted, efficiency float64) {
	if reserved <= 0 {
		return 0, 0
	}
	return max(0, reserved-used), used / reserved
}

// groupToken is what tokens of pages of groups begin with; the key of the last group
// follows, as JSON.
const groupToken = "berth1-groups:"

func sealGroup(key []string) string {
	text, err := json.Marshal(key)
	if err != nil { // Strings can always be written.
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(append([]byte(groupToken), text...))
}

// openGroup is the inverse of sealGroup; of no token it is nil.
func openGroup(token string, fields int) (key []string, err error) {
	if token == "" {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	text, ok := strings.CutPrefix(string(b), groupToken)
	if err != nil || !ok || json.Unmarshal([]byte(text), &key) != nil || len(key) != fields || fields == 0 {
		return nil, fault.At("nextToken", "is not a token that this grouping returned")
	}
	return key, nil
}
