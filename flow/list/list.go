// Package list links the slots of a slab into doubly linked lists. A list refers to a slot by its
// index, so it holds no pointers and allocates nothing. Index 0 means no slot.
package list

// List holds both ends of a list; the zero value is an empty list. Every method takes the links of
// the whole slab, indexed by slot.
type List struct{ Head, Tail int32 }

// Links holds the neighbours of a slot in its list. Prev of the first slot and Next of the last
// slot are 0.
type Links struct{ Prev, Next int32 }

// PushBack appends slot i, which must be in no list.
func (l *List) PushBack(e []Links, i int32) { l.InsertBefore(e, i, 0) }

// PushFront prepends slot i, which must be in no list.
func (l *List) PushFront(e []Links, i int32) { l.InsertBefore(e, i, l.Head) }

// InsertBefore inserts slot i, which must be in no list, before the slot at of this list. If at is
// 0, slot i becomes the last slot.
func (l *List) InsertBefore(e []Links, i, at int32) {
	prev := l.Tail
	if at != 0 {
		prev = e[at].Prev
		e[at].Prev = i
	} else {
		l.Tail = i
	}
	if prev != 0 {
		e[prev].Next = i
	} else {
		l.Head = i
	}
	e[i] = Links{Prev: prev, Next: at}
}

// Remove removes slot i, which must be in this list, and zeroes its links.
func (l *List) Remove(e []Links, i int32) {
	prev, next := e[i].Prev, e[i].Next
	if prev != 0 {
		e[prev].Next = next
	} else {
		l.Head = next
	}
	if next != 0 {
		e[next].Prev = prev
	} else {
		l.Tail = prev
	}
	e[i] = Links{}
}
