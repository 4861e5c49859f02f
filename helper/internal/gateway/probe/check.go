package probe

import "context"

// Check is Test without anything that a service could notice besides a connection: it
// sends no data, no handshake and no ping. It returns the last step. err is why that
// failed. If it failed without an err, a test cannot tell whether the resource works.
func (p Prober) Check(ctx context.Context, name string, port uint16) (last Step, err error) {
	t := &tester{Prober: p, gentle: true}
	t.run(ctx, name, port)
	if len(t.steps) > 0 {
		last = t.steps[len(t.steps)-1]
	}
	return last, t.err
}
