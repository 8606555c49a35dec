package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// commandLine runs a command line to its end.
func commandLine(args ...string) (stdout string, err error) {
	var out, notes bytes.Buffer
	root := newRoot()
	root.SetOut(&out)
	root.SetErr(&notes)
	root.SetArgs(args)
	finish(root)
	err = root.ExecuteContext(context.Background())
	return out.String(), err
}

// makeTokens makes a token for each of the roles with the command, and the file
// for the server.
func makeTokens(t *testing.T, roles ...string) (file string, secrets map[string]string) {
	t.Helper()
	dir := t.TempDir()
	file = filepath.Join(dir, "tokens.yaml")
	text := "tokens:\n"
	secrets = map[string]string{}
	for _, role := range roles {
		path := filepath.Join(dir, role+".token")
		lines, err := commandLine("token", "new", "--name", "the-"+role, "--role", role, "--token-file", path)
		if err != nil {
			t.Fatal(err)
		}
		text += lines
		secret, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		secrets[role] = strings.TrimSpace(string(secret))
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, secrets
}

func TestTokenNewShowsTheTokenOnce(t *testing.T) {
	out, err := commandLine("token", "new", "--name", "grafana", "--role", "read,label")
	if err != nil {
		t.Fatal(err)
	}
	secret := regexp.MustCompile(`hst_[A-Za-z0-9_-]{43}`).FindAllString(out, -1)
	if len(secret) != 1 {
		t.Fatalf("the token is there %d times:\n%s", len(secret), out)
	}
	_, lines, _ := strings.Cut(out, "For the file of tokens:\n")
	tokens, err := parseTokens([]byte("tokens:\n" + lines))
	if err != nil || len(tokens) != 1 || tokens[0].Name != "grafana" || len(tokens[0].Roles) != 2 {
		t.Errorf("its lines are not those of a file of tokens: %v, %v\n%s", tokens, err, lines)
	}
	again, err := commandLine("token", "new", "--name", "grafana", "--role", "read")
	if err != nil || strings.Contains(again, secret[0]) {
		t.Errorf("the next token is the same: %v", err)
	}

	path := filepath.Join(t.TempDir(), "t")
	if _, err := commandLine("token", "new", "--name", "a", "--role", "read", "--token-file", path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file of the token: %v, %v", info.Mode(), err)
	}
	if _, err := commandLine("token", "new", "--name", "a", "--role", "read", "--token-file", path); err == nil {
		t.Error("a token was written over another")
	}
	for _, args := range [][]string{{"--role", "read"}, {"--name", "a"}, {"--name", "a", "--role", "root"}, {"--name", "a b", "--role", "read"}} {
		if _, err := commandLine(append([]string{"token", "new"}, args...)...); !errors.Is(err, errUsage) {
			t.Errorf("token new %v: %v, want an error of usage", args, err)
		}
	}
}

func TestTokenFilesAreStrict(t *testing.T) {
	digest := strings.Repeat("ab", 32)
	for text, says := range map[string]string{
		"":                    "empty",
		"tokens: [":           "not YAML",
		"tokens: []":          "no token",
		"tokens: 3":           "want tokens",
		"token: []":           `did you mean "tokens"`,
		"tokens: [{nam: a}]":  `did you mean "name"`,
		"tokens: [{name: a}]": "sha256",
		"tokens: [{name: a, roles: [read], sha256: ab}]":                                  "64 hexadecimal digits",
		"tokens: [{name: a, roles: [reader], sha256: " + digest + "}]":                    "unknown",
		"tokens: [{name: a, roles: read, sha256: " + digest + "}]":                        "want tokens",
		"tokens: [{name: a, roles: [], sha256: " + digest + "}]":                          "no role",
		"tokens:\n- {name: a, roles: [read], sha256: " + digest + "}\n- 3":                "want tokens",
		"tokens:\n- &x {name: a, roles: [read], sha256: " + digest + "}\n- *x":            "two tokens",
		"tokens: [{name: a, roles: [read], sha256: " + digest + ", sha512: x}]":           "unknown",
		"tokens: [{name: a, roles: [read], sha256: hst_" + strings.Repeat("C", 43) + "}]": "64 hexadecimal digits",
	} {
		if _, err := parseTokens([]byte(text)); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "CCC") {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
}

// TestNoTokenLeaks drives a whole server with tokens, right and wrong, and with a
// file in which somebody put the token instead of its digest, and looks for them
// in everything that it says.
func TestNoTokenLeaks(t *testing.T) {
	file, secrets := makeTokens(t, "ingest", "read", "label", "admin")
	config := filepath.Join(t.TempDir(), "homeostat.yaml")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := runServer(t, "--web.tokens.file", file, "--config.file", config, "--log.level", "debug", "--web.enable-lifecycle", "--web.enable-pprof", "--config.poll-interval", "0")
	canary := "hst_" + strings.Repeat("CANARY-", 6) + "A"
	secrets["canary"] = canary
	var said strings.Builder
	for name, secret := range secrets {
		bearer := []string{"Authorization", "Bearer " + secret}
		for _, c := range [][2]string{
			{"GET", "/metrics"},
			{"GET", "/api/v1/anomalies"},
			{"GET", "/api/v1/series"},
			{"POST", "/api/v1/labels"},
			{"POST", "/-/reload"},
			{"GET", "/debug/pprof/cmdline"},
			{"GET", "/none"},
		} {
			code, text := r.call(t, c[0], c[1], "", bearer...)
			fmt.Fprintln(&said, code, text)
		}
		code, text := r.call(t, "POST", "/api/v1/write", writeBody(t, time.Now(), 1, "__name__", "up", "by", name), append(writeHeaders, bearer...)...)
		if fmt.Fprintln(&said, text); (code == 204) != (name == "ingest" || name == "admin") {
			t.Errorf("a write as %s: %d", name, code)
		}
		_, text = r.call(t, "POST", "/api/v1/write", "rubbish", append(writeHeaders, bearer...)...)
		fmt.Fprintln(&said, text)
		path := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := commandLine("explain", "1", "--address", r.grpc, "--token-file", path)
		fmt.Fprintln(&said, out, err)
		if letIn := err != nil && strings.Contains(err.Error(), "the anomaly 0000000000000001 is not known"); letIn != (name == "read" || name == "admin") {
			t.Errorf("explain as %s: %v", name, err)
		}
	}
	// Now the file holds secrets where digests belong, and then no YAML at all.
	for _, text := range []string{
		"tokens: [{name: a, roles: [read], sha256: " + canary + "}]\n", "tokens: [{" + canary + ": 1}]\n", canary + "\n", "tokens: [" + canary,
		"tokens: [{name: a, roles: [" + canary + "], sha256: " + strings.Repeat("ab", 32) + "}]\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		code, answer := r.call(t, "POST", "/-/reload", "", "Authorization", "Bearer "+secrets["admin"])
		if fmt.Fprintln(&said, answer); code != 500 {
			t.Errorf("a file with %q was loaded: %d", text, code)
		}
	}
	_, page := r.call(t, "GET", "/metrics", "", "Authorization", "Bearer "+secrets["read"])
	said.WriteString(page)
	if !strings.Contains(page, "homeostat_auth_denied_total") {
		t.Errorf("the old tokens are not in force any more: %s", page)
	}
	for name, secret := range secrets {
		for what, text := range map[string]string{"an answer": said.String(), "the log": r.log.String()} {
			if i := strings.Index(text, secret[4:]); i >= 0 {
				t.Errorf("the token of %s is in %s: …%s", name, what, text[max(0, i-200):i])
			}
		}
	}
}

// The client keeps a token off the wire where others could read it.
func TestTheClientSendsATokenWhereItIsSafe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("hst_x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		r    remote
		want string // in the error; empty for none
	}{
		{remote{address: "127.0.0.1:1", token: path}, ""},
		{remote{address: "[::1]:1", token: path}, ""},
		{remote{address: "localhost:1", token: path}, ""},
		{remote{address: "homeostat:9861", token: path}, "--tls"},
		{remote{address: "homeostat:9861", token: path, tls: true}, ""},
		{remote{address: "homeostat:9861", token: path, plain: true}, ""},
		{remote{address: "127.0.0.1:1", token: path, user: "a"}, "one of them"},
		{remote{address: "127.0.0.1:1", token: path + "none"}, "--token-file"},
	} {
		_, hangUp, err := c.r.dial()
		if hangUp != nil {
			hangUp()
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", c.r, err, c.want)
		}
	}
}

// Beyond loopback a server asks for tokens, or refuses to start.
func TestListeningBeyondLoopbackAsksForTokens(t *testing.T) {
	file, secrets := makeTokens(t, "read")
	open := []string{"--web.listen-address", "0.0.0.0:0", "--grpc.listen-address", "0.0.0.0:0"}
	if _, err := commandLine(append([]string{"serve", "--storage.path", filepath.Join(t.TempDir(), "d")}, open...)...); !errors.Is(err, errUsage) ||
		!strings.Contains(err.Error(), "--web.tokens.file") {
		t.Errorf("without tokens: %v", err)
	}
	r := runServer(t, append(open, "--web.tokens.file", file)...)
	r.http = strings.Replace(r.http, "[::]", "127.0.0.1", 1)
	if code, text := r.call(t, "GET", "/api/v1/anomalies", ""); code != 401 || !strings.Contains(text, "Www-Authenticate: Bearer") {
		t.Errorf("without a token: %d %s", code, text)
	}
	if code, _ := r.call(t, "GET", "/api/v1/anomalies", "", "Authorization", "Bearer "+secrets["read"]); code != 200 {
		t.Errorf("with one: %d", code)
	}
	if code, _ := r.call(t, "GET", "/-/healthy", ""); code != 200 {
		t.Errorf("/-/healthy: %d", code)
	}
}

// The toolkit's file keeps working, beside tokens as long as it asks for no
// password of its own.
func TestPasswordsOfTheToolkitKeepWorking(t *testing.T) {
	dir := t.TempDir()
	passwords := filepath.Join(dir, "web.yaml")
	// bcrypt of "secret" at its lowest cost.
	if err := os.WriteFile(passwords, []byte("basic_auth_users:\n  ann: "+bcryptOfSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := runServer(t, "--web.config.file", passwords)
	if code, _ := r.call(t, "GET", "/api/v1/anomalies", ""); code != 401 {
		t.Errorf("without a password: %d", code)
	}
	if code, _ := r.call(t, "GET", "/api/v1/anomalies", "", "Authorization", "Basic YW5uOnNlY3JldA=="); code != 200 {
		t.Errorf("with it: %d", code)
	}
	file, _ := makeTokens(t, "read")
	_, err := commandLine("serve", "--storage.path", filepath.Join(dir, "d"), "--web.config.file", passwords, "--web.tokens.file", file)
	if !errors.Is(err, errUsage) || !strings.Contains(err.Error(), "take one of them") {
		t.Errorf("passwords and tokens: %v", err)
	}
}

const bcryptOfSecret = "$2a$04$Ltk97qkxkSTwk0Egd/AnCu.CfjteJonwDWaUbqY7UQgiCtL/Ve6AG"
