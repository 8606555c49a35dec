package history

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"
	"github.com/prometheus/prometheus/tsdb/tombstones"
)

// The files of a block, by Prometheus' names.
const (
	metaFile  = "meta.json"
	indexFile = "index"
	chunksDir = "chunks"
	walDir    = "wal"
)

// block is one block of a Prometheus' database: a folder with the samples of a
// range of time, series by series, in chunks of about 120 samples.
type block struct {
	folder string
	place  uint32 // among the blocks, in order of time
	begin  int64  // ms; no sample is older
	size   int64  // of the chunks, in bytes

	// These are there while it is open.
	chunks   *chunks.Reader
	segments []string                        // the files of the chunks, in order
	pending  []chunkAt                       // not begun yet, in order of time
	gone     map[uint32]tombstones.Intervals // what was deleted, by the series
	left     int                             // chunks that are not at their end
}

// chunkAt says where a chunk is, without pointers.
type chunkAt struct {
	begin  int64 // ms, its first sample
	ref    chunks.ChunkRef
	series uint32
}

// ulid is how the folders of blocks are named. Those that a Prometheus is still
// writing or deleting have something after it.
var ulid = regexp.MustCompile(`^[0-7][0-9A-HJKMNP-TV-Z]{25}$`)

// segment is how the files of chunks are named.
var segment = regexp.MustCompile(`^[0-9]+$`)

// findBlocks returns the blocks of a folder in order of time: the folder itself,
// or those in it when it is a data directory. head says that it has a
// write-ahead log too, whose samples are in no block yet.
func findBlocks(folder string) (found []*block, head bool, err error) {
	folders := []string{}
	if exists(filepath.Join(folder, metaFile)) || exists(filepath.Join(folder, indexFile)) {
		folders = append(folders, folder)
	} else {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return nil, false, fmt.Errorf("replay: %w", err)
		}
		for _, e := range entries {
			if e.IsDir() && ulid.MatchString(e.Name()) {
				folders = append(folders, filepath.Join(folder, e.Name()))
			}
		}
		head = holdsFiles(filepath.Join(folder, walDir))
	}
	if len(folders) == 0 {
		return nil, head, fmt.Errorf("replay %s: it is a folder that holds no blocks of a Prometheus; name the files in it", folder)
	}
	for _, f := range folders {
		b, err := readMeta(f)
		if err != nil {
			return nil, head, err
		}
		found = append(found, b)
	}
	slices.SortStableFunc(found, func(a, b *block) int { return cmp.Compare(a.begin, b.begin) })
	for i, b := range found {
		b.place = uint32(i)
	}
	return found, head, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func holdsFiles(folder string) bool {
	entries, err := os.ReadDir(folder)
	return err == nil && len(entries) > 0
}

// maxMeta bounds a meta.json, which has some hundred bytes for each block that
// the block was made of.
const maxMeta = 16 << 20

func readMeta(folder string) (*block, error) {
	path := filepath.Join(folder, metaFile)
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxMeta {
		err = fmt.Errorf("%d bytes are too many for it", info.Size())
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(path)
	}
	var meta struct {
		MinTime *int64 `json:"minTime"`
		Version int    `json:"version"`
	}
	if err == nil {
		err = json.Unmarshal(text, &meta)
	}
	switch {
	case err != nil:
		return nil, damaged(path, err)
	case meta.Version != 1:
		return nil, damaged(path, fmt.Errorf("version %d of a block is unknown", meta.Version))
	case meta.MinTime == nil || *meta.MinTime < 0 || *meta.MinTime > maxMillis:
		return nil, damaged(path, errors.New("minTime lies outside the years 1970 to 9999"))
	}
	b := &block{folder: folder, begin: *meta.MinTime}
	segments, err := os.ReadDir(filepath.Join(folder, chunksDir))
	if err != nil && !os.IsNotExist(err) { // a block may be empty
		return nil, damaged(filepath.Join(folder, chunksDir), err)
	}
	for _, s := range segments {
		if !segment.MatchString(s.Name()) {
			continue
		}
		info, err := s.Info()
		if err != nil {
			return nil, damaged(filepath.Join(folder, chunksDir, s.Name()), err)
		}
		b.segments = append(b.segments, filepath.Join(folder, chunksDir, s.Name()))
		b.size += info.Size()
	}
	return b, nil
}

// damaged is an error that names the file. An error of the file system does so
// already.
func damaged(path string, err error) error {
	if _, named := errors.AsType[*os.PathError](err); named {
		return fmt.Errorf("replay: %w", err)
	}
	return fmt.Errorf("%s: %s", path, sanitise(err.Error()))
}

// guard is deferred around what reads a block, as guard(&err,
// debug.SetPanicOnFault(true)), and makes a panic an error: a damaged file must
// not end the process, and Prometheus' readers trust the lengths that they find.
// A file that was cut short while it was mapped faults, which is made a panic.
func guard(err *error, before bool) {
	debug.SetPanicOnFault(before)
	if p := recover(); p != nil {
		*err = fmt.Errorf("it is damaged: %v", p)
	}
}

// open reads the index and what was deleted. most bounds the chunks.
func (b *block) open(table *seriesTable, pool chunkenc.Pool, most int) error {
	if err := b.openChunks(pool); err != nil {
		return damaged(filepath.Join(b.folder, chunksDir), err)
	}
	deleted, err := b.readTombstones()
	if err != nil {
		return damaged(filepath.Join(b.folder, tombstones.TombstonesFilename), err)
	}
	if err := b.readIndex(table, deleted, most); err != nil {
		return damaged(filepath.Join(b.folder, indexFile), err)
	}
	slices.SortFunc(b.pending, func(x, y chunkAt) int {
		return cmp.Or(cmp.Compare(x.begin, y.begin), cmp.Compare(x.series, y.series), cmp.Compare(x.ref, y.ref))
	})
	b.left = len(b.pending)
	return nil
}

func (b *block) openChunks(pool chunkenc.Pool) (err error) {
	defer guard(&err, debug.SetPanicOnFault(true))
	if len(b.segments) > 0 {
		b.chunks, err = chunks.NewDirReader(filepath.Join(b.folder, chunksDir), pool)
	}
	return err
}

func (b *block) readTombstones() (r tombstones.Reader, err error) {
	defer guard(&err, debug.SetPanicOnFault(true))
	r, _, err = tombstones.ReadTombstones(b.folder)
	return r, err
}

// readIndex puts the series into the table and the chunks into b.pending.
func (b *block) readIndex(table *seriesTable, deleted tombstones.Reader, most int) (err error) {
	defer guard(&err, debug.SetPanicOnFault(true))
	r, err := index.NewFileReader(filepath.Join(b.folder, indexFile), index.DecodePostingsRaw)
	if err != nil {
		return err
	}
	defer r.Close()
	name, value := index.AllPostingsKey()
	all, err := r.Postings(context.Background(), name, value)
	if err != nil {
		return err
	}
	b.gone = map[uint32]tombstones.Intervals{}
	builder := labels.NewScratchBuilder(16)
	var metas []chunks.Meta
	for all.Next() {
		if err := r.Series(all.At(), &builder, &metas); err != nil {
			return err
		}
		n, err := table.number(builder.Labels())
		if err != nil {
			return err
		}
		if gone, err := deleted.Get(all.At()); err != nil {
			return err
		} else if len(gone) > 0 {
			b.gone[n] = gone
		}
		if len(metas) > most-len(b.pending) {
			return fmt.Errorf("more than %d chunks of blocks that overlap", most)
		}
		for _, m := range metas {
			if m.MinTime < b.begin || m.MinTime > maxMillis {
				return fmt.Errorf("a chunk of %s begins at %d, and the block at %d", table.all[n].Labels, m.MinTime, b.begin)
			}
			b.pending = append(b.pending, chunkAt{begin: m.MinTime, ref: m.Ref, series: n})
		}
	}
	return all.Err()
}

// chunk is the samples of a chunk, with an iterator over them, which it makes of
// used if it can.
func (b *block) chunk(at chunkAt, used chunkenc.Iterator) (c chunkenc.Chunk, it chunkenc.Iterator, err error) {
	defer guard(&err, debug.SetPanicOnFault(true))
	if b.chunks == nil {
		return nil, used, errors.New("there are no chunks")
	}
	c, more, err := b.chunks.ChunkOrIterable(chunks.Meta{Ref: at.ref, MinTime: at.begin})
	switch {
	case err != nil:
		return nil, used, err
	case more != nil:
		return nil, used, errors.New("a chunk is none of a block")
	}
	return c, c.Iterator(used), nil
}

// chunkFrame is what the file holds of a chunk beside its samples: length,
// encoding and checksum.
const chunkFrame = chunks.ChunkEncodingSize + 2 + 4

// where names the file that the chunk is in.
func (b *block) where(at chunkAt) string {
	if n, _ := chunks.BlockChunkRef(at.ref).Unpack(); n >= 0 && n < len(b.segments) {
		return b.segments[n]
	}
	return filepath.Join(b.folder, chunksDir)
}

// close lets go of the files. It may be called again.
func (b *block) close() error {
	if b.chunks == nil {
		return nil
	}
	err := b.chunks.Close()
	b.chunks, b.pending = nil, nil
	return err
}

// never is after every time.
const never = math.MaxInt64

// due is when the block has the next thing to begin: itself or a chunk.
func (b *block) due(opened bool) int64 {
	switch {
	case !opened:
		return b.begin
	case len(b.pending) == 0:
		return never
	}
	return b.pending[0].begin
}
