package serve

import (
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// A reload holds for the streams that run, from their next beat on, and for the
// subscribers that come.
func TestWatchSettingsChangeUnderAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, Config{Heartbeat: 5 * time.Second})
		s, leave := d.subscribe(t, &homeostatv1.WatchRequest{})
		beats := func(want time.Duration) {
			t.Helper()
			began := time.Now()
			if m := <-s.take; m.GetHeartbeat() == nil || time.Since(began) != want {
				t.Errorf("%v came after %v, want a heartbeat after %v", m, time.Since(began), want)
			}
		}
		beats(0)
		beats(5 * time.Second)
		d.service.SetWatch(time.Second, 1)
		beats(5 * time.Second)
		beats(time.Second)
		refusedWith(t, "a subscriber beyond the new bound", d.service.Watch(&homeostatv1.WatchRequest{}, &stream{ctx: t.Context()}), codes.ResourceExhausted)
		d.service.SetWatch(0, 0)
		beats(time.Second)
		beats(5 * time.Second)
		refusedWith(t, "the stream that was left", leave(), codes.Canceled)
	})
}
