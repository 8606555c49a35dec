package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
)

const (
	valueLogFile = 64 << 20
	// pagesInLog is the size from which a value goes to the value log. Pages
	// do: written through the tables they would be written again at each
	// compaction, which costs six times the CPU over a hundred checkpoints, and
	// twice the disk (docs/decisions/0004-pages.md).
	pagesInLog = 1 << 10
)

func badgerOptions(dir string) badger.Options {
	return badger.DefaultOptions(dir).
		WithLogger(nil).
		WithMetricsEnabled(false).
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithIndexCacheSize(64 << 20).
		WithDetectConflicts(false).
		WithValueLogFileSize(valueLogFile).
		WithValueThreshold(pagesInLog).
		WithVerifyValueChecksum(true).
		WithChecksumVerificationMode(options.OnBlockRead).
		// Badger learns what is garbage in the value log when it compacts keys,
		// and only then. The keys of a checkpoint are few, so that tables must be
		// small for it to learn in time.
		WithMemTableSize(256 << 10).
		WithNumMemtables(3).
		WithNumLevelZeroTables(1).
		WithBaseLevelSize(1 << 20).
		WithNumCompactors(2)
}

// openBadger opens Badger on files that it does not die of. Its goroutines
// panic at a damaged table, which nobody can recover from; so the tables are
// looked at first.
func openBadger(o badger.Options) (db *badger.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			db, err = nil, fmt.Errorf("badger: %v", r)
		}
	}()
	if err := checkTables(o); err != nil {
		return nil, err
	}
	return badger.Open(o)
}

// checkTables looks at the tables that Badger's manifest names. Others are what
// a crash interrupted; Badger removes them.
func checkTables(o badger.Options) error {
	f, err := os.Open(filepath.Join(o.Dir, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	manifest, _, err := badger.ReplayManifestFile(f, 0, o)
	if err != nil {
		return fmt.Errorf("%s: %w", badger.ManifestFilename, err)
	}
	for id := range manifest.Tables {
		name := table.NewFilename(id, o.Dir)
		if err := checkTable(name); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(name), err)
		}
	}
	return nil
}

// checkTable reads every block of a table. The tables hold keys only and are
// small.
func checkTable(name string) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("the table is damaged")
		}
	}()
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	t, err := table.OpenInMemoryTable(b, 1, &table.Options{ChkMode: options.OnBlockRead})
	if err != nil {
		return err
	}
	return t.VerifyChecksum()
}
