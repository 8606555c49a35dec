package main

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestExampleConfigurations loads each example as serve would.
func TestExampleConfigurations(t *testing.T) {
	examples, err := filepath.Glob("../../testdata/config/*.yaml")
	if err != nil || len(examples) == 0 {
		t.Fatalf("no example was found: %v", err)
	}
	for _, path := range examples {
		if _, err := loadConfig(path); err != nil {
			t.Error(err)
		}
	}
}

// TestFullExampleHoldsEveryKey sees that a reader of full.yaml sees all there is.
func TestFullExampleHoldsEveryKey(t *testing.T) {
	text, err := os.ReadFile("../../testdata/config/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document map[string]any
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	for _, key := range keysOf(reflect.TypeOf(fileConfig{}), "") {
		var at any = document
		for _, name := range strings.Split(key, ".") {
			section, _ := at.(map[string]any)
			var ok bool
			if at, ok = section[name]; !ok {
				t.Errorf("full.yaml lacks %s", key)
				break
			}
		}
	}
}

func keysOf(t reflect.Type, path string) []string {
	var keys []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if f := t.Field(i).Type; f.Kind() == reflect.Struct {
			keys = append(keys, keysOf(f, path+name+".")...)
		} else {
			keys = append(keys, path+name)
		}
	}
	return keys
}

// TestPagesPointAtFiles sees that every link of a page to a file has one.
func TestPagesPointAtFiles(t *testing.T) {
	root := filepath.Join("..", "..")
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	decisions, err := filepath.Glob(filepath.Join(root, "docs", "decisions", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	pages = append(append(pages, decisions...), filepath.Join(root, "README.md"), filepath.Join(root, "CONTRIBUTING.md"))
	links := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, "://") {
				continue
			}
			links++
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), target)); err != nil {
				t.Errorf("%s points at %s, which isn't there", page, target)
			}
		}
	}
	if links == 0 {
		t.Error("no page points anywhere")
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)
