package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
)

// source is the file of one series.
type source struct {
	path     string
	out      string // where its scores go, below the output folder
	set      string // the folder that it is counted under in the table
	labelled bool   // it has a column of labels
	nab      string // its name in NAB's labels, such as realTweets/Twitter_volume_KO.csv
	corpus   *corpus
}

// seriesBelow finds the series below a folder, in order of their paths. Other
// files, and CSV files with other columns, are passed over.
func seriesBelow(dir string) ([]source, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	var files []source
	corpora := map[string]*corpus{}
	seen := map[string]string{}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			c, err := openCorpus(path)
			if c != nil {
				corpora[path] = c
			}
			return err
		}
		plain := strings.TrimSuffix(path, ".gz")
		if !strings.HasSuffix(plain, ".csv") {
			return nil
		}
		columns, err := columnsOf(path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if columns != columnsPlain && columns != columnsLabelled {
			return nil
		}
		f := source{path: path, set: filepath.Base(filepath.Dir(path)), labelled: columns == columnsLabelled}
		if f.out, err = filepath.Rel(dir, plain); err != nil {
			return err
		}
		if same := seen[f.out]; same != "" {
			return fmt.Errorf("%s and %s are both the series %s", same, path, f.out)
		}
		seen[f.out] = path
		if err := f.joinCorpus(plain, dir, corpora); err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	return files, err
}

// joinCorpus makes a file that lies in a corpus a series of it.
func (f *source) joinCorpus(plain, dir string, corpora map[string]*corpus) error {
	root := filepath.Dir(plain)
	for corpora[root] == nil {
		if root == dir {
			return nil
		}
		root = filepath.Dir(root)
	}
	name, err := filepath.Rel(root, plain)
	if err != nil {
		return err
	}
	f.corpus, f.set = corpora[root], filepath.Base(root)
	f.nab = strings.TrimPrefix(filepath.ToSlash(name), "data/")
	return nil
}

// The columns of a series.
const (
	columnsPlain    = "timestamp,value"
	columnsLabelled = "timestamp,value,label"
)

// columnsOf is the first line of a file, which names its columns.
func columnsOf(path string) (string, error) {
	f, err := open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	head, err := bufio.NewReader(io.LimitReader(f, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimSpace(head), nil
}
