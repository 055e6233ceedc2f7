//go:build tools

// Package plugin is where AWS's Session Manager plugin is built from, which the AWS CLI runs for
// execute-command. It needs the uuid library as it was in 2015.
package plugin

import _ "github.com/aws/session-manager-plugin/src/sessionmanagerplugin-main"
