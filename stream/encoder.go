package stream

import (
	"github.com/go-millrace/mqtt/frames"
)

// An encoder is the stageBuffer of PublishFrom. It encodes the user's values into the places of a
// reorderBuffer.
type encoder[T any] struct {
	reorderBuffer
	validator
	encode func(*T, *frames.Message) error
	value  T // a field, so that the stage allocates it once: encode makes it escape to the heap
}

// take encodes v, and all values that in has ready.
func (e *encoder[T]) take(v T, in <-chan T, limit int) (messages int, open bool) {
	before := e.next
	e.value, open = v, true
	e.reserveNext()
	for ready := true; ready && open && e.takes(limit); {
		select {
		case e.value, open = <-in:
			if open {
				e.reserveNext()
			}
		default:
			ready = false
		}
	}
	var none T
	e.value = none // frees its memory, since the next value may come late
	return int(e.next - before), open
}

// reserveNext encodes e.value into the next place.
func (e *encoder[T]) reserveNext() {
	m := e.reserve()
	err := e.encode(&e.value, m)
	if err == nil {
		err = e.validate(m)
	}
	if err != nil {
		e.refuse(e.value, notSent(err))
	}
}
