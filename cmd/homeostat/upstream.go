package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"

	"github.com/homeostat/homeostat/ingest/history"
)

// upstreamFlags say whose history is read, for replay and for the bootstrap of
// serve.
type upstreamFlags struct {
	url       string
	last      model.Duration // 14d, 2w, 1h30m
	match     []string
	tokenFile string
}

// maxToken bounds the bytes of a token.
const maxToken = 64 << 10

// upstream is what the flags say, whose names begin with prefix. It is read up
// to end.
func (f *upstreamFlags) upstream(prefix string, end time.Time) (history.Upstream, error) {
	up := history.Upstream{URL: f.url, End: end, Last: time.Duration(f.last), Selectors: f.match}
	if f.last == 0 {
		return up, fmt.Errorf("%w: --%slast 0: want a duration such as 12h, 14d or 2w", errUsage, prefix)
	}
	if err := up.Validate(); err != nil {
		return up, fmt.Errorf("%w: --%s%w", errUsage, prefix, err)
	}
	if f.tokenFile == "" {
		return up, nil
	}
	var err error
	if up.Client, err = bearer(f.url, f.tokenFile); err != nil {
		return up, fmt.Errorf("--%sbearer-token-file: %w", prefix, err)
	}
	return up, nil
}

// bearer is a client that sends the token in a file, which is read again for
// each request, as tokens change. It follows no redirect: that would carry the
// token to somebody else.
func bearer(address, file string) (*http.Client, error) {
	if link, err := url.Parse(address); err == nil && link.User != nil {
		return nil, fmt.Errorf("%w: the address names a user already", errUsage)
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxToken {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", file, info.Size(), maxToken)
	}
	token, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(string(token)) == "" {
		return nil, errors.New(file + " is empty")
	}
	cfg := promconfig.HTTPClientConfig{BearerTokenFile: file, EnableHTTP2: true}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return promconfig.NewClientFromConfig(cfg, "homeostat")
}
