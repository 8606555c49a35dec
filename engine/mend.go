package engine

import "slices"

// mend makes the loaded pages of a shard fit each other. A page may be lost or
// older than its neighbours, so that a slot names a group that is not there, or
// a group a slot. What does not fit is taken apart: the series join their
// groups again as if they were new.
func (s *Shard) mend() {
	s.loaded = false
	for _, p := range s.active {
		for g := range p.groups {
			p.mendGroup(uint32(g))
		}
		for i := range p.slots {
			p.mendSlot(uint32(i))
		}
		for g := range p.groups {
			p.mendRatio(uint32(g))
		}
	}
}

// mendGroup drops the members whose slots are not theirs any more.
func (p *partition) mendGroup(g uint32) {
	gr := &p.groups[g]
	keep := func(m member) bool {
		return int(m.slot) < len(p.slots) && p.slots[m.slot].series != nil && p.slots[m.slot].group == g+1
	}
	for k := len(gr.members) - 1; k >= 0; k-- {
		if keep(gr.members[k]) {
			continue
		}
		gr.members = slices.Delete(gr.members, k, k+1)
		if len(gr.base) > 0 {
			gr.base = slices.Delete(gr.base, k, k+1)
		}
		for n := range gr.pending {
			gr.pending[n].values = slices.Delete(gr.pending[n].values, k, k+1)
		}
		p.touchGroup(g)
	}
	for n, o := range gr.outputs {
		if o != 0 && (int(o) > len(p.slots) || p.slots[o-1].series == nil || !p.slots[o-1].role.derived()) {
			gr.outputs[n] = 0
		}
	}
}

// mendRatio finds out again whether the failures of a ratio only feed it. Those
// that have a baseline, from before this was so, lose it at the next close.
func (p *partition) mendRatio(g uint32) {
	gr := &p.groups[g]
	gr.ratio = gr.kind == groupRatio && gr.succeeds()
	for _, m := range gr.members {
		if m.bound != 0 && p.slots[m.slot].measure != 0 {
			gr.ratio = false
		}
	}
	for _, m := range gr.members {
		p.slots[m.slot].feeds = gr.ratio && m.bound != 0
	}
}

func (r role) derived() bool { return r == roleDerived || r == roleRatio }

// mendSlot lets a slot whose group does not know it join anew, and gives one
// that scores what it needs to score.
func (p *partition) mendSlot(i uint32) {
	sl := &p.slots[i]
	if sl.series == nil {
		return
	}
	if sl.flags&flagMoved != 0 && p.moved[i] == nil {
		sl.flags &^= flagMoved
	}
	if m := sl.measure; m != 0 && (sl.role == roleRatio) != (p.measures[m-1].ratio != 0) {
		sl.measure = 0
	}
	if sl.group == 0 {
		return
	}
	native := sl.role == roleNative
	if int(sl.group) <= len(p.groups) {
		gr := &p.groups[sl.group-1]
		member := slices.ContainsFunc(gr.members, func(m member) bool { return m.slot == i })
		if gr.series != nil && (member || native) {
			return
		}
	}
	sl.group = 0
	p.touch(i)
	p.join(i)
}
