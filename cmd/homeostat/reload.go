package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/homeostat/homeostat/engine/loop"
	"github.com/homeostat/homeostat/ingest/remotewrite"
	serving "github.com/homeostat/homeostat/serve"
	"github.com/homeostat/homeostat/store"
)

// The configuration changes while the server runs, as far as that changes no
// result: a replay of the same input must give the same events. What would
// change one waits for a restart and is said to.

// reloader reads the files again and puts in force what may change live.
type reloader struct {
	config, tokens string // paths; empty for none
	log            *slog.Logger
	now            func() time.Time
	store          *store.Store
	loop           *loop.Loop
	write          *remotewrite.Handler
	service        *serving.Service
	guard          *serving.Guard

	mu      sync.Mutex
	running fileConfig        // in force
	tried   [sha256.Size]byte // digest of the contents that were tried last

	stateMu    sync.Mutex // beside mu, so that a scrape never waits for a reload
	successful bool
	at         time.Time
	waiting    bool // something waits for a restart
}

// liveKeys copies what may change live from a file into what is in force. What
// is not here waits for a restart: a key that is forgotten does no harm.
func liveKeys(running, file *fileConfig) {
	running.RemoteWrite = file.RemoteWrite
	running.Storage.MinFreeBytes = file.Storage.MinFreeBytes
	running.Queue = file.Queue
	running.Watch = file.Watch
}

// contents is the digest of the files as they are.
func (r *reloader) contents() (digest [sha256.Size]byte) {
	h := sha256.New()
	for _, path := range []string{r.config, r.tokens} {
		if path == "" {
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			// A file that is gone is a content of its own, told once.
			fmt.Fprintf(h, "error %v", err)
			continue
		}
		fmt.Fprintf(h, "%d:", len(b))
		h.Write(b)
	}
	h.Sum(digest[:0])
	return digest
}

// Reload reads the files and puts them in force as far as they may be, or, when
// anything is wrong with them, nothing. It returns what waits for a restart.
func (r *reloader) Reload() (warnings []string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reload()
}

// Poll reloads when the contents are not those that were tried last. So one that
// fails is told once, until it changes again.
func (r *reloader) Poll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.contents() != r.tried {
		r.reload() // it logs
	}
}

func (r *reloader) reload() (warnings []string, err error) {
	r.tried = r.contents()
	warnings, err = r.apply()
	r.stateMu.Lock()
	r.successful = err == nil
	if err == nil {
		r.at = r.now()
		r.waiting = len(warnings) > 0
	}
	r.stateMu.Unlock()
	if err != nil {
		r.log.Error("The configuration was not reloaded, the old one stays in force", "err", err)
		return nil, err
	}
	r.log.Info("The configuration was reloaded", "warnings", strings.Join(warnings, "; "))
	return warnings, nil
}

// apply reads everything first, so that what fails has changed nothing.
func (r *reloader) apply() ([]string, error) {
	file, err := loadConfig(r.config)
	if err != nil {
		return nil, err
	}
	write, err := file.writeConfig()
	if err != nil {
		return nil, err
	}
	var tokens []serving.Token
	if r.guard != nil {
		if tokens, err = loadTokens(r.tokens); err != nil {
			return nil, err
		}
	}
	next := r.running
	liveKeys(&next, file)
	// All of it was validated: these fail for nothing that a file can say.
	err = errors.Join(
		r.write.Reconfigure(write.SenderHeader, write.Limits, write.Replicas),
		r.store.SetMinFreeBytes(next.Storage.MinFreeBytes),
		r.loop.SetQueue(next.Queue.Batches, next.Queue.Samples),
	)
	if err != nil {
		return nil, err
	}
	r.service.SetWatch(next.Watch.Heartbeat, next.Watch.MaxSubscribers)
	if r.guard != nil {
		if err := r.guard.Replace(tokens); err != nil {
			return nil, err
		}
	}
	r.running = next
	var warnings []string
	for _, key := range changedKeys(reflect.ValueOf(next), reflect.ValueOf(*file), "") {
		warnings = append(warnings, key+" changed and takes effect after a restart")
	}
	return warnings, nil
}

// changedKeys names the keys in which two configurations differ.
func changedKeys(a, b reflect.Value, path string) []string {
	var keys []string
	for i := range a.NumField() {
		name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("yaml"), ",")
		switch x, y := a.Field(i), b.Field(i); {
		case x.Kind() == reflect.Struct:
			keys = append(keys, changedKeys(x, y, path+name+".")...)
		case !reflect.DeepEqual(x.Interface(), y.Interface()):
			keys = append(keys, path+name)
		}
	}
	return slices.Clip(keys)
}

// run reloads when asked to and when the contents changed, until ctx ends.
func (r *reloader) run(ctx context.Context, asked <-chan os.Signal, every time.Duration) error {
	var poll <-chan time.Time
	if every > 0 {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		poll = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-asked:
			r.Reload() // it logs
		case <-poll:
			r.Poll()
		}
	}
}

var (
	descReloaded   = prometheus.NewDesc("homeostat_config_last_reload_successful", "Whether the last reload of the configuration succeeded.", nil, nil)
	descReloadedAt = prometheus.NewDesc("homeostat_config_last_reload_success_timestamp_seconds", "When the configuration was last loaded with success.", nil, nil)
	descRestart    = prometheus.NewDesc("homeostat_config_restart_needed", "Whether a change of the configuration waits for a restart.", nil, nil)
)

// Describe lists the metrics.
func (r *reloader) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descReloaded, descReloadedAt, descRestart} {
		ch <- d
	}
}

// Collect reads the figures.
func (r *reloader) Collect(ch chan<- prometheus.Metric) {
	r.stateMu.Lock()
	defer r.stateMu.Unlock()
	for _, g := range []struct {
		desc  *prometheus.Desc
		value float64
	}{
		{descReloaded, boolFloat(r.successful)},
		{descReloadedAt, float64(r.at.UnixMilli()) / 1000},
		{descRestart, boolFloat(r.waiting)},
	} {
		ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, g.value)
	}
}
