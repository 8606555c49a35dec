package engine

import (
	"fmt"
	"slices"
	"testing"
)

// TestBaselinesArePagedOnceEach lists what four workloads measure, in pages that
// look at few series at a time: each comes once, and in the same order however
// many shards there are.
func TestBaselinesArePagedOnceEach(t *testing.T) {
	list := func(shards, scan, most int, want func(*Series) bool) []SeriesID {
		r := newRig(t, Config{}, shards)
		var samples []Sample
		s := newShop(1)
		for i := range 40 {
			samples = append(samples, s.sample(1_000_000, float64(i), "__name__", "load", "job", fmt.Sprint("job", i%4), "instance", fmt.Sprint(i)))
		}
		r.step(&Batch{Samples: samples})
		var ids []SeriesID
		for place, more, pages := Place(0), true, 0; more; pages++ {
			if pages > 1000 {
				t.Fatal("the list never ends")
			}
			var found []Baseline
			var after []Place
			found, after, place, more = r.engine.Baselines(place, scan, most, want)
			if len(found) > most {
				t.Errorf("%d in a page of %d", len(found), most)
			}
			if len(after) != len(found) || more && len(found) == most && after[most-1] > place {
				t.Errorf("the places behind %d series are %v, the next is %v", len(found), after, place)
			}
			for _, b := range found {
				ids = append(ids, b.Series.ID)
			}
		}
		return ids
	}
	all := func(*Series) bool { return true }
	whole := list(1, 1000, 1000, all)
	if len(whole) != 40 {
		t.Fatalf("%d series listed, 40 were sent", len(whole))
	}
	if paged := list(3, 7, 2, all); !slices.Equal(paged, whole) {
		t.Errorf("pages differ from the whole: %v, want %v", paged, whole)
	}
	one := list(2, 7, 2, func(s *Series) bool { return s.Labels.Get("job") == "job3" })
	if len(one) != 10 {
		t.Errorf("%d series of one job, want 10", len(one))
	}
}
