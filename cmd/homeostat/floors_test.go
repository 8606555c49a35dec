package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// The floors say who may import whom. This file walks and parses the sources
// itself: a test that shells out to the go command is answered from go test's
// cache while a violation stands.

const module = "github.com/homeostat/homeostat"

// A floor is what the packages of one folder, and of the folders below it that
// have no floor of their own, may import.
type floor struct {
	folder  string
	ours    []string // folders of this module; "x/..." means with all below it
	outside []string // modules or packages from outside; "*" means any
	pure    bool     // no clock, no I/O, no goroutine, no lock
	test    bool     // for tests: only tests, other test floors and cmd import it
}

// floors is DESIGN's table, the most specific folder first.
var floors = []floor{
	{folder: "models/modeltest", ours: []string{"models/..."}, outside: []string{"gonum.org/v1/gonum"}, pure: true, test: true},
	{folder: "models", ours: []string{"models/..."}, outside: []string{"gonum.org/v1/gonum"}, pure: true},

	{folder: "engine/enginetest", ours: []string{"engine", "models/..."}, outside: prometheusModel, test: true},
	{folder: "engine/loop", ours: []string{"engine", "models/..."}, outside: []string{"*"}},
	{folder: "engine/wire", ours: []string{"engine", "models/...", "proto/..."}, outside: []string{"*"}, pure: true},
	{folder: "engine", ours: []string{"models/..."}, outside: prometheusModel, pure: true},

	{folder: "proto", outside: []string{"*"}},

	{folder: "store", ours: []string{"store/...", "engine", "engine/loop", "engine/wire", "models", "proto/..."}, outside: []string{"*"}},
	{folder: "ingest", ours: []string{"ingest/...", "engine", "engine/loop", "models"}, outside: []string{"*"}},
	{folder: "actuators/actuatortest", ours: []string{"actuators", "engine", "engine/loop", "models"}, outside: []string{"*"}, test: true},
	{folder: "actuators", ours: []string{"actuators/...", "engine", "engine/loop", "models"}, outside: []string{"*"}},
	{folder: "serve", ours: []string{"serve/...", "engine", "engine/loop", "engine/wire", "models", "proto/..."}, outside: []string{"*"}},

	{folder: "cmd", ours: []string{"..."}, outside: []string{"*"}},
	{folder: "benchmarks", ours: []string{"..."}, outside: []string{"*"}},
}

// prometheusModel is what the engine takes from Prometheus: label sets and the
// stale marker.
var prometheusModel = []string{
	"github.com/prometheus/prometheus/model/labels",
	"github.com/prometheus/prometheus/model/value",
}

// neverInTheBinary are packages that drag in 70 to 107 modules each.
var neverInTheBinary = []string{
	"github.com/prometheus/prometheus/config",
	"github.com/prometheus/prometheus/notifier",
	"github.com/prometheus/prometheus/scrape",
	"github.com/prometheus/prometheus/storage/remote",
	"github.com/prometheus/prometheus/tsdb$",
}

// impureImports reach outside a state machine: the machine, the network, other
// goroutines, or randomness that no seed reproduces.
var impureImports = []string{
	"context", "crypto/rand", "io/ioutil", "log", "math/rand", "net", "os", "plugin", "runtime", "sync", "syscall",
}

// impureTime are the functions of package time that read the clock, wait for it
// or read the machine's time zones.
var impureTime = []string{
	"After", "AfterFunc", "LoadLocation", "Local", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until",
}

// seededRand are the names of math/rand/v2 that take their seed from the
// caller; its other functions use the global generator.
var seededRand = []string{"ChaCha8", "New", "NewChaCha8", "NewPCG", "NewZipf", "PCG", "Rand", "Source", "Zipf"}

// namesOfNothing say where code lies instead of what it does.
var namesOfNothing = []string{"common", "config", "helper", "helpers", "internal", "misc", "pkg", "types", "util", "utils"}

func TestFloors(t *testing.T) {
	for _, v := range violations(t, os.DirFS(filepath.Join("..", ".."))) {
		t.Error(v)
	}
}

// violations lists what the tree breaks, in the order of its files.
func violations(t *testing.T, tree fs.FS) []string {
	t.Helper()
	var found []string
	files := 0
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			if name == "." {
				return nil
			}
			if strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules" {
				return fs.SkipDir
			}
			if !strings.Contains(name, "/") && (base == "bin" || base == "data" || base == "out") {
				return fs.SkipDir
			}
			if slices.Contains(namesOfNothing, base) {
				found = append(found, name+": a folder is named after what is in it")
			}
			if _, err := fs.Stat(tree, name+"/go.mod"); err == nil {
				return fs.SkipDir // a module of its own
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		files++
		source, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, source, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		found = append(found, fileViolations(name, parsed)...)
		return nil
	})
	if err != nil {
		t.Fatalf("walking the sources: %v", err)
	}
	if files == 0 {
		t.Fatal("no source was found")
	}
	return found
}

func fileViolations(name string, file *ast.File) []string {
	dir := path.Dir(name)
	i := slices.IndexFunc(floors, func(f floor) bool { return within(dir, f.folder) })
	if i < 0 {
		return []string{name + ": its folder has no floor"}
	}
	f := floors[i]
	isTest := strings.HasSuffix(name, "_test.go")
	var found []string
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			found = append(found, fmt.Sprintf("%s: import %s: %v", name, spec.Path.Value, err))
			continue
		}
		if why := f.refuses(dir, imported, isTest); why != "" {
			found = append(found, fmt.Sprintf("%s: imports %s: %s", name, imported, why))
		}
		if f.pure && !isTest {
			if why := impureImport(spec, imported); why != "" {
				found = append(found, fmt.Sprintf("%s: imports %s: %s", name, imported, why))
			}
		}
	}
	if f.pure && !isTest {
		for _, what := range impureCode(file) {
			found = append(found, fmt.Sprintf("%s: %s in a pure package", name, what))
		}
	}
	return found
}

// refuses says why a package in dir on this floor may not import the path, or
// nothing.
func (f floor) refuses(dir, imported string, isTest bool) string {
	folder, ours := strings.CutPrefix(imported, module)
	switch {
	case !ours:
		if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
			return "" // the standard library; purity is another question
		}
		if isTest {
			return ""
		}
		for _, p := range neverInTheBinary {
			exact, only := strings.CutSuffix(p, "$")
			if imported == exact || !only && strings.HasPrefix(imported, p+"/") {
				return "too heavy for the binary"
			}
		}
		for _, p := range f.outside {
			if p == "*" || imported == p || strings.HasPrefix(imported, p+"/") {
				return ""
			}
		}
		return "not on the list of floor " + f.folder
	case folder != "" && folder[0] != '/':
		return "looks like ours and is not"
	}
	folder = strings.TrimPrefix(folder, "/")
	if folder == dir {
		return "" // an external test imports its own package
	}
	if i := slices.IndexFunc(floors, func(g floor) bool { return within(folder, g.folder) }); i >= 0 && floors[i].test {
		// A test floor serves the tests of its own floor and of those above.
		if f.test && within(folder, f.folder) || within(dir, "cmd") || within(dir, "benchmarks") {
			return ""
		}
		if !isTest {
			return "only tests and cmd import a test floor"
		}
		if under := path.Dir(floors[i].folder); within(dir, under) || slices.Contains(f.ours, under) {
			return ""
		}
		return "a test floor of a floor that it may not import"
	}
	for _, p := range f.ours {
		if below, all := strings.CutSuffix(p, "..."); all {
			if below == "" || within(folder, strings.TrimSuffix(below, "/")) {
				return ""
			}
		} else if folder == p {
			return ""
		}
	}
	return "not on the list of floor " + f.folder
}

// within says whether dir is folder or below it.
func within(dir, folder string) bool { return dir == folder || strings.HasPrefix(dir, folder+"/") }

func impureImport(spec *ast.ImportSpec, imported string) string {
	if spec.Name != nil && (spec.Name.Name == "." || spec.Name.Name == "_") {
		return "a dot or blank import in a pure package"
	}
	for _, p := range impureImports {
		if imported == p || strings.HasPrefix(imported, p+"/") && imported != "math/rand/v2" {
			return "not in a pure package"
		}
	}
	return ""
}

// impureCode finds goroutines, channels, the clock and the global random
// generator.
func impureCode(file *ast.File) []string {
	local := map[string]string{} // the import behind a name
	for _, spec := range file.Imports {
		imported, _ := strconv.Unquote(spec.Path.Value)
		name := path.Base(imported)
		if imported == "math/rand/v2" {
			name = "rand"
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		local[name] = imported
	}
	var found []string
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			found = append(found, "a goroutine")
		case *ast.ChanType:
			found = append(found, "a channel")
		case *ast.SelectStmt:
			found = append(found, "a select")
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if !ok {
				return true
			}
			switch local[x.Name] {
			case "time":
				if slices.Contains(impureTime, n.Sel.Name) {
					found = append(found, "time."+n.Sel.Name)
				}
			case "math/rand/v2":
				if !slices.Contains(seededRand, n.Sel.Name) {
					found = append(found, "the global rand."+n.Sel.Name)
				}
			}
		}
		return true
	})
	return found
}

// TestFloorsFindPlantedViolations plants one violation at a time and sees that
// it is found, and only it.
func TestFloorsFindPlantedViolations(t *testing.T) {
	const ours = module + "/"
	for _, c := range []struct {
		what, name, source string
		want               string // in the violation; empty: there is none
	}{
		{"a quiet model", "models/ewma.go", `package models; import "math"; var _ = math.Pi`, ""},
		{"gonum in a model", "models/trend/trend.go", `package trend; import _m "gonum.org/v1/gonum/stat"; var _ = _m.Mean`, ""},
		{"a model on another library", "models/ewma.go", `package models; import "github.com/DataDog/sketches-go/ddsketch"; var _ = ddsketch.X`, "not on the list of floor models"},
		{"a model on the engine", "models/ewma.go", `package models; import "` + ours + `engine"; var _ = engine.X`, "not on the list of floor models"},
		{"a model's test on the engine", "models/ewma_test.go", `package models; import "` + ours + `engine"; var _ = engine.X`, "not on the list of floor models"},
		{"a model's test with its suite", "models/ewma_test.go", `package models; import "` + ours + `models/modeltest"; var _ = modeltest.X`, ""},
		{"a model with its suite", "models/ewma.go", `package models; import "` + ours + `models/modeltest"; var _ = modeltest.X`, "only tests and cmd"},
		{"the engine on a model", "engine/shard.go", `package engine; import "` + ours + `models/lean"; var _ = lean.X`, ""},
		{"the engine on labels", "engine/shard.go", `package engine; import "github.com/prometheus/prometheus/model/labels"; var _ = labels.X`, ""},
		{"the engine on more of Prometheus", "engine/shard.go", `package engine; import "github.com/prometheus/prometheus/model/textparse"; var _ = textparse.X`, "not on the list of floor engine"},
		{"the engine on the store", "engine/shard.go", `package engine; import "` + ours + `store"; var _ = store.X`, "not on the list of floor engine"},
		{"the engine on the loop", "engine/shard.go", `package engine; import "` + ours + `engine/loop"; var _ = loop.X`, "not on the list of floor engine"},
		{"the loop on the wire", "engine/loop/loop.go", `package loop; import "` + ours + `engine/wire"; var _ = wire.X`, "not on the list of floor engine/loop"},
		{"the loop with goroutines", "engine/loop/loop.go", `package loop; import "sync"; var _ sync.Mutex; func f() { go f() }`, ""},
		{"the wire on proto", "engine/wire/wire.go", `package wire; import "` + ours + `proto/homeostat/v1"; var _ = v1.X`, ""},
		{"proto on the engine", "proto/homeostat/v1/x.go", `package v1; import "` + ours + `engine"; var _ = engine.X`, "not on the list of floor proto"},
		{"the store on ingest", "store/store.go", `package store; import "` + ours + `ingest/history"; var _ = history.X`, "not on the list of floor store"},
		{"ingest on the store", "ingest/remotewrite/x.go", `package remotewrite; import "` + ours + `store"; var _ = store.X`, "not on the list of floor ingest"},
		{"ingest on proto", "ingest/remotewrite/x.go", `package remotewrite; import "` + ours + `proto/homeostat/v1"; var _ = v1.X`, "not on the list of floor ingest"},
		{"serve on the store", "serve/watch.go", `package serve; import "` + ours + `store"; var _ = store.X`, "not on the list of floor serve"},
		{"serve on proto and wire", "serve/watch.go", `package serve; import ("` + ours + `proto/homeostat/v1"; "` + ours + `engine/wire"); var _, _ = v1.X, wire.X`, ""},
		{"cmd on everything", "cmd/homeostat/test.go", `package main; import ("` + ours + `store"; "` + ours + `engine/enginetest"); var _, _ = store.X, enginetest.X`, ""},
		{"serve on cmd", "serve/x.go", `package serve; import "` + ours + `cmd/homeostat"; var _ = main.X`, "not on the list of floor serve"},
		{"Prometheus' configuration in the binary", "cmd/homeostat/x.go", `package main; import "github.com/prometheus/prometheus/config"; var _ = config.X`, "too heavy"},
		{"Prometheus' head in the binary", "ingest/history/x.go", `package history; import "github.com/prometheus/prometheus/tsdb"; var _ = tsdb.X`, "too heavy"},
		{"Prometheus' chunk encoding", "ingest/history/x.go", `package history; import "github.com/prometheus/prometheus/tsdb/chunkenc"; var _ = chunkenc.X`, ""},

		{"the clock", "engine/x.go", `package engine; import "time"; var _ = time.Now()`, "time.Now"},
		{"the clock under another name", "engine/x.go", `package engine; import clock "time"; func f() { clock.Sleep(1) }`, "time.Sleep"},
		{"a duration", "engine/x.go", `package engine; import "time"; var _ = 3 * time.Second`, ""},
		{"the clock in a test", "engine/x_test.go", `package engine; import "time"; var _ = time.Now()`, ""},
		{"the clock in the suite", "models/modeltest/x.go", `package modeltest; import "time"; var _ = time.Now()`, "time.Now"},
		{"the clock in the scenario language", "engine/enginetest/x.go", `package enginetest; import "os"; var _ = os.Args`, ""},
		{"a dot import of time", "models/x.go", `package models; import . "time"; var _ = Now()`, "a dot or blank import"},
		{"a file", "models/x.go", `package models; import "os"; var _ = os.Args`, "imports os"},
		{"a signal", "models/x.go", `package models; import "os/signal"; var _ = signal.X`, "imports os/signal"},
		{"the network", "models/x.go", `package models; import "net/http"; var _ = http.X`, "imports net/http"},
		{"a context", "engine/x.go", `package engine; import "context"; var _ context.Context`, "imports context"},
		{"a log", "engine/x.go", `package engine; import "log/slog"; var _ = slog.X`, "imports log/slog"},
		{"a lock", "engine/x.go", `package engine; import "sync"; var _ sync.Mutex`, "imports sync"},
		{"an atomic", "engine/x.go", `package engine; import "sync/atomic"; var _ atomic.Int64`, "imports sync/atomic"},
		{"a goroutine", "engine/x.go", `package engine; func f() { go f() }`, "a goroutine"},
		{"a channel", "engine/x.go", `package engine; var c chan int`, "a channel"},
		{"the old random numbers", "models/x.go", `package models; import "math/rand"; var _ = rand.New`, "imports math/rand"},
		{"the global random numbers", "models/x.go", `package models; import "math/rand/v2"; var _ = rand.Float64()`, "the global rand.Float64"},
		{"seeded random numbers", "models/x.go", `package models; import "math/rand/v2"; var _ = rand.New(rand.NewPCG(1, 2))`, ""},
		{"secret random numbers", "engine/x.go", `package engine; import "crypto/rand"; var _ = rand.Reader`, "imports crypto/rand"},

		{"a folder of nothing", "store/internal/x.go", `package internal`, "named after what is in it"},
		{"another folder of nothing", "util/x.go", `package util`, "named after what is in it"},
		{"example configurations", "testdata/config/x.go", `package config`, ""},
		{"a folder that the design does not know", "shiny/x.go", `package shiny`, "has no floor"},
		{"a second package in the engine", "engine/loop/fast/x.go", `package fast; import "` + ours + `store"; var _ = store.X`, "not on the list of floor engine/loop"},
		{"a peer's module", "benchmarks/peers/prometheus/internal/x.go", `package internal`, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			found := violations(t, fstest.MapFS{
				"cmd/homeostat/main.go":              {Data: []byte("package main\n")},
				"benchmarks/peers/prometheus/go.mod": {Data: []byte("module x\n")},
				c.name:                               {Data: []byte(c.source)},
			})
			switch {
			case c.want == "" && len(found) > 0:
				t.Errorf("found %q, want nothing", found)
			case c.want != "" && len(found) == 0:
				t.Errorf("found nothing, want %q", c.want)
			case c.want == "":
			case !slices.ContainsFunc(found, func(v string) bool { return strings.Contains(v, c.want) && strings.HasPrefix(v, path.Dir(c.name)) }):
				t.Errorf("found %q, want %q", found, c.want)
			}
		})
	}
}
