package serve

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/homeostat/homeostat/engine"
)

// Role is what a token is for.
type Role string

// The roles. Admin includes the others; none of the others includes another.
const (
	RoleIngest Role = "ingest" // write samples
	RoleRead   Role = "read"   // see everything, change nothing
	RoleLabel  Role = "label"  // say what was right and wrong
	RoleAdmin  Role = "admin"  // everything
)

// anyRole is what every known token has.
const anyRole Role = ""

// Roles lists the roles.
func Roles() []Role { return []Role{RoleIngest, RoleRead, RoleLabel, RoleAdmin} }

// Token is what a server knows of a token: never the secret itself.
//
// The digest is a plain SHA-256. A slow hash guards secrets that people think
// up, which can be guessed; ours are 256 random bits, which cannot, and each
// request pays for the hash.
type Token struct {
	Name   string // who holds it: letters, digits, and ._- between
	Roles  []Role
	Digest [sha256.Size]byte // of the whole secret, prefix included
}

const (
	// secretPrefix lets people and scanners of leaked secrets recognise one.
	secretPrefix = "hst_"
	secretBytes  = 32
	// MaxTokens bounds the tokens of a server.
	MaxTokens = 256
)

// NewToken makes a token. The secret is known to nobody but the caller.
func NewToken(name string, roles ...Role) (secret string, t Token, err error) {
	var b [secretBytes]byte
	rand.Read(b[:])
	secret = secretPrefix + base64.RawURLEncoding.EncodeToString(b[:])
	t = Token{Name: name, Roles: roles, Digest: sha256.Sum256([]byte(secret))}
	return secret, t, t.validate()
}

// wellFormed says whether a text could be a secret of ours. Others are refused
// unseen, so that the digest of a word that can be guessed opens nothing.
func wellFormed(secret string) bool {
	rest, ok := strings.CutPrefix(secret, secretPrefix)
	b, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	return ok && err == nil && len(b) == secretBytes
}

var tokenName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$`)

func (t *Token) validate() error {
	if !tokenName.MatchString(t.Name) {
		return fmt.Errorf("token name %q: want 1 to 64 letters, digits and ._- between", clip(t.Name))
	}
	if t.Name == engine.ByMeasurement {
		return fmt.Errorf("token name %q: outcomes say so that nobody said them", t.Name)
	}
	if len(t.Roles) == 0 {
		return fmt.Errorf("token %s has no role", t.Name)
	}
	for _, r := range t.Roles {
		if !slices.Contains(Roles(), r) {
			return fmt.Errorf("token %s: the role %q is unknown: want ingest, read, label or admin", t.Name, clip(string(r)))
		}
	}
	return nil
}

// validateTokens says what is wrong with a set of tokens.
func validateTokens(tokens []Token) error {
	if len(tokens) == 0 {
		return errors.New("there is no token: nobody could do anything")
	}
	if len(tokens) > MaxTokens {
		return fmt.Errorf("%d tokens: want at most %d", len(tokens), MaxTokens)
	}
	for i := range tokens {
		t := &tokens[i]
		if err := t.validate(); err != nil {
			return err
		}
		for k := range tokens[:i] {
			if tokens[k].Name == t.Name {
				return fmt.Errorf("two tokens are named %s", t.Name)
			}
			if tokens[k].Digest == t.Digest {
				return fmt.Errorf("the tokens %s and %s are the same", tokens[k].Name, t.Name)
			}
		}
	}
	return nil
}

// may says whether a token has a role.
func (t *Token) may(need Role) bool {
	return need == anyRole || slices.Contains(t.Roles, need) || slices.Contains(t.Roles, RoleAdmin)
}

// find is the token of a digest, nil when there is none. It looks at every
// token whatever it finds, so that the time it takes tells nothing.
func find(tokens []Token, digest *[sha256.Size]byte) *Token {
	var found *Token
	for i := range tokens {
		if subtle.ConstantTimeCompare(tokens[i].Digest[:], digest[:]) == 1 {
			found = &tokens[i]
		}
	}
	return found
}
