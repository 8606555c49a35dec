package main

import (
	"os"
	"path/filepath"
	"reflect"
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
