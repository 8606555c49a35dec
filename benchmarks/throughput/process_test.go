package main

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// procOf makes a /proc of one process, 4242, that listens on 127.0.0.1:9860 by
// its file 7, beside a stranger's socket on every IPv6 address, port 9870.
func procOf(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	files := map[string]string{
		"net/tcp": "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n" +
			"   0: 0100007F:2684 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5151 1 0000000000000000 100 0 0 10 0\n" +
			"   1: 0100007F:2684 0100007F:D2F0 01 00000000:00000000 00:00000000 00000000     0        0 6161 1 0000000000000000 20 4 30 10 -1\n",
		"net/tcp6": "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n" +
			"   0: 00000000000000000000000000000000:268E 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7171 1 0000000000000000 100 0 0 10 0\n",
		// A name with a parenthesis and a space in it, as anybody may choose.
		"4242/stat":   "4242 (a) server) S 1 4242 4242 0 -1 4194304 100 0 0 0 1234 66 0 0 20 0 9 0 100 1000000 500 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
		"4242/status": "Name:\ta) server\nPid:\t4242\nVmRSS:\t  9000 kB\nRssAnon:\t    8192 kB\nRssFile:\t     808 kB\nThreads:\t9\n",
	}
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	fds := filepath.Join(root, "4242", "fd")
	if err := os.Mkdir(fds, 0o777); err != nil {
		t.Fatal(err)
	}
	for fd, target := range map[string]string{"0": "/dev/null", "7": "socket:[5151]"} {
		if err := os.Symlink(target, filepath.Join(fds, fd)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestUsageIsUserAndSystemTimeAndAnonymousMemory(t *testing.T) {
	u, err := usageOf(procOf(t), 4242)
	if err != nil {
		t.Fatal(err)
	}
	if u.cpu != 13*time.Second || u.anonymous != 8192<<10 {
		t.Errorf("%v and %d bytes, want 13 s (1234 + 66 ticks of 10 ms) and 8 MiB", u.cpu, u.anonymous)
	}
	if _, err := usageOf(procOf(t), 4243); err == nil {
		t.Error("a process that isn't there has a usage")
	}
}

func TestOnlyTheProcessThatListensIsMeasured(t *testing.T) {
	root := procOf(t)
	for _, c := range []struct {
		what, address string
		pid           int
		refused       bool
	}{
		{"its own socket", "127.0.0.1:9860", 4242, false},
		{"a port that nobody listens on", "127.0.0.1:9861", 4242, true},
		{"another address", "127.0.0.2:9860", 4242, true},
		{"a stranger's socket on all addresses", "127.0.0.1:9870", 4242, true},
		{"a process that isn't there", "127.0.0.1:9860", 4243, true},
	} {
		err := checkListener(root, c.pid, netip.MustParseAddrPort(c.address))
		if errors.Is(err, errListener) != c.refused {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

func TestSocketAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"0100007F:2684":                         "127.0.0.1:9860",
		"00000000:0050":                         "0.0.0.0:80",
		"0000000000000000FFFF00000100007F:2684": "127.0.0.1:9860", // an IPv4 address in IPv6
		"00000000000000000000000001000000:0050": "[::1]:80",
	} {
		got, err := socketAddress(text)
		if err != nil || got.String() != want {
			t.Errorf("%s is %v, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0100007F", "0100007F:", "01:2684", "0100007G:2684", "0100007F:12684", "010000:2684"} {
		if got, err := socketAddress(text); err == nil {
			t.Errorf("%q is taken as %v", text, got)
		}
	}
}
