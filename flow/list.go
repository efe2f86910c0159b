package flow

// list is a doubly linked list of slots in a slab; 0 is no slot.
type list struct{ head, tail int32 }

func (l *list) pushBack(e []links, i int32) { l.insertBefore(e, i, 0) }

// insertBefore puts slot i in front of slot at; 0 is the end.
func (l *list) insertBefore(e []links, i, at int32) {
	prev := l.tail
	if at != 0 {
		prev = e[at].prev
		e[at].prev = i
	} else {
		l.tail = i
	}
	if prev != 0 {
		e[prev].next = i
	} else {
		l.head = i
	}
	e[i] = links{prev: prev, next: at}
}

func (l *list) remove(e []links, i int32) {
	prev, next := e[i].prev, e[i].next
	if prev != 0 {
		e[prev].next = next
	} else {
		l.head = next
	}
	if next != 0 {
		e[next].prev = prev
	} else {
		l.tail = prev
	}
	e[i] = links{}
}

type links struct{ prev, next int32 }
