package engine

import "slices"

// mend makes the loaded pages of a shard fit each other. A page may be lost or
// older than its neighbours, so that a slot names a group that is not there, or
// a group a slot. What does not fit is taken apart: the series join their
// groups again as if they were new.
func (s *Shard) mend() {
	s.loaded = false
	for _, p := range s.active {
		p.sums = p.sums[:0]
		for g := range p.groups {
			if p.groups[g].sum != nil {
				p.mendSum(uint32(g))
			} else {
				p.mendGroup(uint32(g))
			}
		}
		for i := range p.slots {
			p.mendSlot(uint32(i))
		}
		for g := range p.groups {
			p.mendRatio(uint32(g))
		}
		for i := range p.slots {
			if sl := &p.slots[i]; sl.series != nil && sl.measure != 0 && sl.flags&flagNewborn == 0 {
				p.bindLimit(uint32(i))
			}
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
		if o != 0 && !p.isDerived(o-1) {
			gr.outputs[n] = 0
		}
	}
}

// mendSum drops the copies whose slots are not theirs any more.
func (p *partition) mendSum(g uint32) {
	p.addSum(g)
	gr := &p.groups[g]
	theirs := func(i uint32) bool {
		return int(i) < len(p.slots) && p.slots[i].series != nil && p.slots[i].sum == g+1
	}
	replicas, waiting := len(gr.sum.replicas), len(gr.sum.waiting)
	gr.sum.replicas = slices.DeleteFunc(gr.sum.replicas, func(r replica) bool { return !theirs(r.slot) || p.slots[r.slot].series.ID != r.id })
	gr.sum.waiting = slices.DeleteFunc(gr.sum.waiting, func(a arrival) bool { return !theirs(a.slot) })
	if o := gr.outputs[0]; o != 0 && !p.isDerived(o-1) {
		gr.outputs[0] = 0
	}
	if len(gr.sum.replicas) != replicas || len(gr.sum.waiting) != waiting {
		p.touchGroup(g)
	}
}

// inSum says whether the sum that a slot names is the one over its copies.
func (p *partition) inSum(i uint32) bool {
	g := p.slots[i].sum
	kind, trim, ok := p.summed(i)
	return ok && int(g) <= len(p.groups) && p.groups[g-1].sum != nil &&
		p.groups[g-1].key == groupKey{kind, uint64(workloadSeries(p.slots[i].series, trim).ID)}
}

func (p *partition) isDerived(i uint32) bool {
	return int(i) < len(p.slots) && p.slots[i].series != nil && p.slots[i].role.derived()
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
	if sl.sum != 0 && !p.inSum(i) {
		sl.sum = 0
		p.touch(i)
	}
	if sl.sum == 0 && sl.measure != 0 {
		p.enlistCopies(i, familyOf(sl.series))
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
