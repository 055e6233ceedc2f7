package api

import (
	"berth/billing"
	"berth/billing/budget"
)

// BudgetRequest says what a budget shall be.
type BudgetRequest struct {
	Scope   map[string][]string `json:"scope,omitempty" doc:"By account, region, family, definition, group, user (startedBy) and tag:KEY: the values of which a task has one. All of them hold at once; a tag without values must be there. Left out: every task"`
	Period  budget.Period       `json:"period,omitempty" enum:"DAILY,MONTHLY" doc:"Days and months begin at midnight UTC; MONTHLY if left out"`
	Limit   billing.Money       `json:"limit" doc:"US dollars in each period"`
	Action  budget.Action       `json:"action,omitempty" enum:"NOTIFY,DENY,STOP" doc:"What happens at the limit: it is only told; or new tasks are refused; or running ones are stopped as well. NOTIFY if left out"`
	Notify  []budget.Threshold  `json:"notify,omitempty" doc:"When it is told; at most 10. At 100 percent if left out"`
	Webhook string              `json:"webhook,omitempty" doc:"Where it is told too: a CloudEvent is sent there by POST. As it is read, it leaves the one that is there"`
}

// BudgetList is all budgets.
type BudgetList struct {
	Budgets []budget.Status `json:"budgets" doc:"By name"`
}
