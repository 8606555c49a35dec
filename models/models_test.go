package models

import (
	"errors"
	"math"
	"testing"
	"time"
)

func TestScoreOfQuantisesAndClamps(t *testing.T) {
	for _, c := range []struct {
		x    float64
		want Score
	}{
		{0, 0},
		{-1, 0},
		{math.NaN(), 0},
		{math.Inf(-1), 0},
		{1, 64},
		{1.0 / 128, 1},
		{0.9 / 128, 0},
		{3, 192},
		{30, MaxScore},
		{31, MaxScore},
		{math.Inf(1), MaxScore},
	} {
		if got := ScoreOf(c.x); got != c.want {
			t.Errorf("ScoreOf(%v) = %d, want %d", c.x, got, c.want)
		}
	}
	for s := Score(0); s <= MaxScore; s++ {
		if got := ScoreOf(s.Float()); got != s {
			t.Fatalf("ScoreOf(%v) = %d, want %d", s.Float(), got, s)
		}
	}
}

func TestAlarmEndsByState(t *testing.T) {
	const open, close = 200, 100
	var a Alarm
	for i, c := range []struct {
		score Score
		want  Change
	}{
		{199, Same},
		{200, Opened},
		{300, Same},
		{99, Same},
		{99, Same},
		{99, Same},
		{99, Same},
		{100, Same}, // the fifth is not quiet
		{99, Same},
		{0, Same},
		{0, Same},
		{0, Same},
		{0, Ended},
		{199, Same},
		{250, Opened},
	} {
		if got := a.Step(c.score, open, close); got != c.want {
			t.Errorf("step %d, score %d: %d, want %d", i, c.score, got, c.want)
		}
	}
}

func TestWeightFallsAndNeverVanishes(t *testing.T) {
	if w := WeightOf(2 * ScoreUnit); w != 1 {
		t.Errorf("at 2 the weight is %v", w)
	}
	last := 1.0
	for s := Score(0); s <= MaxScore; s++ {
		w := WeightOf(s)
		if w > last || w <= 0 {
			t.Fatalf("at %v the weight is %v after %v", s.Float(), w, last)
		}
		last = w
	}
}

func TestZoneFollowsItsTransitions(t *testing.T) {
	at := func(s string) int64 {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v.UnixMilli()
	}
	berlin := Zone{
		{at("2023-10-29T01:00:00Z"), 3600},
		{at("2024-03-31T01:00:00Z"), 7200},
		{at("2024-10-27T01:00:00Z"), 3600},
	}
	for _, c := range []struct{ at, want string }{
		{"2020-01-01T00:00:00Z", "2020-01-01T01:00:00Z"}, // before the first its offset holds
		{"2024-03-31T00:59:59Z", "2024-03-31T01:59:59Z"},
		{"2024-03-31T01:00:00Z", "2024-03-31T03:00:00Z"},
		{"2024-10-27T00:59:59Z", "2024-10-27T02:59:59Z"},
		{"2024-10-27T01:00:00Z", "2024-10-27T02:00:00Z"},
		{"2030-07-01T00:00:00Z", "2030-07-01T01:00:00Z"},
	} {
		if got := berlin.Local(at(c.at)); got != at(c.want) {
			t.Errorf("%s: %s, want %s", c.at, time.UnixMilli(got).UTC(), c.want)
		}
	}
	if got := Zone(nil).Local(5); got != 5 {
		t.Errorf("the empty zone moves 5 to %d", got)
	}
	if err := berlin.Validate(); err != nil {
		t.Error(err)
	}
	for _, bad := range []Zone{{{2, 0}, {1, 0}}, {{1, 0}, {1, 0}}, {{1, 86400}}, {{1, -86400}}} {
		if err := bad.Validate(); !errors.Is(err, ErrZone) {
			t.Errorf("%v: %v, want ErrZone", bad, err)
		}
	}
}
