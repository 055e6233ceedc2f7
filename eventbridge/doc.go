// Package eventbridge tells what happens to tasks and services in the words of Amazon
// EventBridge: its events, its event patterns, and rules that send what a pattern matches
// to a webhook.
//
// An event is made from what the journal and the list of service events say, and from
// nothing else. So the same thing that happened gives the same event with the same ID,
// however often and after whatever crash somebody asks for it.
//
// The shapes are those of the ECS developer guide, "Amazon ECS events", and of the
// EventBridge user guide, "Amazon EventBridge event patterns".
package eventbridge
