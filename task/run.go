package task

// Run is the wish to run a definition: the RunTask request of the ECS API as
// far as it concerns Fargate, plus the fields that only Berth has.
type Run struct {
	Definition string    // family, family:revision or ARN; a family alone means its latest ACTIVE revision
	Count      int       // 1 to 10 (ECS API, RunTask); 0 means 1
	Overrides  Overrides //
	Tags       []Tag     // at most 50
	Group      string    // default family:NAME
	StartedBy  string    // at most 128 characters
	Timeout    Seconds   // Berth: stop the task this long after it started running; 0 means never
	Token      string    // idempotency: the same token with the same request returns the same tasks; at most 64 characters
}
