package client_test

import (
	"fmt"
	"net/http/httptest"
	"testing"

	"berth/fault"
	"berth/notice"
	"berth/server/api"
	"berth/server/rest/resttest"
)

// tell has f tell a notice about subject i % 2.
func tell(f *resttest.Fake, i int) {
	f.Tell(notice.Notice{ID: fmt.Sprint("n", i), At: resttest.Epoch, Type: "berth.test", Subject: fmt.Sprint("s/", i%2), Data: []byte(`{}`), Webhook: "https://ann.example/secret"})
}

// Ensure notices are read from where one was and followed across a server that ends,
// with none missing and none twice; and that the path of a webhook is not told.
func TestNotices(t *testing.T) {
	f, c := serve(t)
	for i := range 4 {
		tell(f, i)
	}
	zero := notice.Seq(0)
	for _, tt := range []struct {
		after *notice.Seq
		q     notice.Query
		want  string
	}{
		{nil, notice.Query{Limit: 2}, "n2 n3 last 4"},
		{&zero, notice.Query{Limit: 2}, "n0 n1 last 4"},
		{nil, notice.Query{Subject: "s/1"}, "n1 n3 last 4"},
		{nil, notice.Query{Type: "other"}, "last 4"},
	} {
		list, err := c.Notices(t.Context(), tt.after, tt.q)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, n := range list.Notices {
			got += n.ID + " "
			if n.Delivery == nil || n.Delivery.Webhook != "https://ann.example" || n.Delivery.Status != api.Pending {
				t.Errorf("%+v", n.Delivery)
			}
		}
		if got += fmt.Sprint("last ", list.Last); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.q, got, tt.want)
		}
	}
	if _, err := c.Notices(t.Context(), nil, notice.Query{Limit: 1001}); fault.FieldOf(err) != "limit" {
		t.Errorf("limit 1001: %v", err)
	}

	srv := httptest.NewServer(handler(t.Context(), f))
	defer srv.Close()
	next := 1
	for n, err := range dial(srv).FollowNotices(t.Context(), notice.Query{Subject: "s/1"}) {
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprint("n", next); n.ID != want {
			t.Fatalf("got %s, want %s", n.ID, want)
		}
		switch next += 2; next {
		case 5:
			tell(f, 4)
			srv.CloseClientConnections()
			tell(f, 5)
		case 7:
			return
		}
	}
	t.Error("the stream ended")
}
