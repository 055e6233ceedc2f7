// Package task holds the nouns of the system: what a task is, which states it
// passes through and what may happen to it next.
//
// The package does nothing. It reads no clock, opens no file and starts no
// goroutine, so every other package can import it and none can surprise it.
//
//	PROVISIONING ─▶ PENDING ─▶ ACTIVATING ─▶ RUNNING ─▶ DEACTIVATING ─▶ STOPPING ─▶ DEPROVISIONING ─▶ STOPPED
//	      │            │            │                                      ▲             ▲
//	      │            │            └── failed, or asked to stop ──────────┘             │
//	      └────────────┴─────────────── failed, or asked to stop ────────────────────────┘
//
// The states, their order and the time stamps are those of Amazon ECS
// (developer guide, "Task lifecycle").
package task
