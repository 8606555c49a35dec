package seasonal

import (
	"encoding/binary"
	"math"

	"github.com/homeostat/homeostat/models/ewma"
)

const (
	dayBins    = 96  // of 15 minutes
	weekBins   = 120 // of 84 minutes
	dayWidth   = dayMillis / dayBins
	weekWidth  = weekMillis / weekBins
	updateClip = 6    // usual deviations, the most one point may move a table by
	finest     = 1024 // steps of the tables in one usual deviation, at first
	weekGain   = 0.9  // the week is used once its running error is under this share of the day's
	maxStep    = math.MaxInt16
)

// Block is the seasonal part of a baseline: a table of the day, a table of what
// each time of the week adds to it, and the level on top of which they lie.
//
//	r = x − (day(phase) [+ week(phase)]) − level
//
// Tables are interpolated between bin centres and kept in 16 bits, in steps of a
// unit that doubles when a value outgrows it. The two bins that are being
// visited are kept in full, so that rounding happens once a visit and not once
// a point.
type Block struct {
	Born      int64      // ms, when the block was made
	Level     float64    // of x − day
	WeekLevel float64    // of x − day − week
	slow      float64    // the level that the tables are learnt against
	Run       float32    // running |r| without the week
	WeekRun   float32    // running |r| with the week
	Recent    [2]float32 // the last two r of the forecast in use, newest first
	unit      float32
	dayPair   [2]float32
	weekPair  [2]float32
	dayBin    uint8 // the first of the two bins being visited
	weekBin   uint8
	day       [dayBins]int16
	week      [weekBins]int16
}

// BlockSize is the length of an encoded Block in bytes.
const BlockSize = 4*8 + 5*4 + 4*4 + 2 + 2*dayBins + 2*weekBins

// Make starts a block: no season, on a level, in steps that suit the usual
// deviation of the series. Run is the error of whatever the block is to better.
func (b *Block) Make(at, local int64, level, usual, run float64) {
	*b = Block{Born: at, Level: level, WeekLevel: level, slow: level, Run: float32(run), WeekRun: float32(run)}
	b.unit = float32(max(usual/finest, 1e-30))
	b.dayBin, _ = place(local, dayMillis, dayWidth, dayBins)
	b.weekBin, _ = place(local, weekMillis, weekWidth, weekBins)
}

// place returns the bin whose centre lies before a wall clock and the share of
// the way to the next centre.
func place(local, period, width, bins int64) (bin uint8, share float64) {
	in := modulo(local-width/2, period)
	return uint8(in / width), float64(in%width) / float64(width)
}

// Young reports whether the block has seen less than a day, so that it has no
// season to speak of.
func (b *Block) Young(at int64) bool { return at-b.Born < dayMillis }

// Weekly reports whether the forecast knows the days of the week apart.
func (b *Block) Weekly(at int64) bool {
	return at-b.Born >= 2*weekMillis && b.WeekRun < weekGain*b.Run
}

// Error returns the running |r| of the forecast in use.
func (b *Block) Error(at int64) float64 {
	if b.Weekly(at) {
		return float64(b.WeekRun)
	}
	return float64(b.Run)
}

// Forecast returns the value expected at a time with a local wall clock.
func (b *Block) Forecast(at, local int64) float64 {
	day := b.dayAt(local)
	if b.Weekly(at) {
		return day + b.weekAt(local) + b.WeekLevel
	}
	return day + b.Level
}

func (b *Block) dayAt(local int64) float64 {
	bin, share := place(local, dayMillis, dayWidth, dayBins)
	if bin == b.dayBin {
		return between(float64(b.dayPair[0]), float64(b.dayPair[1]), share)
	}
	return between(b.kept(b.day[:], bin, b.dayBin, b.dayPair), b.kept(b.day[:], after(bin, dayBins), b.dayBin, b.dayPair), share)
}

func (b *Block) weekAt(local int64) float64 {
	bin, share := place(local, weekMillis, weekWidth, weekBins)
	if bin == b.weekBin {
		return between(float64(b.weekPair[0]), float64(b.weekPair[1]), share)
	}
	return between(b.kept(b.week[:], bin, b.weekBin, b.weekPair), b.kept(b.week[:], after(bin, weekBins), b.weekBin, b.weekPair), share)
}

// kept reads a bin, from the pair being visited if it is one of them.
func (b *Block) kept(table []int16, bin, visiting uint8, pair [2]float32) float64 {
	switch bin {
	case visiting:
		return float64(pair[0])
	case after(visiting, len(table)):
		return float64(pair[1])
	}
	return float64(table[bin]) * float64(b.unit)
}

func between(from, to, share float64) float64 { return float64(from*(1-share)) + float64(to*share) }

func after(bin uint8, bins int) uint8 {
	if int(bin)+1 == bins {
		return 0
	}
	return bin + 1
}

// Gains say how fast a block learns.
type Gains struct {
	Level float64 // share of the way, a point
	Run   float64 // share of the way, a point
	Visit float64 // half-lives that a visit of a bin is, times ln 2
	Step  float64 // ms between points
}

// Learn takes a value in at a weight from 0 to 1. Usual is the usual deviation,
// by which the updates are clipped.
func (b *Block) Learn(at, local int64, x, usual float64, g Gains, weight float64) {
	dayBin, dayShare := place(local, dayMillis, dayWidth, dayBins)
	if dayBin != b.dayBin {
		b.dayPair = b.turn(b.day[:], b.dayBin, dayBin, b.dayPair)
		b.dayBin = dayBin
	}
	weekBin, weekShare := place(local, weekMillis, weekWidth, weekBins)
	if weekBin != b.weekBin {
		b.weekPair = b.turn(b.week[:], b.weekBin, weekBin, b.weekPair)
		b.weekBin = weekBin
	}
	day := between(float64(b.dayPair[0]), float64(b.dayPair[1]), dayShare)
	week := between(float64(b.weekPair[0]), float64(b.weekPair[1]), weekShare)
	r, rw := x-day-b.Level, x-day-week-b.WeekLevel
	inUse := b.Weekly(at)
	b.Recent[1] = b.Recent[0]
	b.Recent[0] = float32(r)
	if inUse {
		b.Recent[0] = float32(rw)
	}
	b.learnRuns(r, rw, g.Run*weight, b.Young(at))

	// The tables are learnt against a level of half a day, not against the fast
	// one: that would follow most of the day's shape itself and leave the tables
	// so little that they would take weeks.
	limit := updateClip * usual
	d := x - day - b.slow
	forDay, forWeek := d, clip(d-week, limit)
	if inUse {
		forDay = d - week
	}
	b.slow += g.Run * weight * forDay
	if !b.Young(at) {
		forDay = clip(forDay, limit)
	}
	// The first days move a bin further, as a mean of few visits does.
	visit := max(g.Visit, 1/(1.5+float64((at-b.Born)/dayMillis)))
	spread(&b.dayPair, dayShare, forDay*weight*perPoint(visit, g.Step, dayWidth))
	spread(&b.weekPair, weekShare, forWeek*weight*perPoint(g.Visit, g.Step, weekWidth))
	b.Level += g.Level * weight * (x - day - b.Level)
	b.WeekLevel += g.Level * weight * (x - day - week - b.WeekLevel)
}

// learnRuns keeps the running errors that decide what is in use. On its first
// day a block has none.
func (b *Block) learnRuns(r, rw, gain float64, young bool) {
	if young {
		return
	}
	run, weekRun := float64(b.Run), float64(b.WeekRun)
	b.Run = float32(run + gain*(math.Abs(r)-run))
	b.WeekRun = float32(weekRun + gain*(math.Abs(rw)-weekRun))
}

// perPoint shares one visit out among the points of a bin and returns the gain
// of each.
func perPoint(visit, step float64, width int64) float64 {
	return ewma.Gain(visit / math.Ln2 * min(1, step/float64(width)))
}

func spread(pair *[2]float32, share, by float64) {
	pair[0] = float32(float64(pair[0]) + by*(1-share))
	pair[1] = float32(float64(pair[1]) + by*share)
}

func clip(v, limit float64) float64 { return max(-limit, min(limit, v)) }

// turn writes the pair that is left back into its table and returns the next.
func (b *Block) turn(table []int16, leaving, entering uint8, pair [2]float32) [2]float32 {
	b.write(table, leaving, float64(pair[0]))
	b.write(table, after(leaving, len(table)), float64(pair[1]))
	next := after(entering, len(table))
	return [2]float32{float32(table[entering]) * b.unit, float32(table[next]) * b.unit}
}

func (b *Block) write(table []int16, bin uint8, v float64) {
	for math.Abs(v) > maxStep*float64(b.unit) {
		b.unit *= 2
		for i := range b.day {
			b.day[i] /= 2
		}
		for i := range b.week {
			b.week[i] /= 2
		}
	}
	table[bin] = int16(math.Round(v / float64(b.unit)))
}

// Append appends the encoded block.
func (b *Block) Append(p []byte) []byte {
	le := binary.LittleEndian
	p = le.AppendUint64(p, uint64(b.Born))
	p = le.AppendUint64(p, math.Float64bits(b.Level))
	p = le.AppendUint64(p, math.Float64bits(b.WeekLevel))
	p = le.AppendUint64(p, math.Float64bits(b.slow))
	p = ewma.AppendFloats(p, b.Run, b.WeekRun, b.Recent[0], b.Recent[1], b.unit,
		b.dayPair[0], b.dayPair[1], b.weekPair[0], b.weekPair[1])
	p = append(p, b.dayBin, b.weekBin)
	for _, v := range b.day {
		p = le.AppendUint16(p, uint16(v))
	}
	for _, v := range b.week {
		p = le.AppendUint16(p, uint16(v))
	}
	return p
}

// Parse replaces the block by the one encoded in p, which is BlockSize long. It
// reports whether all of it is a possible block.
func (b *Block) Parse(p []byte) bool {
	le := binary.LittleEndian
	b.Born = int64(le.Uint64(p))
	b.Level = math.Float64frombits(le.Uint64(p[8:]))
	b.WeekLevel = math.Float64frombits(le.Uint64(p[16:]))
	b.slow = math.Float64frombits(le.Uint64(p[24:]))
	good := ewma.ParseFloats(p[32:], &b.Run, &b.WeekRun, &b.Recent[0], &b.Recent[1], &b.unit,
		&b.dayPair[0], &b.dayPair[1], &b.weekPair[0], &b.weekPair[1])
	b.dayBin, b.weekBin = p[68], p[69]
	for i := range b.day {
		b.day[i] = int16(le.Uint16(p[70+2*i:]))
	}
	for i := range b.week {
		b.week[i] = int16(le.Uint16(p[70+2*dayBins+2*i:]))
	}
	return good && finite(b.Level) && finite(b.WeekLevel) && finite(b.slow) && b.unit > 0 && b.Run >= 0 && b.WeekRun >= 0 &&
		b.dayBin < dayBins && b.weekBin < weekBins
}
