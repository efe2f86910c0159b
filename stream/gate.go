package stream

import "sync"

// A gate tells goroutines that wait when a condition begins to hold. The zero value is closed.
type gate struct {
	mu     sync.Mutex
	isOpen bool
	opens  chan struct{} // nil while nobody waits
}

// set opens or closes the gate.
func (g *gate) set(open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.isOpen = open
	if open && g.opens != nil {
		close(g.opens)
		g.opens = nil
	}
}

// wait returns a channel that is closed when the gate opens, nil if the gate is open now.
func (g *gate) wait() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.isOpen {
		return nil
	}
	if g.opens == nil {
		g.opens = make(chan struct{})
	}
	return g.opens
}

// passed returns a channel that is closed when the gate opens, or is closed already.
func (g *gate) passed() <-chan struct{} {
	if opens := g.wait(); opens != nil {
		return opens
	}
	return always
}

// always is closed.
var always = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()
