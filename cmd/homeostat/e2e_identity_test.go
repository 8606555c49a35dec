//go:build e2e

package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// TestE2ERecording records what a server takes in while people label, restarts
// nothing, and sees that the replay of the recording writes byte for byte what
// the live server told its watchers, sequence numbers too.
func TestE2ERecording(t *testing.T) {
	recording := filepath.Join(t.TempDir(), "inputs.rec")
	s := serve(t, serveOptions{args: []string{"--record=" + recording}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watch := s.watch(ctx, t, "0")
	w := &ledger{t: t, fleet: rooms(30), address: s.http, client: &http.Client{Timeout: 10 * time.Second}}
	for range warmTurns {
		w.turn(ctx, false)
	}
	labelled := make(chan struct{})
	labelling, stopLabelling := context.WithCancel(ctx)
	go func() {
		defer close(labelled)
		w.label(labelling, s.client, watch)
	}()
	for range 200 {
		w.turn(ctx, true)
	}
	stopLabelling()
	<-labelled
	watch.await(t, 30*time.Second, "a label moves a threshold", func(r *homeostatv1.WatchResponse) bool { return r.GetThresholdMove() != nil })
	watch.await(t, 2*time.Minute, "an incident opens, once its epoch is closed", func(r *homeostatv1.WatchResponse) bool { return r.GetIncident() != nil })
	s.accountFor(t)
	s.stop(t)

	// The log itself, read after the end, is what the watchers were told.
	live := run(t, "inspect", "--storage.path="+s.storage, "-o", "jsonl")
	for _, shards := range []string{"1", "7"} {
		again := run(t, "replay", recording, "--shards", shards, "-o", "jsonl")
		if !bytes.Equal(live, again) {
			t.Errorf("the replay on %s shards differs from the live run:\n%s", shards, firstDifference(string(live), string(again)))
		}
	}
	for _, want := range []string{`"type":"anomaly"`, `"type":"threshold"`, `"type":"label"`, `"type":"incident"`} {
		if !strings.Contains(string(live), want) {
			t.Errorf("the run holds no %s, so that it tests too little", want)
		}
	}
	events, _ := watch.seen()
	told := 0
	for _, e := range events {
		if e.GetHeartbeat() == nil {
			told++
		}
	}
	if lines := bytes.Count(live, []byte("\n")); told != lines {
		t.Errorf("the watcher was told %d events, the log holds %d", told, lines)
	}
}

// firstDifference shows where two texts part.
func firstDifference(a, b string) string {
	left, right := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range max(len(left), len(right)) {
		var l, r string
		if i < len(left) {
			l = left[i]
		}
		if i < len(right) {
			r = right[i]
		}
		if l != r {
			return fmt.Sprintf("line %d of %d and %d\nlive:   %s\nreplay: %s", i+1, len(left), len(right), l, r)
		}
	}
	return "nothing"
}
