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

// slot returns the slot of the publication with an identifier, or false if no publication has it.
func (w *window) slot(id uint16) (i int32, ok bool) {
	i, ok = w.ids.Lookup(id)
	return i, ok && i > 0 // otherwise it is the identifier of a SUBSCRIBE or UNSUBSCRIBE, or reserved
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
