package containerd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// KeepFilter puts the packet filter back when somebody else takes it away or changes it,
// as "nft flush ruleset" and a restart of a firewall do: without it, tasks reach one
// another and this host. It returns when ctx ends. The kernel tells of each change, so
// nothing is done while there is none.
func (r *Runtime) KeepFilter(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := r.network.watch(ctx, r.Log); err != nil && ctx.Err() == nil {
			r.Log.Warn("changes of the packet filter are not seen", zap.Error(err), zap.Duration("next look", watchPause))
		}
		pause(ctx, watchPause)
	}
	return nil
}

// Between two tries to watch, and after the filter was put back: somebody may take it away
// over and over.
const (
	watchPause = time.Second
	mendPause  = 100 * time.Millisecond
)

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// watch mends the filter until ctx ends or something was missed.
func (n *network) watch(ctx context.Context, log *zap.Logger) error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("watch the packet filter: %w", err)
	}
	defer conn.Close()
	_ = conn.SetReadBuffer(watchBuffer) // A smaller one is full sooner, which is noticed.
	if err := conn.JoinGroup(unix.NFNLGRP_NFTABLES); err != nil {
		return fmt.Errorf("watch the packet filter: %w", err)
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	there, err := hasFilter(n.bridge)
	if err != nil {
		return err
	}
	if err := n.filter(); err != nil { // Parts may have been changed before anybody watched.
		return err
	}
	if !there {
		log.Warn("the packet filter of tasks was gone, and was put back")
	}
	changed := false
	for {
		messages, err := conn.Receive()
		if errors.Is(err, unix.ENOBUFS) {
			err = errors.New("there were more changes than could be read")
		}
		if err != nil {
			return fmt.Errorf("watch the packet filter: %w", err)
		}
		for _, m := range messages {
			kind, data := nftMessage(m)
			switch {
			case kind != unix.NFT_MSG_NEWGEN:
				changed = changed || m.Header.PID != n.port.Load() && n.has(data)
			case changed: // and that is all of the change
				changed = false
				if err := n.filter(); err != nil {
					return err
				}
				log.Warn("somebody changed the packet filter of tasks, which was put back", zap.String("program", programOf(data)))
				pause(ctx, mendPause)
			}
		}
	}
}

// watchBuffer is room for the kernel's news of rules, of all programs of this host.
const watchBuffer = 4 << 20

// nftMessage returns the kind of a message of nftables and what it says: of others,
// nothing.
func nftMessage(m netlink.Message) (kind uint16, data []byte) {
	if uint16(m.Header.Type)>>8 != unix.NFNL_SUBSYS_NFTABLES {
		return 0, nil
	}
	return uint16(m.Header.Type) & 0xff, m.Data
}

// What is needed of linux/netfilter/nf_tables.h: a message begins with its family and
// three more bytes, and the first attribute of everything in a table, and of a table
// itself, is the table's name.
const (
	nftHeader    = 4
	nftTableName = 1
	nftProgram   = 3 // NFTA_GEN_PROC_NAME
)

// has reports whether a message is about one of the filter's tables.
func (n *network) has(data []byte) bool {
	return len(data) > nftHeader && slices.Contains(families, nftables.TableFamily(data[0])) && attribute(data, nftTableName) == n.bridge
}

// programOf is the name of the program that made a change.
func programOf(data []byte) string { return attribute(data, nftProgram) }

// attribute is a text that a message has; empty, if it has none.
func attribute(data []byte, kind uint16) string {
	if len(data) < nftHeader {
		return ""
	}
	all, err := netlink.NewAttributeDecoder(data[nftHeader:])
	if err != nil {
		return ""
	}
	for all.Next() {
		if all.Type() == kind {
			text, _, _ := bytes.Cut(all.Bytes(), []byte{0})
			return string(text)
		}
	}
	return ""
}

// change makes one transaction of what do adds to it. All of them come from one socket, by
// whose port the watch knows them. The caller has n.filtering.
func (n *network) change(do func(c *nftables.Conn) error) error {
	if n.gone {
		return nil
	}
	if n.conn == nil {
		c, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(n.nameSocket))
		if err != nil {
			return err
		}
		n.conn = c
	}
	err := do(n.conn)
	if err == nil {
		err = n.conn.Flush()
	}
	if err != nil { // Answers to what failed may still come.
		n.conn.CloseLasting()
		n.conn = nil
	}
	return err
}

// nameSocket notes the port of the socket that changes are made by.
func (n *network) nameSocket(conn *netlink.Conn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var name unix.Sockaddr
	if ctlErr := raw.Control(func(fd uintptr) { name, err = unix.Getsockname(int(fd)) }); ctlErr != nil || err != nil {
		return errors.Join(ctlErr, err)
	}
	at, ok := name.(*unix.SockaddrNetlink)
	if !ok {
		return errors.New("a netlink socket without a port")
	}
	n.port.Store(at.Pid)
	return nil
}
