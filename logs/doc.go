// Package logs keeps what containers print: a writer, which runs in a process
// of its own beside each container, and a reader for everybody else. They share
// nothing but files.
//
// The rule: a line that was read from a container is in the files once, whatever
// happens to the server, and only whole entries are ever read from them.
//
//	ROOT/<task ID>/<container>/000001.log   oldest segment that is kept
//	                           000002.log   the last one is appended to
//	                           end          the container's output is complete
//
// A segment is text in the log format of the Kubernetes CRI
// (kubernetes/design-proposals-archive, "kubelet-cri-logging"), one entry a line:
//
//	2026-11-23T09:00:00.123456789Z stdout F message
//
// F ends a line; P says that the line goes on in the stream's next entry, or that
// the stream ended without a newline. The bytes of the message are the
// container's own, valid UTF-8 or not. Within one container time never runs
// backwards.
package logs
