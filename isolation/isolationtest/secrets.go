package isolationtest

import (
	"context"

	"berth/fault"
	"berth/isolation"
)

// secretsOnce holds a Runtime to asking for secrets when it makes a container, to passing
// on what is said then, and to not asking for what is there.
func secretsOnce(b *bench) {
	b.provision()
	asked := 0
	answer := func(err error) isolation.Secrets {
		return func(context.Context) ([]string, error) { asked++; return []string{"A=b"}, err }
	}
	c := isolation.Container{Task: b.id, Name: "main", Image: b.image, Command: []string{"sleep", "1h"}}
	for i, kind := range []fault.Kind{fault.Unavailable, fault.NotFound, fault.Invalid} {
		c.Secrets = answer(fault.New(kind, "no secret"))
		err := b.rt.Create(b.ctx(), c)
		b.wantKind("Create without its secrets", err, kind)
		if asked != i+1 || fault.Message(err) != "no secret" {
			b.Errorf("asked %d times: %v", asked, err)
		}
	}
	for range 2 {
		c.Secrets = answer(nil)
		if err := b.rt.Create(b.ctx(), c); err != nil {
			b.Fatalf("Create: %v", err)
		}
		b.rt = b.open() // whoever opens it next need not know
	}
	c.Secrets = answer(fault.New(fault.Unavailable, "gone"))
	if err := b.rt.Create(b.ctx(), c); err != nil || asked != 4 {
		b.Errorf("Create of what is there: %v, asked %d times", err, asked)
	}
	b.start("main")
	b.kill("main")
	b.wait("main")
	b.remove()
}
