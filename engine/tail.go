package engine

import (
	"slices"
	"strconv"

	"github.com/homeostat/homeostat/models"
)

// Channel is one way in which a measurement is looked at. Each has an episode
// and a threshold of its own. The numbers are part of the storage format.
type Channel uint8

// The channels whose scores are kept.
const (
	ChannelMain Channel = channelMain // the baseline, or the counts of a ratio
	ChannelSlow Channel = channelSlow // the slow rise of a gauge
	ChannelDeep Channel = channelDeep // what the deep tier never saw before
)

var channelNames = [numChannels]string{"main", "slow", "quiet", "deep"}

// String is the channel's name in output.
func (c Channel) String() string {
	if int(c) >= len(channelNames) {
		return "channel(" + strconv.Itoa(int(c)) + ")"
	}
	return channelNames[c]
}

// ParseChannel reads what String wrote, of the channels whose scores are kept.
func ParseChannel(s string) (Channel, bool) {
	for _, c := range []Channel{ChannelMain, ChannelSlow, ChannelDeep} {
		if c.String() == s {
			return c, true
		}
	}
	return 0, false
}

// TailPoint is one measurement whose score lies in the tail: at TailFloor or
// above it. From the tail points of a channel alone everything can be worked out
// that a threshold does whose closing one is not under the floor, for each point
// between two of them is under it, and Before says how many there were.
type TailPoint struct {
	Series   *Series
	Slot     uint32 // the place of the series in its partition
	Interval uint32 // between points, seconds
	At       int64  // ms
	Score    models.Score
	Base     models.Score           // the opening threshold as configured
	Open     models.Score           // the one in force
	Close    models.Score           // that ends an episode
	Parts    [models.MaxParts]uint8 // each detector's score, as TailPart has it
	NumParts uint8
	Channel  Channel
	Before   uint8 // points since the one kept before, at most ManyBefore
	Up       bool  // the value is above what was expected
	Opened   bool  // an episode opened at this point
}

// ManyBefore stands for so many points or more, all of them under the floor: an
// episode that stood has ended. It also stands where nobody knows of a point
// kept before, and where a series that fell silent sends again.
const ManyBefore = models.QuietPoints

// partStep is one step of a detector's score in the tail: an eighth.
const partStep = models.ScoreUnit / 8

// TailPart is a detector's score in eighths, at most 255 of them.
func TailPart(s models.Score) uint8 { return uint8(min(max(s, 0)/partStep, 255)) }

// TailFloor is the score from which on the measurements of a channel are kept,
// given its configured opening threshold. It is 2, the one in a hundred, of the
// slow channel, which has a point an hour, 1; and it is under half of the
// threshold by a quarter, so that lower thresholds can be asked about. No
// threshold in force closes an episode under it.
func TailFloor(c Channel, configured models.Score) models.Score {
	switch c {
	case ChannelDeep:
		return min(configured, deepClose)
	case ChannelSlow:
		return min(slowFloor, configured/2-tailBelow)
	}
	return min(tailFloor, configured/2-tailBelow)
}

const (
	tailFloor = 2 * models.ScoreUnit
	slowFloor = models.ScoreUnit
	tailBelow = models.ScoreUnit / 4
)

// before counts, for each channel of a measure, the points since the last one
// that was kept, in three bits: 0 for ManyBefore, else one more than there were.
type before uint16

const beforeBits = 3

func (b before) of(ch int) uint8 {
	n := uint8(b>>(beforeBits*ch)) & (1<<beforeBits - 1)
	if n == 0 {
		return ManyBefore
	}
	return n - 1
}

func (b *before) set(ch int, n uint8) {
	shift := beforeBits * ch
	*b &^= (1<<beforeBits - 1) << shift
	if n < ManyBefore {
		*b |= before(n+1) << shift
	}
}

// passed counts a point under the floor.
func (b *before) passed(ch int) {
	if n := b.of(ch); n < ManyBefore {
		b.set(ch, n+1)
	}
}

// Floor is the floor of the point's channel.
func (p *TailPoint) Floor() models.Score { return TailFloor(p.Channel, p.Base) }

// keepTail keeps a point of the tail.
func (s *Shard) keepTail(x *point, m *measure, t thresholds, c *cause) {
	p := TailPoint{
		Series: x.part.slots[x.slot].series, Slot: x.slot, Interval: m.openFor, At: x.at, Score: x.reading.Score,
		Base: t.base, Open: t.open, Close: t.close, NumParts: x.reading.NumParts, Channel: Channel(x.channel), Before: m.before.of(x.channel),
		Up: x.reading.Residual >= 0, Opened: x.change == models.Opened,
	}
	for i := range x.reading.NumParts {
		p.Parts[i] = TailPart(x.reading.Parts[i])
	}
	if x.channel == channelSlow {
		p.Interval = hourMillis / 1000
	}
	m.before.set(x.channel, 0)
	c.fx.Tail = append(c.fx.Tail, p)
}

// TailReport says what a look at kept points found.
type TailReport struct {
	Segments int
	Blocks   int
	Points   uint64 // in the blocks, whatever was asked for
	Bytes    int64
	From, To int64  // of the points, ms; 0 when there is none
	Lost     uint64 // points that were counted and not kept
	Gaps     []TailGap
	MoreGaps int // that are not listed
}

// TailGap is a stretch in which points are missing.
type TailGap struct {
	After  int64  // the newest point before it, ms; 0 for none
	Before int64  // the oldest behind it; 0 for none yet
	Points uint64 // 0 when nobody knows
	Why    string
	Damage bool // bytes are not what was written, and no crash explains it
}

// Damaged says that bytes are not what was written.
func (r *TailReport) Damaged() bool {
	return slices.ContainsFunc(r.Gaps, func(g TailGap) bool { return g.Damage })
}
