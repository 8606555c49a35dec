package engine

import (
	"errors"

	"github.com/homeostat/homeostat/models"
)

// What the channels beside the main path keep of a slot is in a part of its own
// each, which a reader that does not know it passes over whole.

// appendBeside appends a channel's part: its alarm, its episode and its state,
// each with a byte that says whether it is there.
//
//	part = open byte, quiet byte, has episode byte, [episode block], has state byte, [state block]
func (p *partition) appendBeside(b []byte, i uint32, m *measure, ch uint8, state func([]byte) []byte) []byte {
	a, ep := m.alarm[ch], p.episodes[episodeKey{i, ch}]
	b = append(b, boolByte(a.Open), a.Quiet, boolByte(ep != nil))
	if ep != nil {
		b = appendBlock(b, ep.append)
	}
	b = append(b, boolByte(state != nil))
	if state != nil {
		b = appendBlock(b, state)
	}
	return b
}

// hasBeside says whether a channel has anything to keep but its state.
func (p *partition) hasBeside(i uint32, m *measure, ch uint8) bool {
	return m.alarm[ch] != (alarm{}) || p.episodes[episodeKey{i, ch}] != nil
}

// readBeside reads what appendBeside wrote.
func (l *loadedSlot) readBeside(r reader, ch uint8, state func(reader) error) error {
	l.alarm[ch] = models.Alarm{Open: r.byte() != 0, Quiet: r.byte()}
	if r.byte() != 0 {
		body := r.block()
		ep := body.episode()
		if ep == nil || body.bad {
			return errors.New("no episode")
		}
		l.keep(ch, ep)
	}
	if r.byte() != 0 {
		if err := state(r.block()); err != nil {
			return err
		}
	}
	if r.bad {
		return errors.New("cut")
	}
	return nil
}
