package engine

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/homeostat/homeostat/models"
)

// tailTexts are tail points by series, channel and time, without the place that
// a series has by the order in which it was first named.
func tailTexts(points []TailPoint) []string {
	sorted := slices.Clone(points)
	slices.SortStableFunc(sorted, func(a, b TailPoint) int {
		return cmp.Or(cmp.Compare(a.Series.ID, b.Series.ID), cmp.Compare(a.Channel, b.Channel))
	})
	var out []string
	for _, p := range sorted {
		name := p.Series.Text()
		p.Series, p.Slot = nil, 0
		out = append(out, fmt.Sprintf("%s %+v", name, p))
	}
	return out
}

// What is kept of a series is the same however requests are cut, on any number
// of shards and with a restart in the middle, those of a series in order.
func TestTheTailIsTheSameHoweverItIsDriven(t *testing.T) {
	plain := newRig(t, Config{}, 1)
	day(plain, nil, -1)
	want := tailTexts(plain.tail)
	if len(want) < 100 {
		t.Fatalf("%d points in the tail say too little", len(want))
	}
	last := map[string]int64{}
	for _, p := range plain.tail {
		key := fmt.Sprint(p.Series.ID, p.Channel)
		if p.At <= last[key] {
			t.Fatalf("%s at %d after %d", p.Series.Text(), p.At, last[key])
		}
		last[key] = p.At
	}
	for _, shards := range []int{2, 7} {
		r := newRig(t, Config{}, shards)
		day(r, rand.New(rand.NewPCG(uint64(shards), 3)), 1020)
		if diff := gocmp.Diff(want, tailTexts(r.tail)); diff != "" {
			t.Errorf("%d shards with a restart (- plain, + this): %.3000s", shards, diff)
		}
	}
}

// Every point at the floor or above is in the tail, none under it is, and Before
// says how many there were in between.
func TestTheTailIsWhatScoredAtTheFloor(t *testing.T) {
	r := newRig(t, Config{Trace: true}, 1)
	day(r, nil, -1)
	points := map[SeriesID][]Scored{}
	for _, x := range r.trace {
		points[x.Series.ID] = append(points[x.Series.ID], x)
	}
	kept := map[SeriesID]map[int64]TailPoint{}
	for _, p := range r.tail {
		if p.Channel != ChannelMain {
			continue
		}
		if kept[p.Series.ID] == nil {
			kept[p.Series.ID] = map[int64]TailPoint{}
		}
		kept[p.Series.ID][p.At] = p
		if p.Close < 2*models.ScoreUnit || p.Score < 2*models.ScoreUnit {
			t.Fatalf("kept %+v, with a floor of 2", p)
		}
	}
	checked := 0
	for id, xs := range points {
		under := ManyBefore
		for _, x := range xs {
			p, ok := kept[id][x.At]
			if want := x.Reading.Score >= 2*models.ScoreUnit; ok != want {
				t.Fatalf("%s at %d scored %v: kept %v", x.Series.Text(), x.At, x.Reading.Score.Float(), ok)
			}
			if !ok {
				under = min(under+1, ManyBefore)
				continue
			}
			silent := p.Before == ManyBefore && under < ManyBefore // it fell silent in between
			if int(p.Before) != under && !silent || p.Score != x.Reading.Score || p.Opened != x.Opened || p.Up != (x.Reading.Residual >= 0) {
				t.Fatalf("%s at %d: %+v after %d points under the floor, of %+v", x.Series.Text(), x.At, p, under, x)
			}
			for i := range p.NumParts {
				if p.Parts[i] != TailPart(x.Reading.Parts[i]) {
					t.Fatalf("part %d of %+v is not that of %+v", i, p, x.Reading)
				}
			}
			under = 0
			checked++
		}
	}
	if checked < 100 {
		t.Fatalf("only %d points were checked", checked)
	}
}

func TestNoThresholdInForceClosesUnderTheFloor(t *testing.T) {
	for _, c := range []Channel{ChannelMain, ChannelSlow, ChannelDeep} {
		for configured := models.Score(models.ScoreUnit); configured <= 12*models.ScoreUnit; configured++ {
			floor := TailFloor(c, configured)
			for n := steps(minSteps); n <= maxSteps; n++ {
				open := n.apply(configured)
				if close := closeOf(c, open, configured); close < floor && open >= floor {
					t.Fatalf("%v configured at %v and moved %d steps closes at %v, under its floor %v", c, configured.Float(), n, close.Float(), floor.Float())
				}
			}
			if plain := closeOf(c, configured, configured); c != ChannelDeep && plain != configured/2 {
				t.Fatalf("%v that nobody moved closes at %v, not at half of %v", c, plain.Float(), configured.Float())
			}
		}
	}
}

func TestPointsBeforeAreCountedByChannel(t *testing.T) {
	var b before
	if b.of(channelMain) != ManyBefore {
		t.Fatalf("nothing was ever kept, and there are %d points since", b.of(channelMain))
	}
	for ch := range numChannels {
		b.set(ch, 0)
	}
	for range 3 {
		b.passed(channelDeep)
	}
	for range 9 {
		b.passed(channelSlow)
	}
	for ch, want := range map[int]uint8{channelMain: 0, channelSlow: ManyBefore, channelQuiet: 0, channelDeep: 3} {
		if got := b.of(ch); got != want {
			t.Errorf("%v: %d points, want %d", Channel(ch), got, want)
		}
	}
}
