package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/wire"
)

// recordingBuffer is how much of a recording waits in memory for a write.
const recordingBuffer = 1 << 20

// Recording writes exact inputs, in the log's frames, to one file. What it wrote
// is durable after Flush and Close only: it is an observer, and the log is what
// nothing may be lost from. It fits loop.Recorder and is not safe for concurrent
// use.
type Recording struct {
	file    diskFile
	path    string
	encoder wire.InputEncoder
	payload []byte
	buf     []byte
	at      int64
	seq     uint64
	chain   chain
	err     error
}

// CreateRecording begins a recording. It never writes over a file.
func CreateRecording(path string) (*Recording, error) {
	return createRecording(osDisk{}, path)
}

func createRecording(d disk, path string) (*Recording, error) {
	f, err := d.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("store: begin a recording: %w", err)
	}
	r := &Recording{file: f, path: path}
	r.buf = header{kind: segmentOfRecording, first: 1}.append(r.buf)
	if err := r.Flush(); err != nil {
		f.Close()
		return nil, err
	}
	if err := d.SyncDir(filepath.Dir(path)); err != nil {
		f.Close()
		return nil, fmt.Errorf("store: begin a recording: %w", err)
	}
	return r, nil
}

// Record keeps one input. An error of the file is final.
func (r *Recording) Record(ev engine.Event) error {
	if r.err != nil {
		return r.err
	}
	payload, err := r.encoder.Append(r.payload[:0], ev)
	if err != nil {
		return fmt.Errorf("store: record an input: %w", err)
	}
	r.payload = payload
	if len(payload) > maxPayload {
		// The encoder has numbered series that the file will never define.
		r.err = fmt.Errorf("store: record an input of %d bytes, more than %d", len(payload), maxPayload)
		return r.err
	}
	r.seq++
	r.chain = r.chain.next(r.seq, payload)
	r.buf = frame{seq: r.seq, chain: r.chain, payload: payload}.append(r.buf)
	if len(r.buf) >= recordingBuffer {
		return r.write()
	}
	return nil
}

func (r *Recording) write() error {
	if r.err != nil {
		return r.err
	}
	if _, err := r.file.WriteAt(r.buf, r.at); err != nil {
		r.err = fmt.Errorf("store: write %s: %w", r.path, err)
		return r.err
	}
	r.at += int64(len(r.buf))
	r.buf = r.buf[:0]
	return nil
}

// Flush makes what was recorded durable.
func (r *Recording) Flush() error {
	if err := r.write(); err != nil {
		return err
	}
	if err := r.file.Sync(); err != nil {
		r.err = fmt.Errorf("store: sync %s: %w", r.path, err)
		return r.err
	}
	return nil
}

// Close flushes and ends the recording.
func (r *Recording) Close() error {
	err := r.Flush()
	if cerr := r.file.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("store: close %s: %w", r.path, cerr)
	}
	if r.err == nil {
		r.err = errors.New("store: the recording is closed")
	}
	return err
}

// Playback reads a recording.
type Playback struct {
	file    diskFile
	name    string
	walk    *walk
	decoder wire.InputDecoder
	seq     uint64
	chain   chain
	torn    int64
	end     error
	passed  atomic.Int64 // bytes, of size
	size    int64
}

// OpenRecording opens a recording to be read from its beginning.
func OpenRecording(path string) (*Playback, error) { return openRecording(osDisk{}, path) }

func openRecording(d disk, path string) (*Playback, error) {
	f, err := d.OpenFile(path, os.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("store: open a recording: %w", err)
	}
	p, err := newPlayback(f, filepath.Base(path))
	if err != nil {
		f.Close()
		return nil, err
	}
	return p, nil
}

func newPlayback(f diskFile, name string) (*Playback, error) {
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("store: open a recording: %w", err)
	}
	w := newWalk(f, 0, size)
	head, err := w.window(segmentHead)
	if err != nil {
		return nil, fmt.Errorf("store: open a recording: %w", err)
	}
	h, err := parseHeader(head)
	switch {
	case errors.Is(err, ErrNewer):
		return nil, fmt.Errorf("recording %s: %w", name, err)
	case err != nil || h.kind != segmentOfRecording:
		return nil, fmt.Errorf("%w: %s is no recording", ErrDamaged, name)
	}
	w.at = segmentHead
	return &Playback{file: f, name: name, walk: w, chain: h.chain, size: size}, nil
}

// IsRecording says whether a file begins as a recording does.
func IsRecording(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, segmentHead)
	if _, err := io.ReadFull(f, head); err != nil {
		return false
	}
	h, err := parseHeader(head)
	return err == nil && h.kind == segmentOfRecording
}

// Next is the next input, io.EOF at the end. A torn tail, as a crash leaves it,
// is an end too, and Torn tells of it; other damage is an error that wraps
// ErrDamaged.
func (p *Playback) Next() (engine.Event, error) {
	if p.end != nil {
		return nil, p.end
	}
	ev, err := p.next()
	p.passed.Store(p.walk.at)
	if err != nil {
		p.end = err
	}
	return ev, err
}

func (p *Playback) next() (engine.Event, error) {
	at := p.walk.at
	f, err := p.walk.next()
	if errors.Is(err, errShort) || errors.Is(err, errBadFrame) {
		passed, found, serr := p.walk.skip()
		if serr != nil {
			return nil, fmt.Errorf("store: read %s: %w", p.name, serr)
		}
		if found {
			return nil, p.damage(at, err.Error())
		}
		p.torn = int64(len(passed))
		return nil, io.EOF
	}
	if err == io.EOF {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("store: read %s: %w", p.name, err)
	}
	if f.seq != p.seq+1 {
		return nil, p.damage(at, fmt.Sprintf("input %d where input %d belongs", f.seq, p.seq+1))
	}
	if p.chain.next(f.seq, f.payload) != f.chain {
		return nil, p.damage(at, fmt.Sprintf("input %d does not continue the hash chain", f.seq))
	}
	p.seq, p.chain = f.seq, f.chain
	ev, err := p.decoder.Input(f.payload)
	if err != nil {
		return nil, fmt.Errorf("store: input %d of %s: %w", f.seq, p.name, err)
	}
	return ev, nil
}

func (p *Playback) damage(at int64, why string) error {
	return fmt.Errorf("%w: recording %s at offset %d: %s", ErrDamaged, p.name, at, why)
}

// Torn is how many bytes at the end were no whole input, once Next has said
// io.EOF.
func (p *Playback) Torn() int64 { return p.torn }

// Progress is how many bytes were read, and how many there are. It may be asked
// for while Next runs.
func (p *Playback) Progress() (read, total int64) { return p.passed.Load(), p.size }

// Close ends reading.
func (p *Playback) Close() error { return p.file.Close() }
