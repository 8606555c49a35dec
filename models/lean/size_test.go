package lean

import (
	"testing"
	"unsafe"
)

func TestStateStaysWithinItsBytes(t *testing.T) {
	for _, s := range []struct {
		name string
		size uintptr
		most uintptr
	}{
		{"Core", unsafe.Sizeof(Core{}), 384},
		{"Season", unsafe.Sizeof(Season{}), 512},
	} {
		if s.size > s.most {
			t.Errorf("%s takes %d bytes, want at most %d", s.name, s.size, s.most)
		}
		t.Logf("%s: %d bytes", s.name, s.size)
	}
}
