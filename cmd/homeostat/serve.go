package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/exporter-toolkit/web"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"github.com/homeostat/homeostat/actuators/dryrun"
	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
	"github.com/homeostat/homeostat/ingest/history"
	"github.com/homeostat/homeostat/ingest/remotewrite"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
	serving "github.com/homeostat/homeostat/serve"
	"github.com/homeostat/homeostat/store"
)

type serveFlags struct {
	config, storage, web, grpc, webConfig string
	logLevel, logFormat                   string
	insecure, profile, lifecycle          bool
	tokens                                string
	poll                                  time.Duration
	shards                                int
	record                                string
	history                               upstreamFlags
}

func newServe() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Receive samples, score them and serve what is found",
		Args:  exactly(0, "no argument"),
		RunE:  func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), cmd.ErrOrStderr()) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.config, "config.file", "", "configuration file")
	fl.DurationVar(&f.poll, "config.poll-interval", 30*time.Second, "how often the configuration is looked at for changes; 0 for never")
	fl.StringVar(&f.storage, "storage.path", "data", "directory of the store")
	fl.StringVar(&f.web, "web.listen-address", "127.0.0.1:9860", "address for HTTP")
	fl.StringVar(&f.grpc, "grpc.listen-address", defaultGRPCAddress, "address for gRPC")
	fl.StringVar(&f.webConfig, "web.config.file", "", "TLS and authentication for HTTP, as Prometheus' exporters have it")
	fl.StringVar(&f.tokens, "web.tokens.file", "", "tokens that let in, over HTTP and gRPC; see homeostat token new")
	fl.BoolVar(&f.lifecycle, "web.enable-lifecycle", false, "reload the configuration on POST /-/reload")
	fl.BoolVar(&f.insecure, "web.allow-insecure", false, "listen beyond loopback without authentication")
	fl.BoolVar(&f.profile, "web.enable-pprof", false, "serve /debug/pprof")
	fl.IntVar(&f.shards, "shards", min(runtime.GOMAXPROCS(0), 8), "number of shards; it changes no result")
	fl.StringVar(&f.logLevel, "log.level", "info", "debug, info, warn or error")
	fl.StringVar(&f.logFormat, "log.format", "logfmt", "logfmt or json")
	fl.StringVar(&f.record, "record", "", "write the exact inputs to this new file, for replay; the store must be empty")
	fl.StringVar(&f.history.url, "bootstrap.url", "", "Prometheus whose history warms the baselines of an empty store")
	f.history.last = model.Duration(14 * 24 * time.Hour)
	fl.Var(&f.history.last, "bootstrap.last", "how much history to learn from, such as 12h, 14d or 2w")
	fl.StringVar(&f.history.tokenFile, "bootstrap.bearer-token-file", "", "file with a token to send to that Prometheus")
	complete(cmd, "log.level", "debug", "info", "warn", "error")
	complete(cmd, "log.format", "logfmt", "json")
	return cmd
}

func (f *serveFlags) logger(w io.Writer) (*slog.Logger, error) {
	cfg := &promslog.Config{Level: promslog.NewLevel(), Format: promslog.NewFormat(), Writer: w}
	if err := cfg.Level.Set(f.logLevel); err != nil {
		return nil, fmt.Errorf("%w: --log.level: %w", errUsage, err)
	}
	if err := cfg.Format.Set(f.logFormat); err != nil {
		return nil, fmt.Errorf("%w: --log.format: %w", errUsage, err)
	}
	return promslog.New(cfg), nil
}

// checkAddress refuses to listen beyond loopback without authentication.
func (f *serveFlags) checkAddress(flag, address string, guarded bool) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%w: --%s %s: %w", errUsage, flag, address, err)
	}
	if f.insecure || guarded || isLoopback(host) {
		return nil
	}
	return fmt.Errorf("%w: --%s %s is reachable from elsewhere and asks for no password: "+
		"give --web.tokens.file, for HTTP alone --web.config.file, or --web.allow-insecure if something in front of it guards it",
		errUsage, flag, address)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// parts is a server, composed.
type parts struct {
	screen  *screen // that the log is written to
	log     *slog.Logger
	store   *store.Store
	inputs  *store.Recording // nil without --record
	engine  *engine.Engine
	loop    *loop.Loop
	board   *serving.Board
	pages   *serving.Pages
	service *serving.Service
	health  *health.Server
	guard   *serving.Guard // nil without --web.tokens.file
	reload  *reloader
	hangUp  chan os.Signal // caught from the start, so that none ends the process
}

func (f *serveFlags) run(ctx context.Context, w io.Writer) error {
	messages := newScreen(w)
	log, err := f.logger(messages)
	if err != nil {
		return err
	}
	cfg, err := loadConfig(f.config)
	if err != nil {
		return err
	}
	guard, err := f.makeGuard()
	if err != nil {
		return err
	}
	err = errors.Join(f.checkAddress("web.listen-address", f.web, guard != nil || f.webConfig != ""), f.checkAddress("grpc.listen-address", f.grpc, guard != nil))
	if err != nil {
		return err
	}
	storeCfg, err := cfg.storeConfig()
	if err != nil {
		return err
	}
	s, err := store.Open(f.storage, storeCfg)
	if err != nil {
		return err
	}
	p := &parts{screen: messages, log: log, store: s, guard: guard, hangUp: make(chan os.Signal, 1)}
	signal.Notify(p.hangUp, syscall.SIGHUP)
	defer signal.Stop(p.hangUp)
	if err = f.startRecording(p); err == nil {
		err = f.serve(ctx, cfg, p)
	}
	if p.inputs != nil {
		err = errors.Join(err, p.inputs.Close())
	}
	return errors.Join(err, s.Close())
}

// makeGuard makes the guard of --web.tokens.file, nil without one.
func (f *serveFlags) makeGuard() (*serving.Guard, error) {
	if f.tokens == "" {
		return nil, nil
	}
	if f.webConfig != "" {
		// Both read the one Authorization header, and each refuses the other's.
		has, err := hasUsers(f.webConfig)
		if err != nil {
			return nil, err
		}
		if has {
			return nil, fmt.Errorf("%w: --web.tokens.file does not go with basic_auth_users in %s: take one of them", errUsage, f.webConfig)
		}
	}
	tokens, err := loadTokens(f.tokens)
	if err != nil {
		return nil, err
	}
	return serving.NewGuard(tokens)
}

// hasUsers says whether a file of --web.config.file asks for passwords. What
// else is in it is the toolkit's to check.
func hasUsers(path string) (bool, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return false, fmt.Errorf("--web.config.file: %w", err)
	}
	var f struct {
		Users map[string]any `yaml:"basic_auth_users"`
	}
	if err := yaml.Unmarshal(b, &f); err != nil {
		return false, fmt.Errorf("--web.config.file %s: it is not YAML, or basic_auth_users is not a map", path)
	}
	return len(f.Users) > 0, nil
}

// startRecording begins a recording. Its replay starts from nothing, and so must
// what is recorded.
func (f *serveFlags) startRecording(p *parts) (err error) {
	switch {
	case f.record == "":
		return nil
	case f.history.url != "":
		return fmt.Errorf("%w: --record does not go with --bootstrap.url: the history would be missing from the recording", errUsage)
	case p.store.Last() > 0:
		return fmt.Errorf("%w: --record wants an empty store, and %s has records", errUsage, f.storage)
	}
	p.inputs, err = store.CreateRecording(f.record)
	return err
}

func (f *serveFlags) compose(cfg *fileConfig, p *parts) error {
	engineCfg, err := cfg.engineConfig()
	if err != nil {
		return err
	}
	if p.engine, err = engine.New(engineCfg, f.shards); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	rep, err := p.store.Restore(p.engine)
	if err != nil {
		return fmt.Errorf("restoring: %w", err)
	}
	p.log.Info("Restored", "pages", rep.Pages, "older", rep.Older, "lost", len(rep.Lost), "redone", rep.Redone, "clean", rep.Clean)
	p.board = serving.NewBoard()
	if err := p.board.Load(p.store); err != nil {
		return fmt.Errorf("reading the log: %w", err)
	}
	loopCfg, err := cfg.loopConfig()
	if err != nil {
		return err
	}
	loopCfg.Sinks = []loop.Sink{p.board}
	loopCfg.Actuator = dryrun.New(dryrun.Config{Log: p.log})
	loopCfg.Admit = p.store.Admit
	if tail := p.store.Tail(); tail != nil {
		loopCfg.Tail = tail
	}
	if p.inputs != nil {
		loopCfg.Recorder = p.inputs
	}
	p.loop = loop.New(loopCfg, p.engine, p.store)
	p.loop.Reconcile(p.engine.Unresolved())
	writeCfg, err := cfg.writeConfig()
	if err != nil {
		return err
	}
	writeCfg.Logger = p.log
	writeCfg.Identity = func(r *http.Request) string { return serving.Caller(r.Context()) }
	writeCfg.Busy = func(err error) bool { return errors.Is(err, loop.ErrBusy) }
	write, err := remotewrite.New(writeCfg, p.engine.Naming(), p.loop.Submit)
	if err != nil {
		return err
	}
	serviceCfg := serving.Config{
		Heartbeat: cfg.Watch.Heartbeat, MaxSubscribers: cfg.Watch.MaxSubscribers, Watermark: p.loop.Told, IncidentGap: engineCfg.IncidentGap,
	}
	if tail := p.store.Tail(); tail != nil {
		serviceCfg.Tail = tail
	}
	p.service = serving.NewService(serviceCfg, p.board, p.store, p.loop)
	p.reload = &reloader{
		config: f.config, tokens: f.tokens, log: p.log, now: time.Now, store: p.store, loop: p.loop, write: write, service: p.service,
		guard: p.guard, running: *cfg, successful: true, at: time.Now(),
	}
	p.reload.tried = p.reload.contents()
	registry := newRegistry(&figures{loop: p.loop, write: write, tail: p.store.Tail()})
	registry.MustRegister(serving.Figures{Board: p.board, Service: p.service, Guard: p.guard}, p.reload)
	p.health = health.NewServer()
	p.health.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING)
	p.pages = &serving.Pages{Write: write, Service: p.service, Guard: p.guard, Registry: registry, Profile: f.profile}
	if f.lifecycle {
		p.pages.Reload = p.reload.Reload
	}
	return nil
}

// serve composes the server and runs it until ctx ends. The loop is the last to
// end: whoever still waits for it is answered.
func (f *serveFlags) serve(ctx context.Context, cfg *fileConfig, p *parts) error {
	if err := f.compose(cfg, p); err != nil {
		return err
	}
	web, err := net.Listen("tcp", f.web)
	if err != nil {
		return fmt.Errorf("listening for HTTP: %w", err)
	}
	defer web.Close()
	rpc, err := net.Listen("tcp", f.grpc)
	if err != nil {
		return fmt.Errorf("listening for gRPC: %w", err)
	}
	defer rpc.Close()
	loopCtx, endLoop := context.WithCancel(context.WithoutCancel(ctx))
	defer endLoop()
	g, inner := errgroup.WithContext(ctx)
	// Whoever asks meanwhile is told what is waited for; writers come again.
	warm := make(chan struct{})
	g.Go(func() error {
		if err := f.bootstrap(inner, p); err != nil {
			if ctx.Err() != nil {
				return nil // asked to end: the next start learns from the beginning
			}
			return err
		}
		close(warm)
		err := p.loop.Run(loopCtx)
		if err == nil {
			err = p.store.EndInOrder()
		}
		return err
	})
	g.Go(func() error {
		// The first tick says what is too new, so that it must not be older than
		// the history took to read.
		select {
		case <-warm:
		case <-inner.Done():
			return nil
		}
		if err := loop.Tick(loopCtx, p.loop, nil); err != nil && loopCtx.Err() == nil && !errors.Is(err, loop.ErrStopped) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		// And it comes before the first sample.
		select {
		case <-warm:
		case <-inner.Done():
			return nil
		}
		if err := p.loop.Send(inner, engine.Tick{Now: time.Now().UnixMilli()}); err == nil {
			p.pages.Ready()
			p.health.SetServingStatus("", healthv1.HealthCheckResponse_SERVING)
			p.health.SetServingStatus(homeostatv1.HomeostatService_ServiceDesc.ServiceName, healthv1.HealthCheckResponse_SERVING)
			p.log.Info("Ready", "http", web.Addr().String(), "grpc", rpc.Addr().String())
		}
		return nil
	})
	g.Go(func() error { return p.reload.run(inner, p.hangUp, f.poll) })
	f.listen(inner, g, p, web, rpc, endLoop)
	return g.Wait()
}

// listen serves HTTP and gRPC until ctx ends, and then ends the loop.
func (f *serveFlags) listen(ctx context.Context, g *errgroup.Group, p *parts, httpListener, grpcListener net.Listener, endLoop func()) {
	pages := &http.Server{
		Handler: p.pages.Handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
	rpcs := grpc.NewServer(p.guard.ServerOptions()...)
	homeostatv1.RegisterHomeostatServiceServer(rpcs, p.service)
	healthv1.RegisterHealthServer(rpcs, p.health)
	reflection.Register(rpcs)
	g.Go(func() error {
		noSocket := false
		addresses := []string{f.web}
		err := web.Serve(httpListener, pages, &web.FlagConfig{
			WebListenAddresses: &addresses, WebSystemdSocket: &noSocket, WebConfigFile: &f.webConfig,
		}, p.log)
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	})
	g.Go(func() error {
		// Who is asked to end before serving began is told so by an error.
		if err := rpcs.Serve(grpcListener); !errors.Is(err, grpc.ErrServerStopped) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		p.log.Info("Ending")
		p.health.Shutdown()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err := pages.Shutdown(end)
		rpcs.Stop() // streams never end by themselves; subscribers resume
		p.service.Wait()
		endLoop()
		return err
	})
}

// bootstrap warms an empty store from a Prometheus' history.
func (f *serveFlags) bootstrap(ctx context.Context, p *parts) error {
	if f.history.url == "" {
		return nil
	}
	up, err := f.history.upstream("bootstrap.", time.Now())
	if err != nil {
		return err
	}
	if _, tick := p.engine.Open(); tick != 0 {
		p.log.Info("The store is not empty: nothing is learnt from history", "url", up.Name())
		return nil
	}
	src, err := history.Prometheus(ctx, history.Config{Naming: p.engine.Naming(), Sender: "bootstrap", Quiet: true, Grace: p.engine.Grace()}, up)
	if err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	d := loop.NewDriver(loop.Config{}, p.engine, p.store)
	defer d.Close()
	started, asked := time.Now(), 0
	counted := &counting{source: src}
	say := func() error {
		if asked++; asked%1000 == 1 {
			done, all := src.Progress()
			p.pages.Warming(fmt.Sprintf("learning from history, %.0f %% of it is read", 100*float64(done)/float64(max(1, all))))
		}
		return nil
	}
	p.pages.Warming("learning from history")
	line := startProgress(p.screen, "bootstrap", counted)
	err = drive(ctx, d, counted, say)
	line.stop()
	if err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	if err := d.Sweep(); err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	read, skipped := src.Samples()
	series, measurements := p.engine.Size()
	p.log.Info("Learnt from history", "samples", read, "skipped", skipped, "series", series, "measurements", measurements,
		"took", time.Since(started).Round(time.Millisecond).String())
	return nil
}
