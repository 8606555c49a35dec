package serve

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/homeostat/homeostat/engine"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// keys are a guard with one token for each role, and their secrets.
func keys(t testing.TB) (*Guard, []Token, map[Role]string) {
	t.Helper()
	var tokens []Token
	secrets := map[Role]string{}
	for _, r := range Roles() {
		secret, token, err := NewToken("the-"+string(r), r)
		if err != nil {
			t.Fatal(err)
		}
		secrets[r] = secret
		tokens = append(tokens, token)
	}
	g, err := NewGuard(tokens)
	if err != nil {
		t.Fatal(err)
	}
	return g, tokens, secrets
}

// TestEveryRouteAsksForItsRole walks every route with every role, without a
// token, and with one that is not known.
func TestEveryRouteAsksForItsRole(t *testing.T) {
	g, _, secrets := keys(t)
	p := newDesk(t, Config{}).pages()
	p.Guard, p.Profile = g, true
	p.Reload = func() ([]string, error) { return nil, nil }
	p.Ready()
	h := p.Handler()
	all, admin := []Role{RoleIngest, RoleRead, RoleLabel, RoleAdmin}, []Role{RoleAdmin}
	read := []Role{RoleRead, RoleAdmin}
	table := map[string][]Role{
		"/-/ready": all, "/": all, "/-/reload": admin, "/metrics": read, "/api/v1/write": {RoleIngest, RoleAdmin},
		"/api/v1/anomalies": read, "/api/v1/incidents": read, "/api/v1/actions": read, "/api/v1/outcomes": read, "/api/v1/series": read,
		"/api/v1/what-if": read,
		"/api/v1/labels":  {RoleLabel, RoleAdmin}, "/api/v1/undo": {RoleLabel, RoleAdmin},
		"/debug/pprof/": admin, "/debug/pprof/profile": admin, "/debug/pprof/trace": admin, "/debug/pprof/cmdline": admin, "/debug/pprof/symbol": admin,
	}
	for _, r := range p.routes() {
		may, ok := table[r.path]
		if !ok {
			t.Errorf("%s is a route whose roles nobody thought of", r.path)
			continue
		}
		if r.path == "/debug/pprof/profile" || r.path == "/debug/pprof/trace" {
			continue // they take seconds; the guard is the same
		}
		for _, role := range Roles() {
			a := ask(t, h, "GET", r.path, "", "Authorization", "Bearer "+secrets[role])
			if got := a.code != 401 && a.code != 403; got != slices.Contains(may, role) {
				t.Errorf("%s with the role %s: %d", r.path, role, a.code)
			}
			if !slices.Contains(may, role) {
				want := fmt.Sprintf(`Bearer realm="homeostat", error="insufficient_scope", scope="%s"`, r.need)
				if a.code != 403 || a.header.Get("WWW-Authenticate") != want || a.ErrorType != "forbidden" {
					t.Errorf("%s with the role %s: %d %q", r.path, role, a.code, a.header.Get("WWW-Authenticate"))
				}
			}
		}
		a := ask(t, h, "GET", r.path, "")
		if a.code != 401 || a.header.Get("WWW-Authenticate") != `Bearer realm="homeostat"` {
			t.Errorf("%s without a token: %d %q", r.path, a.code, a.header.Get("WWW-Authenticate"))
		}
		stranger, _, _ := NewToken("stranger", RoleAdmin)
		a = ask(t, h, "GET", r.path, "", "Authorization", "Bearer "+stranger)
		if a.code != 401 || !strings.Contains(a.header.Get("WWW-Authenticate"), "invalid_token") {
			t.Errorf("%s with a stranger's token: %d %q", r.path, a.code, a.header.Get("WWW-Authenticate"))
		}
	}
	if a := ask(t, h, "GET", "/-/healthy", ""); a.code != http.StatusOK {
		t.Errorf("/-/healthy is closed: %d", a.code)
	}
	for _, path := range []string{"/api/v1/../../metrics", "//metrics", "/metrics/", "/api/v1/anomalies/"} {
		if a := ask(t, h, "GET", path, ""); a.code == 200 {
			t.Errorf("%s is a way around the guard", path)
		}
	}
}

// TestOnlyAWholeTokenLetsIn tries what is nearly one.
func TestOnlyAWholeTokenLetsIn(t *testing.T) {
	g, tokens, secrets := keys(t)
	s := secrets[RoleAdmin]
	digest := tokens[3].Digest
	for what, header := range map[string][]string{
		"none":               nil,
		"empty":              {""},
		"two":                {"Bearer " + s, "Bearer " + s},
		"no scheme":          {s},
		"another scheme":     {"Basic " + s},
		"a cut one":          {"Bearer " + s[:len(s)-1]},
		"a longer one":       {"Bearer " + s + "A"},
		"two spaces":         {"Bearer  " + s},
		"its digest":         {fmt.Sprintf("Bearer %x", digest)},
		"another last bit":   {"Bearer " + s[:len(s)-1] + string(s[len(s)-1]^1)},
		"without its prefix": {"Bearer " + strings.TrimPrefix(s, secretPrefix)},
	} {
		if _, why := g.judge(header, RoleRead); why == 0 {
			t.Errorf("%s lets in", what)
		}
	}
	for _, header := range []string{"Bearer " + s, "bearer " + s, "BEARER " + s} {
		if got, why := g.judge([]string{header}, RoleRead); why != 0 || got.Name != "the-admin" {
			t.Errorf("%s… does not let in", header[:6])
		}
	}
}

// A digest of a word that somebody thought up opens nothing: what can be guessed
// is not a token.
func TestADigestOfAPasswordOpensNothing(t *testing.T) {
	g, err := NewGuard([]Token{{Name: "lazy", Roles: []Role{RoleAdmin}, Digest: sha256.Sum256([]byte("password"))}})
	if err != nil {
		t.Fatal(err)
	}
	if _, why := g.judge([]string{"Bearer password"}, RoleRead); why != denyUnknown {
		t.Error("a password let in")
	}
}

func TestSetsOfTokensAreChecked(t *testing.T) {
	_, one, err := NewToken("one", RoleRead)
	if err != nil {
		t.Fatal(err)
	}
	_, two, _ := NewToken("two", RoleRead)
	many := make([]Token, MaxTokens+1)
	for i := range many {
		_, many[i], _ = NewToken(fmt.Sprint("t", i), RoleRead)
	}
	twin, namesake := two, two
	twin.Digest, namesake.Name = one.Digest, one.Name
	for what, tokens := range map[string][]Token{
		"none": nil, "too many": many, "one digest twice": {one, twin}, "one name twice": {one, namesake},
		"no name": {{Roles: one.Roles}}, "a hostile name": {{Name: "a\nb", Roles: one.Roles}}, "no role": {{Name: "a"}},
		"an unknown role": {{Name: "a", Roles: []Role{"root"}}}, "an empty role": {{Name: "a", Roles: []Role{""}}},
	} {
		if _, err := NewGuard(tokens); err == nil {
			t.Errorf("%s was taken", what)
		}
	}
	if _, err := NewGuard(many[:MaxTokens]); err != nil {
		t.Errorf("as many as may be: %v", err)
	}
	g, _ := NewGuard([]Token{one})
	if err := g.Replace(nil); err == nil || len(g.tokens) != 1 {
		t.Error("a bad set replaced a good one")
	}
}

// dialGuarded serves a desk over gRPC behind a guard, on a wire in memory.
func dialGuarded(t *testing.T, d *desk, g *Guard) (*grpc.Server, *grpc.ClientConn) {
	t.Helper()
	wire := bufconn.Listen(1 << 20)
	s := grpc.NewServer(g.ServerOptions()...)
	homeostatv1.RegisterHomeostatServiceServer(s, d.service)
	healthv1.RegisterHealthServer(s, health.NewServer())
	reflection.Register(s)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Serve(wire)
	}()
	conn, err := grpc.NewClient("passthrough:///desk", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return wire.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		s.Stop()
		<-ended
	})
	return s, conn
}

func with(ctx context.Context, secret string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+secret)
}

// TestEveryMethodAsksForItsRole walks every method that is served, with every
// role and without a token.
func TestEveryMethodAsksForItsRole(t *testing.T) {
	g, _, secrets := keys(t)
	server, conn := dialGuarded(t, newDesk(t, Config{}), g)
	walked := 0
	for service, info := range server.GetServiceInfo() {
		for _, m := range info.Methods {
			name := "/" + service + "/" + m.Name
			need, known := methodRoles[name]
			if !known && name != openMethod {
				t.Errorf("%s is a method whose role nobody thought of", name)
			}
			call := func(ctx context.Context) codes.Code {
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				s, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, name)
				if err == nil {
					s.SendMsg(&homeostatv1.WatchRequest{ResumeToken: "99"}) // refused once it is let in
					s.CloseSend()
					err = s.RecvMsg(&homeostatv1.WatchResponse{})
				}
				return status.Code(err)
			}
			for _, role := range Roles() {
				may := name == openMethod || role == need || role == RoleAdmin
				got := call(with(t.Context(), secrets[role]))
				if denied := got == codes.PermissionDenied || got == codes.Unauthenticated; denied == may {
					t.Errorf("%s with the role %s: %v", name, role, got)
				}
				if !may && got != codes.PermissionDenied {
					t.Errorf("%s with the role %s: %v, want PERMISSION_DENIED", name, role, got)
				}
			}
			if got := call(t.Context()); (got == codes.Unauthenticated) == (name == openMethod) {
				t.Errorf("%s without a token: %v", name, got)
			}
			walked++
		}
	}
	if walked < 10 {
		t.Errorf("only %d methods were walked", walked)
	}
	if got := roleOf("/homeostat.v1.HomeostatService/ApplyAnything"); got != RoleAdmin {
		t.Errorf("a method that nobody thought of needs %q, want admin", got)
	}
}

// TestATakenBackTokenEndsItsStreams replaces the tokens under two streams.
func TestATakenBackTokenEndsItsStreams(t *testing.T) {
	g, tokens, secrets := keys(t)
	d := newDesk(t, Config{})
	_, conn := dialGuarded(t, d, g)
	client := homeostatv1.NewHomeostatServiceClient(conn)
	watch := func(role Role) homeostatv1.HomeostatService_WatchClient {
		s, err := client.Watch(with(t.Context(), secrets[role]), &homeostatv1.WatchRequest{})
		if err == nil {
			_, err = s.Recv()
		}
		if err != nil {
			t.Fatalf("watching as %s: %v", role, err)
		}
		return s
	}
	gone, stays := watch(RoleRead), watch(RoleAdmin)
	if err := g.Replace(slices.DeleteFunc(slices.Clone(tokens), func(t Token) bool { return t.Roles[0] == RoleRead })); err != nil {
		t.Fatal(err)
	}
	if _, err := gone.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("the stream of a token that is gone: %v, want UNAUTHENTICATED", err)
	}
	d.add(trouble(1))
	if m, err := stays.Recv(); err != nil || m.GetAnomaly() == nil {
		t.Errorf("the other stream: %v, %v", m, err)
	}
	if _, err := client.ListAnomalies(with(t.Context(), secrets[RoleRead]), &homeostatv1.ListAnomaliesRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a call with the token that is gone: %v", err)
	}
}

// With a guard it is the token that says who labels, whatever the request says.
func TestTheTokenSaysWhoLabels(t *testing.T) {
	g, _, secrets := keys(t)
	d := newDesk(t, Config{})
	a := trouble(1)
	d.add(a)
	_, conn := dialGuarded(t, d, g)
	client := homeostatv1.NewHomeostatServiceClient(conn)
	got, err := client.Label(with(t.Context(), secrets[RoleLabel]), &homeostatv1.LabelRequest{
		AnomalyId: a.ID.String(), Judgement: homeostatv1.Judgement_JUDGEMENT_TRUE, By: "the boss", RequestId: "r",
	})
	if err != nil || got.GetLabel().GetBy() != "the-label" {
		t.Errorf("labelled by %q, %v", got.GetLabel().GetBy(), err)
	}
	p := d.pages()
	p.Guard = g
	undone := ask(t, p.Handler(), "POST", "/api/v1/undo", `{"label":"r","by":"the boss"}`, "Content-Type", "application/json", "Authorization", "Bearer "+secrets[RoleAdmin])
	if u := d.log.records[len(d.log.records)-1].(engine.Undo); undone.code != 200 || u.By != "the-admin" {
		t.Errorf("taken back by %q: %d", u.By, undone.code)
	}
}

// A refusal never repeats what was presented.
func TestARefusalRepeatsNoToken(t *testing.T) {
	g, _, secrets := keys(t)
	p := newDesk(t, Config{}).pages()
	p.Guard = g
	h := p.Handler()
	for _, secret := range []string{secrets[RoleIngest], "hst_" + strings.Repeat("A", 43), "guess"} {
		a := ask(t, h, "GET", "/metrics", "", "Authorization", "Bearer "+secret)
		var all bytes.Buffer
		a.header.Write(&all)
		if all.WriteString(a.body); strings.Contains(all.String(), secret) {
			t.Errorf("the refusal holds the token: %s", all.String())
		}
	}
}
