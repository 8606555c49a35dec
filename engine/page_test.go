package engine

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shopPages is the state of a shop after some hours, with an open anomaly, as
// pages and a settle record, with the deep tier looking at all of it.
func shopPages(t testing.TB) (map[PageID][]byte, []byte) {
	t.Helper()
	e, err := New(Config{Deep: Deep{Match: all}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	s := newShop(2)
	var fx Effects
	for n := range 200 {
		at := shopStart + int64(n)*15_000
		fault := 1.0
		if n > 190 {
			fault = 8
		}
		fx.Reset()
		part := &Effects{}
		samples := append(s.scrape(at, "api", "a:80", fault, 0.01), s.scrape(at+3000, "api", "b:80", 1, 0.01)...)
		e.Shards()[0].Step([]*Batch{{Sender: "p", Samples: samples}}, part)
		e.Merge([]*Effects{part}, &fx)
		part = &Effects{}
		e.Shards()[0].Close(Tick{Now: at + 12_000}, part)
		e.Merge([]*Effects{part}, &fx)
		e.Settle(Tick{Now: at + 12_000}, &fx)
	}
	pages := map[PageID][]byte{}
	for _, id := range e.DirtyPages() {
		b, err := e.AppendPage(id, nil)
		if err != nil {
			t.Fatal(err)
		}
		pages[id] = b
	}
	settle, err := e.AppendSettle(nil)
	if err != nil {
		t.Fatal(err)
	}
	return pages, settle
}

func TestAPageReadBackIsWrittenTheSame(t *testing.T) {
	pages, settle := shopPages(t)
	e, err := New(Config{Deep: Deep{Match: all}}, 3)
	if err != nil {
		t.Fatal(err)
	}
	for id, b := range pages {
		if err := e.LoadPage(id, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.LoadSettle(settle); err != nil {
		t.Fatal(err)
	}
	if n := len(e.DirtyPages()); n != 0 {
		t.Errorf("%d pages are dirty after loading", n)
	}
	for id, want := range pages {
		got, err := e.AppendPage(id, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("page %v changed: %s", id, cmp.Diff(len(want), len(got)))
		}
	}
	again, err := e.AppendSettle(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(again, settle) {
		t.Error("the settle record changed")
	}
}

// A store checks sums before the engine sees a page, and yet no page may bring
// the engine down: it loads or says ErrPage.
func TestARottenPageIsRefusedOrLoadsButNeverPanics(t *testing.T) {
	pages, _ := shopPages(t)
	rng := rand.New(rand.NewPCG(11, 1))
	refused := 0
	for id, good := range pages {
		for range 400 {
			b := slices.Clone(good)
			for range 1 + rng.IntN(3) {
				b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
			}
			b = b[:len(b)-rng.IntN(2)*rng.IntN(len(b))]
			refused += loadRotten(t, id, b, nil)
		}
		// Beside pages that are as they were, more of it is used.
		for range 60 {
			b := slices.Clone(good)
			b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
			refused += loadRotten(t, id, b, pages)
		}
	}
	if refused == 0 {
		t.Error("no rotten page was refused")
	}
}

func loadRotten(t testing.TB, id PageID, b []byte, others map[PageID][]byte) (refused int) {
	e, err := New(Config{Deep: Deep{Match: all}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	for other, good := range others {
		if other != id {
			if err := e.LoadPage(other, good); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := e.LoadPage(id, b); err != nil {
		if !errors.Is(err, ErrPage) {
			t.Errorf("the error is not ErrPage: %v", err)
		}
		refused = 1
	}
	part := &Effects{}
	e.Shards()[0].Step([]*Batch{{Samples: newShop(2).scrape(shopStart+10_000_000, "api", "a:80", 1, 0.01)}}, part)
	var fx Effects
	e.Merge([]*Effects{part}, &fx)
	for _, now := range []int64{shopStart + 10_020_000, shopStart + 20_000_000} {
		part = &Effects{}
		e.Shards()[0].Close(Tick{Now: now}, part)
		e.Merge([]*Effects{part}, &fx)
		e.Settle(Tick{Now: now}, &fx)
	}
	return refused
}

func FuzzLoadPage(f *testing.F) {
	pages, _ := shopPages(f)
	for id, b := range pages {
		f.Add(id.Number >= groupPages, b)
	}
	f.Fuzz(func(t *testing.T, groups bool, b []byte) {
		id := PageID{}
		if groups {
			id.Number = groupPages
		}
		loadRotten(t, id, b, nil)
	})
}
