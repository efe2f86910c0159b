package flow

// A window limits the QoS 1 and 2 publications outstanding on a connection, and assigns their
// packet identifiers.
//
// Invariant: outstanding is at most inFlight, which is the number of identifiers that the window
// has assigned. The caller asks full before it adds.
type window struct {
	size        int // at least 1
	ids         *Identifiers
	inFlight    int // publications that have an identifier
	outstanding int // the part of inFlight that was transmitted on this connection
}

// resize sets the size. Publications above it stay outstanding.
func (w *window) resize(n int) { w.size = n }

// assigned returns how many publications have an identifier.
func (w *window) assigned() int { return w.inFlight }

// full reports whether the next publication must wait for an ack.
func (w *window) full() bool { return w.outstanding >= w.size }

// assign returns an identifier for the publication in slot i, or false if all are in use.
func (w *window) assign(i int32) (id uint16, ok bool) {
	if id, ok = w.ids.Acquire(i); ok {
		w.inFlight++
	}
	return id, ok
}

// claim assigns the given identifier, and returns false if it is in use.
func (w *window) claim(id uint16, i int32) (ok bool) {
	if ok = w.ids.Claim(id, i); ok {
		w.inFlight++
	}
	return ok
}

// reserve keeps an identifier from every publication until release, and returns false if it is in
// use.
func (w *window) reserve(id uint16) (ok bool) { return w.ids.Reserve(id) }

// release frees an identifier that is reserved.
func (w *window) release(id uint16) { w.ids.Release(id) }

// slot returns the slot of the publication with an identifier, or false if no publication has it.
func (w *window) slot(id uint16) (i int32, ok bool) {
	i, ok = w.ids.Lookup(id)
	return i, ok && i > 0 // otherwise it is reserved, or a SUBSCRIBE or UNSUBSCRIBE has it
}

// add counts a publication that was transmitted on this connection.
func (w *window) add() { w.outstanding++ }

// freeID takes the identifier from a publication, and added reports whether add counted it.
func (w *window) freeID(id uint16, added bool) {
	w.ids.Release(id)
	w.inFlight--
	if added {
		w.outstanding--
	}
}

// reset empties the window for the next connection. The publications keep their identifiers.
func (w *window) reset() { w.outstanding = 0 }

// shrink frees the memory of the identifiers if none is in use.
func (w *window) shrink() { w.ids.table.shrink() }
