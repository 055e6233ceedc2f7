package access

import "strings"

// PassRoles returns what somebody does who has tasks of an account act in roles: iam:PassRole
// on each, once. Empty names are none. A role is one of the tasks' own account, whatever
// account its ARN names, since that is where tasks get its credentials (IAM user guide,
// "Granting a user permissions to pass a role to an AWS service").
func PassRoles(account string, roles ...string) []Action {
	var all []Action
	seen := make(map[string]bool)
	for _, role := range roles {
		_, name, ok := strings.Cut(role, ":role/")
		if !ok {
			name = role
		}
		if name == "" || seen[name] {
			continue
		}
		seen[name] = true
		all = append(all, Action{
			Name: "iam:PassRole", Resource: "arn:aws:iam::" + account + ":role/" + name,
			Context: map[string][]string{"iam:PassedToService": {"ecs-tasks.amazonaws.com"}},
		})
	}
	return all
}
