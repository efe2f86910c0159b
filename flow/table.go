package flow

// A table maps packet identifiers to values in an array indexed by the low bits of the identifier.
// Identifiers in flight are close together, so a table with twice as many slots as identifiers
// rarely has a collision. On a collision, insert fails and force grows the table. A Go map in place
// of the table halves the publish rate when the window is full.
type table[V any] struct {
	slots []tableSlot[V] // a power of two long, at most 65,536
	used  int
}

type tableSlot[V any] struct {
	id uint16 // 0: free
	v  V
}

const (
	tableMin = 16
	tableMax = 1 << 16
)

func (t *table[V]) slot(id uint16) *tableSlot[V] {
	return &t.slots[int(id)&(len(t.slots)-1)]
}

func (t *table[V]) find(id uint16) *V {
	if len(t.slots) == 0 || id == 0 {
		return nil
	}
	if s := t.slot(id); s.id == id {
		return &s.v
	}
	return nil
}

// insert stores v under id and reports false if the slot is in use.
func (t *table[V]) insert(id uint16, v V) bool {
	s := t.slot(id)
	if s.id != 0 {
		return false
	}
	s.id, s.v = id, v
	t.used++
	return true
}

// force stores v under id, which must not be in the table, and grows the table until the slot of id
// is free.
func (t *table[V]) force(id uint16, v V) *V {
	t.makeRoom()
	for !t.insert(id, v) {
		t.grow()
	}
	return &t.slot(id).v
}

// makeRoom keeps the table at most half full.
func (t *table[V]) makeRoom() {
	if len(t.slots) <= 2*t.used && len(t.slots) < tableMax {
		t.grow()
	}
}

// grow doubles the table. Identifiers with different slots in the shorter table have different
// slots in the longer one.
func (t *table[V]) grow() {
	old := t.slots
	t.slots = make([]tableSlot[V], max(tableMin, 2*len(old)))
	for _, s := range old {
		if s.id != 0 {
			*t.slot(s.id) = s
		}
	}
}

func (t *table[V]) remove(id uint16) {
	if t.find(id) == nil {
		return
	}
	*t.slot(id) = tableSlot[V]{}
	t.used--
}

// shrink frees the memory of an empty table.
func (t *table[V]) shrink() {
	if t.used == 0 {
		t.slots = nil
	}
}

func (t *table[V]) each(visit func(id uint16, v *V)) {
	for i := range t.slots {
		if s := &t.slots[i]; s.id != 0 {
			visit(s.id, &s.v)
		}
	}
}
