package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/homeostat/homeostat/models"
)

// ErrTail says that bytes are not a block of tail points, or that it names a
// series that no block before it defined.
var ErrTail = errors.New("engine: not a block of tail points")

// tailVersion is the version of a block.
const tailVersion = 1

// The bits of a point's flags: Before, Up, Opened, and how many parts follow.
const (
	tailBefore = 7
	tailUp     = 8
	tailOpened = 16
	tailParts  = 5 // from this bit on
)

// TailEncoder writes tail points in blocks. A block may name series that an
// earlier one since Begin defined, so that a reader needs all of those; who lost
// one calls Begin. It keeps 8 bytes for each slot it saw.
type TailEncoder struct {
	names  [Partitions][]tailName  // of the main channel, by slot
	others map[tailPlace]*tailName // of the other channels
	next   uint32
	last   int64 // time of the point before, ms
}

// tailName is the number under which a channel of a slot was defined, and a hash
// of what is in the definition: when that changes it is defined anew.
type tailName struct {
	number uint32
	check  uint32
}

type tailPlace struct {
	partition uint8
	channel   Channel
	slot      uint32
}

// Begin forgets what was defined.
func (e *TailEncoder) Begin() {
	for i := range e.names {
		clear(e.names[i])
	}
	e.others = map[tailPlace]*tailName{}
	e.next = 1
}

// Block begins a block in b.
//
//	block      = version byte, item...
//	item       = number uvarint, definition or point
//	definition = with number 0: its number uvarint, from 1 on, channel byte,
//	             slot, interval, base, close uvarints, series
//	point      = at varint, in ms from the point before in the block, score uvarint, flags byte,
//	             parts bytes, open varint, from twice the close
func (e *TailEncoder) Block(b []byte) []byte {
	if e.next == 0 {
		e.Begin()
	}
	e.last = 0
	return append(b, tailVersion)
}

// Append appends a point to the block in b.
func (e *TailEncoder) Append(b []byte, p *TailPoint) []byte {
	name := e.name(p)
	if check := p.check(); name.number == 0 || name.check != check {
		name.number, name.check = e.next, check
		e.next++
		b = binary.AppendUvarint(append(b, 0), uint64(name.number))
		b = append(b, byte(p.Channel))
		b = binary.AppendUvarint(b, uint64(p.Slot))
		b = binary.AppendUvarint(b, uint64(p.Interval))
		b = binary.AppendUvarint(b, uint64(p.Base))
		b = binary.AppendUvarint(b, uint64(p.Close))
		b = p.Series.append(b)
	}
	b = binary.AppendUvarint(b, uint64(name.number))
	b = binary.AppendVarint(b, p.At-e.last)
	e.last = p.At
	b = binary.AppendUvarint(b, uint64(p.Score))
	flags := p.Before | p.NumParts<<tailParts
	if p.Up {
		flags |= tailUp
	}
	if p.Opened {
		flags |= tailOpened
	}
	b = append(b, flags)
	b = append(b, p.Parts[:p.NumParts]...)
	return binary.AppendVarint(b, int64(p.Open-p.anchor()))
}

// anchor is what the opening threshold of a point is told from: near to what it
// is, so that a byte tells it.
func (p *TailPoint) anchor() models.Score { return min(2*p.Close, models.MaxScore) }

// name is where the number of a point's channel is noted.
func (e *TailEncoder) name(p *TailPoint) *tailName {
	if p.Channel != ChannelMain {
		place := tailPlace{p.Series.Partition, p.Channel, p.Slot}
		name := e.others[place]
		if name == nil {
			name = &tailName{}
			e.others[place] = name
		}
		return name
	}
	names := &e.names[p.Series.Partition]
	if n := int(p.Slot) + 1 - len(*names); n > 0 {
		*names = append(*names, make([]tailName, n)...)
	}
	return &(*names)[p.Slot]
}

// check is a hash of what a definition holds.
func (p *TailPoint) check() uint32 {
	h := fnv.New32a()
	var b [18]byte
	binary.LittleEndian.PutUint64(b[:], uint64(p.Series.ID))
	binary.LittleEndian.PutUint32(b[8:], p.Interval)
	binary.LittleEndian.PutUint16(b[12:], uint16(p.Close))
	binary.LittleEndian.PutUint16(b[14:], uint16(p.Base))
	b[16], b[17] = byte(p.Channel), byte(p.Series.Type)
	h.Write(b[:])
	return h.Sum32()
}

// TailDecoder reads what TailEncoder wrote since a Begin. Blocks may be missing:
// what refers to a definition in one of them is counted and left out.
type TailDecoder struct {
	defined []tailDefinition // by number from 1 on
	wanted  func(*Series) bool
	lost    uint64
}

// tailDefinition is what a definition says of its points; the series of one that
// is missing is nil.
type tailDefinition struct {
	point   TailPoint
	skipped bool
}

// maxTailHole bounds the definitions that may be missing before one, so that a
// rotten number cannot ask for the whole memory.
const maxTailHole = 1 << 20

// NewTailDecoder makes a decoder that gives the points of the series that are
// wanted; nil wants all.
func NewTailDecoder(wanted func(*Series) bool) *TailDecoder { return &TailDecoder{wanted: wanted} }

// Lost is how many points were left out because their definition is missing.
func (d *TailDecoder) Lost() uint64 { return d.lost }

// Block calls fn with each point of a block, in order, until it fails. The point
// is fn's during the call only; its series stays. ErrTail, wrapped, says that the
// bytes are no block.
func (d *TailDecoder) Block(b []byte, fn func(*TailPoint) error) error {
	r := reader{b: b}
	if version := r.byte(); r.bad || version != tailVersion {
		return fmt.Errorf("%w: version %d, known is %d", ErrTail, version, tailVersion)
	}
	var last int64
	var unknown tailDefinition
	for len(r.b) > 0 {
		number := r.uvarint()
		if number == 0 {
			if err := d.define(&r); err != nil {
				return err
			}
			continue
		}
		def := &unknown
		if number <= uint64(len(d.defined)) {
			def = &d.defined[number-1]
		}
		p := def.point
		p.read(&r, &last)
		switch {
		case r.bad:
			return fmt.Errorf("%w: a point is cut", ErrTail)
		case p.Series == nil:
			d.lost++
			continue
		case def.skipped:
			continue
		}
		if err := fn(&p); err != nil {
			return err
		}
	}
	return nil
}

func (d *TailDecoder) define(r *reader) error {
	number := r.uvarint()
	p := TailPoint{Channel: Channel(r.byte())}
	slot, interval, base, close := r.uvarint(), r.uvarint(), r.uvarint(), r.uvarint()
	p.Slot, p.Interval, p.Base, p.Close = uint32(slot), uint32(interval), models.Score(base), models.Score(close)
	p.Series = r.series()
	have := uint64(len(d.defined))
	if _, twice := p.Series.Labels.HasDuplicateLabelNames(); twice || r.bad || p.Channel >= numChannels || slot > 1<<32-1 || interval > 1<<32-1 || max(base, close) > uint64(models.MaxScore) ||
		number <= have || number-have > maxTailHole {
		return fmt.Errorf("%w: a definition makes no sense", ErrTail)
	}
	d.defined = append(d.defined, make([]tailDefinition, number-have)...)
	d.defined[number-1] = tailDefinition{point: p, skipped: d.wanted != nil && !d.wanted(p.Series)}
	return nil
}

// read reads a point, given what its definition says.
func (p *TailPoint) read(r *reader, last *int64) {
	*last += r.varint()
	score := r.uvarint()
	flags := r.byte()
	p.At, p.Score = *last, models.Score(score)
	p.Before, p.Up, p.Opened, p.NumParts = flags&tailBefore, flags&tailUp != 0, flags&tailOpened != 0, flags>>tailParts
	if p.NumParts > models.MaxParts {
		r.bad = true
		return
	}
	copy(p.Parts[:], r.take(uint64(p.NumParts)))
	open := int64(p.anchor()) + r.varint()
	p.Open = models.Score(open)
	most := int64(models.MaxScore)
	known := p.Series != nil
	r.bad = r.bad || score > uint64(most) || p.Before > ManyBefore || known && (open < 0 || open > most) || p.At < 0 || p.At > maxTime
}
