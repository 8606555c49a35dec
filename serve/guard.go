package serve

import (
	"context"
	"crypto/sha256"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// Guard lets in who holds a token with the role that a route needs, over HTTP
// and gRPC alike. A nil Guard lets everybody in.
type Guard struct {
	mu      sync.Mutex
	tokens  []Token
	streams map[*admitted]struct{}
	denials [numDenials]atomic.Uint64
}

// admitted is a running stream and who it was let in for.
type admitted struct {
	digest [sha256.Size]byte
	need   Role
	end    context.CancelCauseFunc
}

// denial is why somebody was not let in.
type denial uint8

const (
	denyMissing denial = iota + 1
	denyUnknown
	denyRole
	numDenials
)

var denialNames = [numDenials]string{"", "missing", "unknown", "role"}

var denialTexts = [numDenials]string{
	"", "a token is needed: authorization: Bearer hst_…", "the token is not known here", "the token does not have the role that this needs: ",
}

// NewGuard makes a guard over a set of tokens.
func NewGuard(tokens []Token) (*Guard, error) {
	g := &Guard{streams: map[*admitted]struct{}{}}
	return g, g.Replace(tokens)
}

// Replace puts another set of tokens in force. Streams that were let in for a
// token that is gone, or that lost its role, end at once. An error leaves the
// old set in force.
func (g *Guard) Replace(tokens []Token) error {
	if err := validateTokens(tokens); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tokens = slices.Clone(tokens)
	for a := range g.streams {
		if t := find(g.tokens, &a.digest); t == nil || !t.may(a.need) {
			a.end(errRevoked)
		}
	}
	return nil
}

var errRevoked = refuse(codes.Unauthenticated, "UNAUTHENTICATED", nil, "the token was taken back")

// judge finds who presents an authorization header and says whether they have
// the role.
func (g *Guard) judge(header []string, need Role) (t Token, why denial) {
	defer func() {
		if why != 0 {
			g.denials[why].Add(1)
		}
	}()
	if len(header) != 1 {
		return Token{}, denyMissing
	}
	scheme, secret, _ := strings.Cut(header[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return Token{}, denyMissing
	}
	if !wellFormed(secret) {
		return Token{}, denyUnknown
	}
	digest := sha256.Sum256([]byte(secret))
	g.mu.Lock()
	defer g.mu.Unlock()
	found := find(g.tokens, &digest)
	switch {
	case found == nil:
		return Token{}, denyUnknown
	case !found.may(need):
		return Token{}, denyRole
	}
	return *found, 0
}

type callerKey struct{}

// Caller is the name of the token that a request was let in for, empty when
// there is no guard.
func Caller(ctx context.Context) string {
	name, _ := ctx.Value(callerKey{}).(string)
	return name
}

// Allow is a handler behind the guard.
func (g *Guard) Allow(need Role, h http.Handler) http.Handler {
	if g == nil {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, why := g.judge(r.Header.Values("Authorization"), need)
		switch why {
		case 0:
			h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, t.Name)))
		case denyRole:
			w.Header().Set("WWW-Authenticate", `Bearer realm="homeostat", error="insufficient_scope", scope="`+string(need)+`"`)
			writeError(w, http.StatusForbidden, "forbidden", denialTexts[why]+string(need))
		case denyMissing:
			w.Header().Set("WWW-Authenticate", `Bearer realm="homeostat"`)
			writeError(w, http.StatusUnauthorized, "unauthorized", denialTexts[why])
		default:
			w.Header().Set("WWW-Authenticate", `Bearer realm="homeostat", error="invalid_token"`)
			writeError(w, http.StatusUnauthorized, "unauthorized", denialTexts[why])
		}
	})
}

// openMethod needs no token: it says that the server lives and nothing else.
const openMethod = healthv1.Health_Check_FullMethodName

// methodRoles says what a method needs. One that is not here needs admin.
var methodRoles = map[string]Role{
	homeostatv1.HomeostatService_Watch_FullMethodName:                RoleRead,
	homeostatv1.HomeostatService_ListAnomalies_FullMethodName:        RoleRead,
	homeostatv1.HomeostatService_ListIncidents_FullMethodName:        RoleRead,
	homeostatv1.HomeostatService_GetBaseline_FullMethodName:          RoleRead,
	homeostatv1.HomeostatService_Explain_FullMethodName:              RoleRead,
	homeostatv1.HomeostatService_WhatIf_FullMethodName:               RoleRead,
	homeostatv1.HomeostatService_Label_FullMethodName:                RoleLabel,
	homeostatv1.HomeostatService_Undo_FullMethodName:                 RoleLabel,
	healthv1.Health_List_FullMethodName:                              RoleRead,
	healthv1.Health_Watch_FullMethodName:                             RoleRead,
	"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      RoleRead,
	"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": RoleRead,
}

func roleOf(method string) Role {
	if r, ok := methodRoles[method]; ok {
		return r
	}
	return RoleAdmin
}

// admit is judge for a call of gRPC.
func (g *Guard) admit(ctx context.Context, method string) (Token, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	need := roleOf(method)
	t, why := g.judge(md.Get("authorization"), need)
	switch why {
	case 0:
		return t, nil
	case denyRole:
		return t, refuse(codes.PermissionDenied, "PERMISSION_DENIED", map[string]string{"role": string(need)}, "%s%s", denialTexts[why], need)
	}
	return t, refuse(codes.Unauthenticated, "UNAUTHENTICATED", nil, "%s", denialTexts[why])
}

// ServerOptions are the guard's interceptors; none when there is no guard.
func (g *Guard) ServerOptions() []grpc.ServerOption {
	if g == nil {
		return nil
	}
	return []grpc.ServerOption{grpc.UnaryInterceptor(g.unary), grpc.StreamInterceptor(g.stream)}
}

func (g *Guard) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	if info.FullMethod == openMethod {
		return handle(ctx, req)
	}
	t, err := g.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	return handle(context.WithValue(ctx, callerKey{}, t.Name), req)
}

func (g *Guard) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	t, err := g.admit(ss.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(context.WithValue(ss.Context(), callerKey{}, t.Name))
	defer end(nil)
	a := &admitted{digest: t.Digest, need: roleOf(info.FullMethod), end: end}
	g.mu.Lock()
	g.streams[a] = struct{}{}
	// The set may have been replaced since the stream was judged.
	if now := find(g.tokens, &a.digest); now == nil || !now.may(a.need) {
		end(errRevoked)
	}
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.streams, a)
	}()
	err = handle(srv, &guardedStream{ss, ctx})
	if context.Cause(ctx) == errRevoked {
		return errRevoked
	}
	return err
}

// guardedStream is a stream whose context the guard can end.
type guardedStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context is the stream's, with who is served.
func (s *guardedStream) Context() context.Context { return s.ctx }
