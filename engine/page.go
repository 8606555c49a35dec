package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/models"
	"github.com/homeostat/homeostat/models/deep"
	"github.com/homeostat/homeostat/models/lean"
	"github.com/homeostat/homeostat/models/ratio"
	"github.com/homeostat/homeostat/models/spread"
	"github.com/homeostat/homeostat/models/trend"
)

// ErrPage says that a page's bytes are not a page.
var ErrPage = errors.New("engine: not a page")

// PageID names a page: its partition and its number within it. Numbers from
// 1<<31 on are pages of groups.
type PageID struct {
	Partition uint8
	Number    uint32
}

// pageVersion is the version of the page's own frame. A slot's or group's parts
// carry versions of their own.
const pageVersion = 1

// The parts of a slot's record. A part that is unknown is passed over, and what
// it held starts anew.
const (
	tagIdentity  = 1 // labels, workload, type
	tagPlace     = 2 // times, last value, role, sender, flags, group
	tagLean      = 3 // the baseline
	tagRatio     = 4
	tagTrend     = 5
	tagAlarms    = 6
	tagEpisode   = 7 // once for each episode
	tagThreshold = 8
	tagGroup     = 9 // in a group's record: everything but its tail
	tagDeep      = 10
	tagSummed    = 11 // in a slot's record: the sum that it is in
	tagSum       = 12 // in a group's record: a sum, whole
	tagLimit     = 13
	tagSpread    = 14
	tagTail      = 20 // in a group's record: its last hundred observations
	tagBefore    = 30 // points since the tail log kept one; absent when there are many
)

// storedAlarms is how many alarms tagAlarms holds: the main and the slow one.
// What the deep tier keeps is in a part of its own, which a reader that does not
// know it passes over.
const storedAlarms = channelSlow + 1

// partVersion is the version of each part written today.
const partVersion = 1

// AppendPage appends the page's record to b and marks the page clean.
//
//	page  = version byte, kind byte (0 slots, 1 groups), count uvarint, entry...
//	entry = length uvarint, part...
//	part  = tag byte, version byte, length uvarint, bytes
func (e *Engine) AppendPage(id PageID, b []byte) ([]byte, error) {
	p := e.partition(id.Partition)
	delete(p.dirty, id.Number)
	if id.Number >= groupPages {
		first := (id.Number - groupPages) * pageGroups
		if int(first) >= len(p.groups) {
			return b, fmt.Errorf("engine: page %v is not there", id)
		}
		n := min(pageGroups, uint32(len(p.groups))-first)
		b = append(b, pageVersion, 1)
		b = binary.AppendUvarint(b, uint64(n))
		for g := first; g < first+n; g++ {
			b = appendBlock(b, func(b []byte) []byte { return p.appendGroup(b, g) })
		}
		return b, nil
	}
	first := id.Number * pageSlots
	if int(first) >= len(p.slots) {
		return b, fmt.Errorf("engine: page %v is not there", id)
	}
	n := min(pageSlots, uint32(len(p.slots))-first)
	b = append(b, pageVersion, 0)
	b = binary.AppendUvarint(b, uint64(n))
	for i := first; i < first+n; i++ {
		b = appendBlock(b, func(b []byte) []byte { return p.appendSlot(b, i) })
	}
	return b, nil
}

// appendBlock appends what f appends, with its length before it.
func appendBlock(b []byte, f func([]byte) []byte) []byte {
	const room = binary.MaxVarintLen32
	start := len(b)
	b = append(b, make([]byte, room)...)
	b = f(b)
	size := len(b) - start - room
	var head [room]byte
	n := binary.PutUvarint(head[:], uint64(size))
	copy(b[start:], head[:n])
	copy(b[start+n:], b[start+room:])
	return b[:start+n+size]
}

func appendPart(b []byte, tag byte, f func([]byte) []byte) []byte {
	return appendBlock(append(b, tag, partVersion), f)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendFloat(b []byte, v float64) []byte {
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
}

func (s *Series) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(s.Labels.Len()))
	s.Labels.Range(func(l labels.Label) {
		b = appendText(b, l.Name)
		b = appendText(b, l.Value)
	})
	b = appendText(b, string(s.Workload))
	return append(b, byte(s.Type))
}

func (p *partition) appendSlot(b []byte, i uint32) []byte {
	sl := &p.slots[i]
	if sl.series == nil {
		return b // it was in a page that was lost
	}
	b = appendPart(b, tagIdentity, sl.series.append)
	b = appendPart(b, tagPlace, func(b []byte) []byte {
		b = append(b, byte(sl.role), byte(sl.flags))
		b = binary.AppendVarint(b, sl.lastAt)
		b = binary.AppendVarint(b, sl.firstAt)
		b = appendFloat(b, sl.last)
		b = binary.AppendUvarint(b, uint64(sl.sender))
		return binary.AppendUvarint(b, uint64(sl.group))
	})
	if sl.sum != 0 {
		b = appendPart(b, tagSummed, func(b []byte) []byte { return binary.AppendUvarint(b, uint64(sl.sum)) })
	}
	if sl.measure == 0 {
		return b
	}
	m := &p.measures[sl.measure-1]
	if m.ratio != 0 {
		b = appendPart(b, tagRatio, func(b []byte) []byte { return mustAppend(p.ratios[m.ratio-1].AppendBinary(b)) })
	} else {
		b = appendPart(b, tagLean, func(b []byte) []byte { return lean.Append(b, &m.core, p.season(m)) })
	}
	if m.trend != 0 {
		b = appendPart(b, tagTrend, func(b []byte) []byte { return mustAppend(p.trends[m.trend-1].AppendBinary(b)) })
	}
	if [storedAlarms]alarm(m.alarm[:storedAlarms]) != ([storedAlarms]alarm{}) {
		b = appendPart(b, tagAlarms, func(b []byte) []byte {
			for _, a := range m.alarm[:storedAlarms] {
				b = append(b, boolByte(a.Open), a.Quiet)
			}
			return b
		})
	}
	for ch := range silentEpisode + 1 {
		if ep := p.episodes[episodeKey{i, ch}]; ep != nil {
			b = appendPart(b, tagEpisode, func(b []byte) []byte { return ep.append(append(b, ch)) })
		}
	}
	if m.before != 0 {
		b = appendPart(b, tagBefore, func(b []byte) []byte { return binary.LittleEndian.AppendUint16(b, uint16(m.before)) })
	}
	for _, beside := range []struct {
		tag, channel byte
		state        func([]byte) []byte
	}{
		{tagDeep, channelDeep, p.appendDeep(m)},
		{tagLimit, channelLimit, p.appendLimit(m)},
		{tagSpread, channelSpread, m.appendSpread()},
	} {
		if beside.state != nil || p.hasBeside(i, m, beside.channel) {
			b = appendPart(b, beside.tag, func(b []byte) []byte { return p.appendBeside(b, i, m, beside.channel, beside.state) })
		}
	}
	if mv := p.moved[i]; mv != nil {
		b = appendPart(b, tagThreshold, func(b []byte) []byte {
			b = append(b, byte(mv.Steps), byte(mv.Prev))
			b = binary.AppendVarint(b, mv.From)
			b = binary.AppendUvarint(b, uint64(mv.Version))
			return appendText(b, mv.Cause)
		})
	}
	return b
}

// mustAppend takes the result of an AppendBinary that never fails: it writes to
// memory.
func mustAppend(b []byte, err error) []byte {
	if err != nil {
		panic("engine: a model cannot write its state: " + err.Error())
	}
	return b
}

func boolByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}

func (ep *episode) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(ep.ID))
	b = append(b, byte(ep.Kind), boolByte(ep.Open), byte(ep.Side))
	for _, v := range []int64{ep.OpenedAt, ep.UpdatedAt, ep.EventAt, int64(ep.Peak), int64(ep.Points), int64(ep.Onside)} {
		b = binary.AppendVarint(b, v)
	}
	return appendFloat(appendFloat(b, ep.From), ep.To)
}

// LoadPage takes in a page's record. Pages are loaded before anything else
// happens, in any order. The error is ErrPage, wrapped; the state then holds
// nothing of the page.
func (e *Engine) LoadPage(id PageID, b []byte) error {
	r := reader{b: b}
	version, kind, count := r.byte(), r.byte(), r.uvarint()
	groups := id.Number >= groupPages
	most := uint64(pageSlots)
	if groups {
		most = pageGroups
	}
	switch {
	case r.bad:
		return fmt.Errorf("%w: %v: too short", ErrPage, id)
	case version != pageVersion:
		return fmt.Errorf("%w: %v: version %d, known is %d", ErrPage, id, version, pageVersion)
	case kind > 1 || groups != (kind == 1) || count > most || id.Number&^groupPages > maxPages:
		return fmt.Errorf("%w: %v: kind %d with %d entries", ErrPage, id, kind, count)
	}
	p := e.partition(id.Partition)
	s := e.shardOf(id.Partition)
	s.activate(p)
	s.loaded, e.deepLoaded = true, true
	if groups {
		return p.loadGroups(id, int(count), r)
	}
	return p.loadSlots(id, int(count), r, e.silentAfter)
}

// maxPages bounds the number of a page, so that a rotten one cannot ask for the
// whole memory.
const maxPages = 1 << 22

func (p *partition) loadSlots(id PageID, count int, r reader, silentAfter int64) error {
	loaded := make([]loadedSlot, count)
	for n := range loaded {
		entry := r.block()
		if r.bad {
			return fmt.Errorf("%w: %v: entry %d is cut", ErrPage, id, n)
		}
		if len(entry.b) == 0 {
			continue
		}
		if err := loaded[n].read(entry); err != nil {
			return fmt.Errorf("%w: %v: entry %d: %w", ErrPage, id, n, err)
		}
	}
	first := id.Number * pageSlots
	for len(p.slots) < int(first)+count {
		p.slots = append(p.slots, slot{})
	}
	for n := range loaded {
		if loaded[n].series != nil {
			p.place(first+uint32(n), &loaded[n], silentAfter)
		}
	}
	return nil
}

// loadedSlot is a slot's record, read and checked.
type loadedSlot struct {
	slot
	measured bool
	core     lean.Core
	season   *lean.Season
	ratio    *ratio.Core
	trend    *trend.Core
	deep     *deep.Core
	limit    *limit
	spread   spread.Core
	alarm    [numChannels]alarm
	before   before
	episodes map[uint8]*episode
	moved    *movedThreshold
}

func (l *loadedSlot) read(r reader) error {
	for len(r.b) > 0 {
		tag, version := r.byte(), r.byte()
		body := r.block()
		if r.bad {
			return errors.New("a part is cut")
		}
		if version != partVersion {
			continue
		}
		if err := l.readPart(tag, body); err != nil {
			return fmt.Errorf("part %d: %w", tag, err)
		}
	}
	if l.series == nil || l.role == 0 || l.role > roleRatio {
		return errors.New("no identity")
	}
	times := []int64{l.lastAt, l.firstAt}
	for _, ep := range l.episodes {
		times = append(times, ep.OpenedAt, ep.UpdatedAt, ep.EventAt)
	}
	if !plausible(times) {
		return errors.New("times that no sample has")
	}
	l.class = classOf(l.series, l.role)
	return nil
}

// plausible says that all times lie where those of samples do.
func plausible(times []int64) bool {
	return !slices.ContainsFunc(times, func(at int64) bool { return at < -1 || at > maxTime })
}

func (l *loadedSlot) readPart(tag byte, r reader) error {
	switch tag {
	case tagIdentity:
		l.series = r.series()
	case tagPlace:
		l.role, l.flags = role(r.byte()), slotFlags(r.byte())
		l.lastAt, l.firstAt, l.last = r.varint(), r.varint(), r.float()
		l.sender, l.group = uint32(r.uvarint()), uint32(r.uvarint())
	case tagLean:
		l.measured = true
		var season lean.Season
		has, err := lean.Read(r.b, &l.core, &season)
		if has {
			l.season = &season
		}
		return err
	case tagRatio:
		l.measured = true
		l.ratio = &ratio.Core{}
		return l.ratio.UnmarshalBinary(r.b)
	case tagTrend:
		l.trend = &trend.Core{}
		return l.trend.UnmarshalBinary(r.b)
	case tagAlarms:
		for ch := range storedAlarms {
			l.alarm[ch] = models.Alarm{Open: r.byte() != 0, Quiet: r.byte()}
		}
	case tagEpisode:
		ch := r.byte()
		ep := r.episode()
		if ep == nil || ch > silentEpisode {
			return errors.New("no episode")
		}
		l.keep(ch, ep)
	case tagBefore:
		l.before = before(r.byte()) | before(r.byte())<<8
	case tagDeep:
		return l.readBeside(r, channelDeep, l.readDeep)
	case tagLimit:
		return l.readBeside(r, channelLimit, l.readLimit)
	case tagSummed:
		l.sum = uint32(r.uvarint())
	case tagSpread:
		return l.readBeside(r, channelSpread, l.readSpread)
	case tagThreshold:
		l.moved = &movedThreshold{
			Steps: int8(r.byte()), Prev: int8(r.byte()), From: r.varint(), Version: uint32(r.uvarint()), Cause: r.text(),
		}
	}
	if r.bad {
		return errors.New("cut")
	}
	return nil
}

func (l *loadedSlot) keep(ch uint8, ep *episode) {
	if l.episodes == nil {
		l.episodes = map[uint8]*episode{}
	}
	l.episodes[ch] = ep
}

// place puts a loaded slot where it was.
func (p *partition) place(i uint32, l *loadedSlot, silentAfter int64) {
	sl := &p.slots[i]
	*sl = l.slot
	sl.target = p.targetFor(sl.series)
	if sl.flags&flagLive != 0 {
		p.count(i, 1)
	}
	p.index[sl.series.ID] = i
	seen := p.sender(sl.sender, "")
	seen.at = max(seen.at, sl.lastAt)
	if l.moved != nil {
		p.moved[i] = l.moved
	}
	for ch, ep := range l.episodes {
		p.episodes[episodeKey{i, ch}] = ep
	}
	if l.measured || l.ratio != nil {
		p.placeMeasure(i, l)
	}
	if sl.flags&flagWheel != 0 {
		sl.flags &^= flagWheel
		p.rewatch(i, silentAfter)
	}
}

func (p *partition) placeMeasure(i uint32, l *loadedSlot) {
	m := measure{core: l.core, alarm: l.alarm, before: l.before, spread: l.spread}
	if l.season != nil {
		p.seasons = append(p.seasons, *l.season)
		m.season = uint32(len(p.seasons))
	}
	if l.ratio != nil {
		p.ratios = append(p.ratios, *l.ratio)
		m.ratio = uint32(len(p.ratios))
	}
	if l.role == roleGauge || l.trend != nil {
		p.trends = append(p.trends, trend.Core{})
		m.trend = uint32(len(p.trends))
		if l.trend != nil {
			p.trends[m.trend-1] = *l.trend
		}
	}
	if l.limit != nil {
		p.limits = append(p.limits, *l.limit)
		m.limit = uint32(len(p.limits))
	}
	p.measures = append(p.measures, m)
	p.slots[i].measure = uint32(len(p.measures))
	if l.deep != nil && l.ratio == nil {
		*p.addDeep(i) = *l.deep
		p.deeps[len(p.deeps)-1].Seed = uint64(l.series.ID)
	}
	if p.slots[i].flags&flagNewborn != 0 {
		p.newborn = append(p.newborn, i)
	} else {
		p.remember(familyOf(l.series), i)
		p.asking = append(p.asking, i)
	}
}
