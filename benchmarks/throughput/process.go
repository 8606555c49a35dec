package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// usage is what a process has used so far.
type usage struct {
	cpu       time.Duration // user and system, in steps of 10 ms
	anonymous uint64        // resident bytes that no file stands behind
}

// usageOf reads the usage of a process below root, which is /proc.
func usageOf(root string, pid int) (usage, error) {
	fs, err := procfs.NewFS(root)
	if err != nil {
		return usage{}, err
	}
	p, err := fs.Proc(pid)
	if err != nil {
		return usage{}, err
	}
	stat, err := p.Stat()
	if err != nil {
		return usage{}, fmt.Errorf("stat of process %d: %w", pid, err)
	}
	status, err := p.NewStatus()
	if err != nil {
		return usage{}, fmt.Errorf("status of process %d: %w", pid, err)
	}
	return usage{cpu: time.Duration(stat.CPUTime() * float64(time.Second)), anonymous: status.RssAnon}, nil
}

// errListener says that what listens isn't the process that is measured.
var errListener = errors.New("the process that listens isn't the one to measure")

// checkListener sees that whoever accepts connections for an address is the
// process. Otherwise the load would go to one process and the figures would be
// another's: a server that was left over listens, and the new one has ended.
func checkListener(root string, pid int, address netip.AddrPort) error {
	inodes, err := listeners(root, address)
	if err != nil {
		return err
	}
	if len(inodes) == 0 {
		return fmt.Errorf("%w: nobody listens on %s", errListener, address)
	}
	fs, err := procfs.NewFS(root)
	if err != nil {
		return err
	}
	p, err := fs.Proc(pid)
	if err != nil {
		return fmt.Errorf("%w: process %d is not there: %w", errListener, pid, err)
	}
	held, err := p.FileDescriptorTargets()
	if err != nil {
		return fmt.Errorf("files of process %d: %w", pid, err)
	}
	for _, inode := range inodes {
		if !slices.Contains(held, "socket:["+inode+"]") {
			return fmt.Errorf("%w: the socket on %s isn't of process %d", errListener, address, pid)
		}
	}
	return nil
}

// listeners are the inodes of the sockets that accept connections for an
// address, from net/tcp and net/tcp6 as proc_net_tcp(5) describes them.
func listeners(root string, address netip.AddrPort) ([]string, error) {
	var inodes []string
	for _, name := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(filepath.Join(root, "net", name))
		if errors.Is(err, os.ErrNotExist) && name == "tcp6" {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			const listening = "0A"
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != listening {
				continue
			}
			local, err := socketAddress(f[1])
			if err != nil {
				return nil, fmt.Errorf("net/%s: %w", name, err)
			}
			if local.Port() == address.Port() && (local.Addr().IsUnspecified() || local.Addr() == address.Addr().Unmap()) {
				inodes = append(inodes, f[9])
			}
		}
	}
	return inodes, nil
}

// socketAddress reads an address such as 0100007F:2694: the address in words of
// 32 bits, little-endian each, and the port, in hexadecimal.
func socketAddress(text string) (netip.AddrPort, error) {
	words, port, _ := strings.Cut(text, ":")
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil || len(words)%8 != 0 {
		return netip.AddrPort{}, fmt.Errorf("socket address %q", text)
	}
	var b []byte
	for i := 0; i < len(words); i += 8 {
		w, err := strconv.ParseUint(words[i:i+8], 16, 32)
		if err != nil {
			return netip.AddrPort{}, fmt.Errorf("socket address %q: %w", text, err)
		}
		b = append(b, byte(w), byte(w>>8), byte(w>>16), byte(w>>24))
	}
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("socket address %q", text)
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), nil
}

// freeAddress is an address on loopback that nobody listens on. Whoever takes it
// before it is used is found by checkListener.
func freeAddress() (netip.AddrPort, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer l.Close()
	return netip.ParseAddrPort(l.Addr().String())
}

// child is a server that was started to be measured.
type child struct {
	cmd    *exec.Cmd
	output *tail
	ended  chan struct{} // closed once it has ended
	err    error         // how; read it after ended
}

func startChild(name string, args ...string) (*child, error) {
	c := &child{cmd: exec.Command(name, args...), output: &tail{}, ended: make(chan struct{})}
	c.cmd.Stdout, c.cmd.Stderr = c.output, c.output
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		c.err = c.cmd.Wait()
		close(c.ended)
	}()
	return c, nil
}

// alive returns an error with the last output when the child has ended.
func (c *child) alive() error {
	select {
	case <-c.ended:
		return fmt.Errorf("%s ended: %w\n%s", filepath.Base(c.cmd.Path), c.err, c.output)
	default:
		return nil
	}
}

// stop asks the child to end and, when it does not within a minute, ends it.
func (c *child) stop() error {
	if c.alive() != nil {
		return nil // it has told why already
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping %s: %w", c.cmd.Path, err)
	}
	patience := time.NewTimer(time.Minute)
	defer patience.Stop()
	select {
	case <-c.ended:
		return nil
	case <-patience.C:
		err := c.cmd.Process.Kill()
		<-c.ended
		return errors.Join(fmt.Errorf("%s did not end within a minute of SIGTERM", c.cmd.Path), err)
	}
}

// tail keeps the end of what a child writes. Only exec's copying goroutine
// writes, and it has ended when the child counts as ended.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	const most = 4096
	t.text = append(t.text, p...)
	if n := len(t.text); n > 2*most {
		t.text = bytes.Clone(t.text[n-most:])
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.text) }

// wait waits so long, or until ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
