//go:build e2e

package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// TestE2EPrometheusToken runs what deploy/compose runs, without the containers: a
// real Prometheus with its prometheus.yml and flags, homeostat with its flags and
// tokens made as its README says. Only host names and paths are replaced. Then
// the token is taken back, and given again.
func TestE2EPrometheusToken(t *testing.T) {
	t.Parallel()
	compose := readCompose(t)
	dir := t.TempDir()
	place := strings.NewReplacer(
		"/etc/homeostat/", dir+"/homeostat/", "/run/secrets/", dir+"/", "/etc/prometheus/", dir+"/", "=/prometheus", "="+dir+"/tsdb", "=/data", "="+dir+"/data",
	)
	moved := func(args []string, more ...string) (out []string) {
		for _, a := range args {
			if !strings.Contains(a, "listen-address") {
				out = append(out, place.Replace(a))
			}
		}
		return append(out, more...)
	}
	if err := os.Mkdir(filepath.Join(dir, "homeostat"), 0o700); err != nil {
		t.Fatal(err)
	}
	tokens := filepath.Join(dir, "homeostat", "tokens.yaml")
	mine := run(t, "token", "new", "--name", "me", "--role", "read,label,admin", "--token-file", filepath.Join(dir, "me.token"))
	theirs := run(t, "token", "new", "--name", "prometheus", "--role", "ingest,read", "--token-file", filepath.Join(dir, "homeostat.token"))
	write := func(name string, parts ...[]byte) {
		text := []byte{}
		for _, p := range parts {
			text = append(text, p...)
		}
		if err := errors.Join(os.WriteFile(name+"~", text, 0o600), os.Rename(name+"~", name)); err != nil {
			t.Fatal(err)
		}
	}
	write(tokens, []byte("tokens:\n"), mine, theirs)

	web, rpc := freeAddress(t), freeAddress(t)
	port := func(address string) string { return address[strings.LastIndex(address, ":"):] }
	h := start(t, nil, program(t), moved(compose.Services["homeostat"].Command,
		"--web.listen-address=0.0.0.0"+port(web), "--grpc.listen-address=0.0.0.0"+port(rpc), "--config.poll-interval=200ms", "--web.enable-lifecycle")...)
	secret := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	page := func() (metrics, error) {
		body, err := get(web, "/metrics", secret("me.token"))
		if err != nil {
			return nil, err
		}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		return parser.TextToMetricFamilies(strings.NewReader(body))
	}
	eventually(t, 30*time.Second, "homeostat is ready", func() error {
		_, err := get(web, "/-/ready", secret("me.token"))
		return err
	})

	config, err := os.ReadFile(filepath.Join(composeFolder, "prometheus.yml"))
	if err != nil {
		t.Fatal(err)
	}
	source := freeAddress(t)
	text := strings.NewReplacer("homeostat:9860", web, "localhost:9090", source, "15s", "1s").Replace(place.Replace(string(config)))
	write(filepath.Join(dir, "prometheus.yml"), []byte(text))
	p := start(t, nil, newestPrometheus(t), moved(compose.Services["prometheus"].Command, "--web.listen-address="+source)...)

	taken := func() (float64, error) {
		m, err := page()
		if err != nil {
			return 0, err
		}
		return m.sum("homeostat_ingest_samples_total", "outcome", "received"), nil
	}
	grows := func(what string) {
		t.Helper()
		before, err := taken()
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, 60*time.Second, what, func() error {
			now, err := taken()
			if err == nil && now <= before {
				err = fmt.Errorf("%v samples, as before; Prometheus says %s", now, tailOf(strings.Join(p.lines(), "\n")))
			}
			return err
		})
	}
	grows("Prometheus writes with its token")
	eventually(t, 60*time.Second, "Prometheus scrapes homeostat with its token", func() error {
		body, err := get(source, `/api/v1/query?query=up{job="homeostat"}`, "")
		if err == nil && !strings.Contains(body, `,"1"]`) {
			err = fmt.Errorf("it says %s", body)
		}
		return err
	})
	eventually(t, 60*time.Second, "the baselines are listed", func() error {
		body, err := get(web, `/api/v1/series?limit=1&match[]=up{job="homeostat"}`, secret("me.token"))
		if err == nil && !strings.Contains(body, `"job":"homeostat"`) {
			err = fmt.Errorf("the list is %s", body)
		}
		return err
	})
	if out := run(t, "watch", "--help"); !strings.Contains(string(out), "--token-file") {
		t.Error("watch takes no token")
	}

	// Taken back, it opens nothing; put back, it does.
	write(tokens, []byte("tokens:\n"), mine)
	denied := regexp.MustCompile(`homeostat_auth_denied_total\{reason="unknown"\} (\d+)`)
	eventually(t, 60*time.Second, "the token that was taken back is refused", func() error {
		body, err := get(web, "/metrics", secret("me.token"))
		if err != nil {
			return err
		}
		if m := denied.FindStringSubmatch(body); m != nil {
			if n, _ := strconv.Atoi(m[1]); n > 0 {
				return nil
			}
		}
		return errors.New("nobody was refused")
	})
	write(tokens, []byte("tokens:\n"), mine, theirs)
	grows("Prometheus writes again")

	p.stop(t)
	m, err := page()
	if err != nil {
		t.Fatal(err)
	}
	received := m.sum("homeostat_ingest_samples_total", "outcome", "received")
	scored := m.sum("homeostat_ingest_samples_total", "outcome", "scored")
	absorbed, rejected := m.sum("homeostat_ingest_absorbed_total"), m.sum("homeostat_ingest_rejected_total")
	if received == 0 || received != scored+absorbed+rejected {
		t.Errorf("received %v, scored %v, absorbed %v, rejected %v don't balance", received, scored, absorbed, rejected)
	}
	h.stop(t)
	for _, name := range []string{"me.token", "homeostat.token"} {
		for _, line := range append(h.lines(), p.lines()...) {
			if strings.Contains(line, secret(name)) {
				t.Errorf("a log holds %s: %s", name, line)
			}
		}
	}
}

// get fetches a page with a token; anything but 200 is an error.
func get(address, path, secret string) (string, error) {
	request, err := http.NewRequest(http.MethodGet, "http://"+address+strings.NewReplacer("{", "%7B", "}", "%7D", `"`, "%22").Replace(path), nil)
	if err != nil {
		return "", err
	}
	if secret != "" {
		request.Header.Set("Authorization", "Bearer "+secret)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	return string(body), err
}
