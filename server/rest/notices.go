package rest

import (
	"context"
	"iter"
	"strconv"

	"berth/fault"
	"berth/notice"
	"berth/server/api"
)

// Notices keeps what people are told.
type Notices interface {
	// Notices returns the first that q selects, and LastNotices the newest, in order.
	Notices(ctx context.Context, q notice.Query) ([]notice.Record, error)
	LastNotices(ctx context.Context, q notice.Query) ([]notice.Record, error)

	// FollowNotices yields those that q selects, but for its limit, and then what comes
	// until ctx ends.
	FollowNotices(ctx context.Context, q notice.Query) iter.Seq2[notice.Record, error]

	// LastNotice returns the position of the newest; 0 if there never was one.
	LastNotice(ctx context.Context) (notice.Seq, error)
}

// noticeSelection is which notices are asked for.
type noticeSelection struct {
	Type    string `query:"type" doc:"Only those whose type begins so, as in berth.budget."`
	Subject string `query:"subject" doc:"Only those about this, as in budget/NAME"`
}

type noticesIn struct {
	noticeSelection
	After string `query:"after" doc:"The first ones behind this position; 0 is the beginning of all. If left out: the newest ones"`
	Limit *int   `query:"limit" minimum:"1" maximum:"1000" doc:"At most so many; 100 if left out"`
}

const noticesLimit = 100

func (s *server) notices(ctx context.Context, in *noticesIn) (*api.NoticeList, error) {
	last, err := s.Notices.LastNotice(ctx) // before they are read, so that nothing falls between
	if err != nil {
		return nil, err
	}
	after, given, err := noticePosition("after", in.After)
	if err != nil {
		return nil, err
	}
	q := notice.Query{After: after, Type: in.Type, Subject: in.Subject, Limit: noticesLimit}
	if in.Limit != nil {
		q.Limit = *in.Limit
	}
	read := s.Notices.Notices
	if !given {
		read = s.Notices.LastNotices
	}
	records, err := read(ctx, q)
	if err != nil {
		return nil, err
	}
	list := api.NoticeList{Notices: []api.Notice{}, Last: last}
	for _, r := range records {
		list.Notices, list.Last = append(list.Notices, api.NewNotice(r)), max(list.Last, r.Seq)
	}
	return &list, nil
}

type followNoticesIn struct {
	noticeSelection
	After  string `query:"after" doc:"Begin after this position; 0 is the beginning of all. If left out: now"`
	LastID string `header:"Last-Event-ID" doc:"As after; for browsers"`
}

// followNotices streams notices. A reader that comes back says how far it got and
// misses nothing.
func (s *server) followNotices(ctx context.Context, in *followNoticesIn, out *stream[api.Notice]) error {
	field, text := api.LastEventID, in.LastID
	if text == "" {
		field, text = "after", in.After
	}
	after, given, err := noticePosition(field, text)
	if err != nil {
		return err
	}
	last, err := s.Notices.LastNotice(ctx)
	if err != nil {
		return err
	}
	if !given || after > last { // A reader may be ahead of a database that was put back.
		after = last
	}
	if err := out.begin(); err != nil {
		return err
	}
	for r, err := range s.Notices.FollowNotices(ctx, notice.Query{After: after, Type: in.Type, Subject: in.Subject}) {
		if err != nil {
			return err
		}
		if err := out.send(strconv.FormatUint(uint64(r.Seq), 10), "notice", api.NewNotice(r), nil); err != nil {
			return err
		}
	}
	return nil
}

func noticePosition(field, text string) (seq notice.Seq, given bool, err error) {
	if text == "" {
		return 0, false, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, false, fault.At(field, "%q is not the position of a notice", text)
	}
	return notice.Seq(n), true, nil
}
