package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	serving "github.com/homeostat/homeostat/serve"
)

// tokensFile is the file of --web.tokens.file. It holds digests only: whoever
// reads it learns no token.
type tokensFile struct {
	Tokens []tokenEntry `yaml:"tokens"`
}

type tokenEntry struct {
	Name   string   `yaml:"name"`
	Roles  []string `yaml:"roles,flow"`
	SHA256 string   `yaml:"sha256"`
}

// loadTokens reads a file of tokens strictly.
func loadTokens(path string) ([]serving.Token, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	tokens, err := parseTokens(b)
	if err != nil {
		return nil, fmt.Errorf("tokens %s: %w", path, err)
	}
	return tokens, nil
}

// redacted is what looks like a token, cut or whole.
var redacted = regexp.MustCompile(`hst_[A-Za-z0-9_-]*`)

// parseTokens reads the text of a file of tokens. An error holds no token,
// wherever in the file somebody put one.
func parseTokens(b []byte) ([]serving.Token, error) {
	tokens, err := decodeTokens(b)
	if err != nil {
		return nil, errors.New(redacted.ReplaceAllString(err.Error(), "<secret>"))
	}
	return tokens, nil
}

func decodeTokens(b []byte) ([]serving.Token, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return nil, errors.New("it is not YAML")
	}
	if len(doc.Content) == 0 {
		return nil, errors.New("it is empty")
	}
	var f tokensFile
	if err := checkTokenKeys(doc.Content[0]); err != nil {
		return nil, err
	}
	if err := doc.Decode(&f); err != nil {
		return nil, errors.New("want tokens: a list of name, roles and sha256")
	}
	tokens := make([]serving.Token, 0, len(f.Tokens))
	for i, e := range f.Tokens {
		t := serving.Token{Name: e.Name}
		for _, r := range e.Roles {
			t.Roles = append(t.Roles, serving.Role(r))
		}
		digest, err := hex.DecodeString(e.SHA256)
		if err != nil || len(digest) != len(t.Digest) {
			return nil, fmt.Errorf("token %d: sha256 is not 64 hexadecimal digits", i+1)
		}
		copy(t.Digest[:], digest)
		tokens = append(tokens, t)
	}
	if _, err := serving.NewGuard(tokens); err != nil {
		return nil, err
	}
	return tokens, nil
}

// checkTokenKeys refuses keys that are unknown, in the file and in each entry.
func checkTokenKeys(n *yaml.Node) error {
	if err := checkKeys(n, reflect.TypeOf(tokensFile{}), ""); err != nil {
		return err
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		for _, entry := range n.Content[i+1].Content {
			if err := checkKeys(entry, reflect.TypeOf(tokenEntry{}), "tokens"); err != nil {
				return err
			}
		}
	}
	return nil
}

// line is how an entry stands in the file.
func (e tokenEntry) line() (string, error) {
	b, err := yaml.Marshal([]tokenEntry{e})
	return "  " + strings.ReplaceAll(strings.TrimSuffix(string(b), "\n"), "\n", "\n  "), err
}

func newToken() *cobra.Command {
	token := &cobra.Command{Use: "token", Short: "Make tokens that let programs and people in"}
	token.AddCommand(newTokenNew())
	return token
}

func newTokenNew() *cobra.Command {
	var name, out string
	var roles []string
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Make a token, and the lines for --web.tokens.file",
		Long: "Make a token, and the lines to put under tokens: in the file of --web.tokens.file. The token itself\n" +
			"is shown this once and is kept nowhere: the file holds its digest. --token-file writes it to a new\n" +
			"file instead. The roles are ingest (write samples), read, label (say what was right) and admin (all).",
		Example: "  homeostat token new --name prometheus --role ingest --token-file prometheus.token >>tokens.yaml",
		Args:    exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var wanted []serving.Role
			for _, r := range roles {
				wanted = append(wanted, serving.Role(r))
			}
			secret, t, err := serving.NewToken(name, wanted...)
			if err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			line, err := tokenEntry{Name: name, Roles: roles, SHA256: hex.EncodeToString(t.Digest[:])}.line()
			if err != nil {
				return err
			}
			if out != "" {
				if err := writeSecret(out, secret); err != nil {
					return err
				}
			} else if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n\nThat is the token. It is not shown again. For the file of tokens:\n\n", secret); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), line)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "who is to hold it")
	f.StringSliceVar(&roles, "role", nil, "what it is for: "+strings.Join(roleNames(), ", ")+"; several are separated by commas")
	f.StringVar(&out, "token-file", "", "write the token to this new file and print the lines only")
	complete(cmd, "role", roleNames()...)
	return cmd
}

// writeSecret writes a file that only its owner reads, and never over another.
func writeSecret(path, secret string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("--token-file: %w", err)
	}
	_, err = fmt.Fprintln(f, secret)
	return errors.Join(err, f.Close())
}

func roleNames() []string {
	var names []string
	for _, r := range serving.Roles() {
		names = append(names, string(r))
	}
	return slices.Clip(names)
}
