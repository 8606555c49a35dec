package wire_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/wire"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

func TestWhatIfsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w engine.WhatIf
		fill(t, "WhatIf", reflect.ValueOf(&w).Elem(), true)
		for _, list := range [][]engine.Alert{w.Gained, w.Lost} {
			for i := range list {
				if list[i].Series == nil {
					list[i].Series = &engine.Series{ID: 1, Labels: labels.FromStrings("a", "b")}
				}
			}
		}
		back, err := wire.WhatIfFromProto(wire.WhatIfToProto(&w))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&w, back, sameFloats); diff != "" {
			t.Fatalf("it came back as another (-want +got):\n%s", diff)
		}
	})
}

func TestAWhatIfThatMakesNoSenseIsRefused(t *testing.T) {
	good := func() *homeostatv1.WhatIf {
		return wire.WhatIfToProto(&engine.WhatIf{Lost: []engine.Alert{{Series: &engine.Series{ID: 1, Labels: labels.FromStrings("a", "b")}, Interval: 15}}})
	}
	if _, err := wire.WhatIfFromProto(good()); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*homeostatv1.Alert){
		"alert.series":   func(a *homeostatv1.Alert) { a.Series = nil },
		"alert.channel":  func(a *homeostatv1.Alert) { a.Channel = 9 },
		"alert.interval": func(a *homeostatv1.Alert) { a.Interval.Nanos = 5e6 },
		"alert.peak":     func(a *homeostatv1.Alert) { a.Peak = 0.001 },
	} {
		m := good()
		spoil(m.Lost[0])
		if _, err := wire.WhatIfFromProto(m); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The line of a what-if has lists where a program looks for lists, empty or not.
func TestAWhatIfLineHasItsLists(t *testing.T) {
	b, err := json.Marshal(wire.WhatIfLine("open at 5", &engine.WhatIf{}, &engine.TailReport{Lost: 3, Gaps: []engine.TailGap{{After: 1000, Why: "full"}}}))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"gained":[]`, `"lost":[]`, `"hits_lost":[]`, `"points_not_kept":3`, `"after":"1970-01-01T00:00:01.000Z"`, `"rule":"open at 5"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s lacks %s", b, want)
		}
	}
}
