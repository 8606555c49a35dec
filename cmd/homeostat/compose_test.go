package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// composeFile is what deploy/compose/compose.yaml uses of compose's format; a
// field that is not here is a slip, or a field to look up and add.
type composeFile struct {
	Name     string                    `yaml:"name"`
	Services map[string]composeService `yaml:"services"`
	Volumes  map[string]any            `yaml:"volumes"`
}

type composeService struct {
	Image string `yaml:"image"`
	Build struct {
		Context    string `yaml:"context"`
		Dockerfile string `yaml:"dockerfile"`
	} `yaml:"build"`
	Command         []string `yaml:"command"`
	Volumes         []string `yaml:"volumes"`
	Ports           []string `yaml:"ports"`
	ReadOnly        bool     `yaml:"read_only"`
	CapDrop         []string `yaml:"cap_drop"`
	SecurityOpt     []string `yaml:"security_opt"`
	Restart         string   `yaml:"restart"`
	StopGracePeriod string   `yaml:"stop_grace_period"`
	DependsOn       []string `yaml:"depends_on"`
}

const composeFolder = "../../deploy/compose"

func readCompose(t *testing.T) composeFile {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(composeFolder, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	var f composeFile
	if err := decoder.Decode(&f); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestTheComposeFileFitsItsParts(t *testing.T) {
	f := readCompose(t)
	for name, s := range f.Services {
		for _, v := range s.Volumes {
			parts := strings.Split(v, ":")
			source, isPath := strings.CutPrefix(parts[0], "./")
			switch {
			case len(parts) < 2 || !strings.HasPrefix(parts[1], "/"):
				t.Errorf("%s: the volume %q has no place", name, v)
			case !isPath:
				if _, ok := f.Volumes[source]; !ok {
					t.Errorf("%s: the volume %s is not declared", name, source)
				}
			case len(parts) != 3 || parts[2] != "ro":
				t.Errorf("%s: %s can be written to", name, v)
			case !strings.HasPrefix(source, "secrets/"):
				if _, err := os.Stat(filepath.Join(composeFolder, source)); err != nil {
					t.Errorf("%s mounts what is not there: %v", name, err)
				}
			}
		}
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s publishes %s beyond this machine", name, p)
			}
		}
		for _, other := range s.DependsOn {
			if _, ok := f.Services[other]; !ok {
				t.Errorf("%s waits for %s, which is no service", name, other)
			}
		}
	}
	h := f.Services["homeostat"]
	if !h.ReadOnly || !slices.Equal(h.CapDrop, []string{"ALL"}) {
		t.Error("homeostat may do more than it needs")
	}
	if _, err := os.Stat(filepath.Join(composeFolder, h.Build.Context, h.Build.Dockerfile)); err != nil {
		t.Error(err)
	}
}

// TestTheComposeFlagsAreOurs parses the flags of the service as the binary would,
// and sees that they ask for tokens where it listens for all.
func TestTheComposeFlagsAreOurs(t *testing.T) {
	args := readCompose(t).Services["homeostat"].Command
	cmd, rest, err := newRoot().Find(args)
	if err != nil || cmd.Name() != "serve" {
		t.Fatalf("%v is not a command of ours: %v", args, err)
	}
	if err := cmd.ParseFlags(rest); err != nil {
		t.Fatal(err)
	}
	if cmd.Flags().NArg() > 0 {
		t.Errorf("%v are no flags", cmd.Flags().Args())
	}
	for flag, want := range map[string]string{
		"web.listen-address": "0.0.0.0:9860", "grpc.listen-address": "0.0.0.0:9861", "web.tokens.file": "/etc/homeostat/tokens.yaml",
	} {
		if got := cmd.Flags().Lookup(flag).Value.String(); got != want {
			t.Errorf("--%s is %s, want %s", flag, got, want)
		}
	}
}

// The image is built by the Go of go.mod, runs as nobody in particular, and the
// Prometheus beside it is the one that the tests run.
func TestTheImageIsOfOurVersions(t *testing.T) {
	read := func(path string) string {
		text, err := os.ReadFile(filepath.Join("..", "..", path))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read("go.mod"))[1]
	dockerfile := read("deploy/Dockerfile")
	for _, want := range []string{"FROM golang:" + version + " AS build", "FROM scratch", "CGO_ENABLED=0", "\nUSER 65532:65532\n"} {
		if !strings.Contains(dockerfile, want) {
			t.Errorf("the Dockerfile lacks %q", want)
		}
	}
	if !slices.Contains(strings.Fields(read("deploy/Dockerfile.dockerignore")), "deploy/compose/secrets") {
		t.Error("tokens would be sent to the builder of the image")
	}
	peer := regexp.MustCompile(`github.com/prometheus/prometheus v0\.(\d)(\d\d)\.(\d+)`).FindStringSubmatch(read("benchmarks/peers/prometheus/go.mod"))
	want := "prom/prometheus:v" + peer[1] + "." + strings.TrimPrefix(peer[2], "0") + "." + peer[3]
	if got := readCompose(t).Services["prometheus"].Image; got != want {
		t.Errorf("compose runs %s, the tests %s", got, want)
	}
}
