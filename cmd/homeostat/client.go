package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/wire"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

const defaultGRPCAddress = "127.0.0.1:9861"

// remote is how a command reaches a running server.
type remote struct {
	address string
	ca      string
	tls     bool
	user    string
	secret  string // path of a file that holds the password
	token   string // path of a file that holds a token
	plain   bool   // send the token without TLS wherever to
}

func (r *remote) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&r.address, "address", defaultGRPCAddress, "gRPC address of the server")
	f.BoolVar(&r.tls, "tls", false, "use TLS")
	f.StringVar(&r.ca, "tls.ca-file", "", "file of the certificates to trust, instead of the system's")
	f.StringVar(&r.user, "user", "", "user for basic authentication")
	f.StringVar(&r.secret, "password-file", "", "file that holds the password")
	f.StringVar(&r.token, "token-file", "", "file that holds a token")
	f.BoolVar(&r.plain, "token-without-tls", false, "send the token unencrypted beyond this machine, where nobody else listens")
}

// bearer is the header of a token, on every call.
func (r *remote) bearer() (bearerAuth, error) {
	b, err := os.ReadFile(r.token)
	if err != nil {
		return bearerAuth{}, fmt.Errorf("reading --token-file: %w", err)
	}
	plain := r.plain
	if host, _, err := net.SplitHostPort(r.address); err == nil {
		plain = plain || isLoopback(host)
	}
	if !plain && !r.tls && r.ca == "" {
		return bearerAuth{}, fmt.Errorf("%w: %s is not this machine, and without --tls the token could be read on the way: "+
			"give --tls, or --token-without-tls where nobody else listens", errUsage, r.address)
	}
	return bearerAuth{"Bearer " + strings.TrimSpace(string(b)), plain}, nil
}

// bearerAuth is a credential that is sent over TLS, and plain where that is
// allowed.
type bearerAuth struct {
	header string
	plain  bool
}

// GetRequestMetadata returns the header.
func (a bearerAuth) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": a.header}, nil
}

// RequireTransportSecurity keeps the token off a plain connection.
func (a bearerAuth) RequireTransportSecurity() bool { return !a.plain }

// basic is the header of basic authentication, on every call.
func (r *remote) basic() (basicAuth, error) {
	b, err := os.ReadFile(r.secret)
	if err != nil {
		return basicAuth{}, fmt.Errorf("reading --password-file: %w", err)
	}
	pair := r.user + ":" + strings.TrimRight(string(b), "\r\n")
	return basicAuth{"Basic " + base64.StdEncoding.EncodeToString([]byte(pair))}, nil
}

// basicAuth is a credential that is sent over TLS only.
type basicAuth struct{ header string }

// GetRequestMetadata returns the header.
func (a basicAuth) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": a.header}, nil
}

// RequireTransportSecurity keeps the password off a plain connection.
func (basicAuth) RequireTransportSecurity() bool { return true }

// dial connects. The connection is made when it is first used.
func (r *remote) dial() (homeostatv1.HomeostatServiceClient, func(), error) {
	creds := insecure.NewCredentials()
	if r.tls || r.ca != "" {
		creds = credentials.NewClientTLSFromCert(nil, "")
		if r.ca != "" {
			var err error
			if creds, err = credentials.NewClientTLSFromFile(r.ca, ""); err != nil {
				return nil, nil, fmt.Errorf("reading --tls.ca-file: %w", err)
			}
		}
	}
	opts := []grpc.DialOption{grpc.WithTransportCredentials(creds)}
	switch {
	case r.user != "" && r.token != "":
		return nil, nil, fmt.Errorf("%w: --user and --token-file: want one of them", errUsage)
	case r.token != "":
		auth, err := r.bearer()
		if err != nil {
			return nil, nil, err
		}
		opts = append(opts, grpc.WithPerRPCCredentials(auth))
	case r.user != "":
		auth, err := r.basic()
		if err != nil {
			return nil, nil, err
		}
		opts = append(opts, grpc.WithPerRPCCredentials(auth))
	}
	conn, err := grpc.NewClient(r.address, opts...)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: --address %s: %w", errUsage, r.address, err)
	}
	return homeostatv1.NewHomeostatServiceClient(conn), func() { conn.Close() }, nil
}

// told turns a server's answer into an error for a person.
func (r *remote) told(err error) error {
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	if s.Code() == codes.Unavailable {
		return fmt.Errorf("no answer from %s: is homeostat serve running there? (%s)", r.address, s.Message())
	}
	return errors.New(s.Message())
}

func newWatch() *cobra.Command {
	var r remote
	var format, token, workload, minKind string
	var minScore float64
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Stream what a running server finds",
		Long:  "Stream what a running server finds. The stream is resumed after a disconnect, so that each event comes once.",
		Args:  exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(format, "table", "jsonl"); err != nil {
				return err
			}
			filter := &homeostatv1.Filter{Workload: workload, MinScore: minScore}
			if minKind != "" {
				for _, name := range strings.Split(minKind, ",") {
					k, err := engine.ParseKind(name)
					if err != nil {
						return fmt.Errorf("%w: --kind: %w", errUsage, err)
					}
					filter.Kinds = append(filter.Kinds, homeostatv1.Kind(k))
				}
			}
			client, hangUp, err := r.dial()
			if err != nil {
				return err
			}
			defer hangUp()
			out := &printer{w: cmd.OutOrStdout(), format: format}
			err = follow(cmd.Context(), client, filter, token, out, cmd.ErrOrStderr())
			if cmd.Context().Err() != nil {
				return nil
			}
			return r.told(err)
		},
	}
	r.flags(cmd)
	f := cmd.Flags()
	f.StringVarP(&format, "output", "o", "table", "table or jsonl")
	f.StringVar(&token, "resume-token", "", "go on after this token; 0 is the beginning")
	f.StringVar(&workload, "workload", "", "only this workload")
	f.StringVar(&minKind, "kind", "", "only these kinds, separated by commas")
	f.Float64Var(&minScore, "min-score", 0, "only what scored at least so much")
	return cmd
}

// follow writes the stream out until it ends for good.
func follow(ctx context.Context, client homeostatv1.HomeostatServiceClient, filter *homeostatv1.Filter, token string, out *printer, notes io.Writer) error {
	for {
		stream, err := client.Watch(ctx, &homeostatv1.WatchRequest{Filter: filter, ResumeToken: token}, grpc.WaitForReady(token != ""))
		if err != nil {
			return err
		}
		for {
			m, err := stream.Recv()
			if code := status.Code(err); token != "" && (code == codes.Unavailable || code == codes.DeadlineExceeded) {
				break // the server went away, or this side took nothing for long, as a terminal that is held does
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			token = m.GetResumeToken()
			if gap := m.GetGap(); gap != nil {
				fmt.Fprintf(notes, "homeostat: a gap: %d entries of the log are gone\n", gap.GetCount())
			}
			if err := out.message(m); err != nil {
				return err
			}
		}
		fmt.Fprintln(notes, "homeostat: the stream broke, resuming")
	}
}

// message writes one message of a stream.
func (p *printer) message(m *homeostatv1.WatchResponse) error {
	rec, err := recordOf(m)
	if err != nil || rec == nil {
		return err
	}
	seq, _ := strconv.ParseUint(m.GetResumeToken(), 10, 64)
	p.event(seq, rec)
	return p.err
}

// recordOf is the record in a message, nil when it is a heartbeat or a gap.
func recordOf(m *homeostatv1.WatchResponse) (engine.Record, error) {
	r := &homeostatv1.Record{}
	switch ev := m.GetEvent().(type) {
	case *homeostatv1.WatchResponse_Anomaly:
		r.Kind = &homeostatv1.Record_Anomaly{Anomaly: ev.Anomaly}
	case *homeostatv1.WatchResponse_Incident:
		r.Kind = &homeostatv1.Record_Incident{Incident: ev.Incident}
	case *homeostatv1.WatchResponse_Decision:
		r.Kind = &homeostatv1.Record_Decision{Decision: ev.Decision}
	case *homeostatv1.WatchResponse_Performed:
		r.Kind = &homeostatv1.Record_Performed{Performed: ev.Performed}
	case *homeostatv1.WatchResponse_Outcome:
		r.Kind = &homeostatv1.Record_Outcome{Outcome: ev.Outcome}
	case *homeostatv1.WatchResponse_ThresholdMove:
		r.Kind = &homeostatv1.Record_ThresholdMove{ThresholdMove: ev.ThresholdMove}
	case *homeostatv1.WatchResponse_Label:
		r.Kind = &homeostatv1.Record_Label{Label: ev.Label}
	case *homeostatv1.WatchResponse_Undo:
		r.Kind = &homeostatv1.Record_Undo{Undo: ev.Undo}
	default:
		return nil, nil
	}
	return wire.RecordFromProto(r)
}

func newExplain() *cobra.Command {
	var r remote
	var format string
	cmd := &cobra.Command{
		Use:   "explain ANOMALY",
		Short: "Say why an anomaly was one, and what became of it",
		Args:  exactly(1, "the ID of an anomaly"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(format, "table", "json"); err != nil {
				return err
			}
			client, hangUp, err := r.dial()
			if err != nil {
				return err
			}
			defer hangUp()
			answer, err := client.Explain(cmd.Context(), &homeostatv1.ExplainRequest{AnomalyId: args[0]})
			if err != nil {
				return r.told(err)
			}
			if format == "json" {
				return writeMessage(cmd.OutOrStdout(), answer)
			}
			for _, s := range answer.GetSentences() {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), s); err != nil {
					return err
				}
			}
			return nil
		},
	}
	r.flags(cmd)
	cmd.Flags().StringVarP(&format, "output", "o", "table", "table or json")
	return cmd
}

func newLabel() *cobra.Command {
	var r remote
	var by, note, request string
	cmd := &cobra.Command{
		Use:   "label ANOMALY false-alarm|true",
		Short: "Say that an anomaly was a false alarm, or right",
		Long: "Say that an anomaly was a false alarm, or right. The threshold of its series moves one step\n" +
			"from the next second on; homeostat undo takes the label back.",
		Args:              exactly(2, "the ID of an anomaly and false-alarm or true"),
		ValidArgsFunction: completeJudgement,
		RunE: func(cmd *cobra.Command, args []string) error {
			judgement, err := engine.ParseJudgement(args[1])
			if err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			client, hangUp, err := r.dial()
			if err != nil {
				return err
			}
			defer hangUp()
			answer, err := client.Label(cmd.Context(), &homeostatv1.LabelRequest{
				AnomalyId: args[0], Judgement: homeostatv1.Judgement(judgement), By: by, Note: note, RequestId: request,
			})
			if err != nil {
				return r.told(err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "labelled; to take it back: homeostat undo %s\n", answer.GetLabel().GetRequestId())
			return err
		},
	}
	r.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&by, "by", whoAmI(), "who says so")
	f.StringVar(&note, "note", "", "a word for those who come after")
	f.StringVar(&request, "request-id", "", "makes repeats count once; made up when empty")
	return cmd
}

func newUndo() *cobra.Command {
	var r remote
	var by string
	cmd := &cobra.Command{
		Use:   "undo LABEL",
		Short: "Take a label back, exactly",
		Args:  exactly(1, "the request ID of a label"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, hangUp, err := r.dial()
			if err != nil {
				return err
			}
			defer hangUp()
			if _, err := client.Undo(cmd.Context(), &homeostatv1.UndoRequest{LabelRequestId: args[0], By: by}); err != nil {
				return r.told(err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "taken back")
			return err
		},
	}
	r.flags(cmd)
	cmd.Flags().StringVar(&by, "by", whoAmI(), "who says so")
	return cmd
}

func whoAmI() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return os.Getenv("USER")
}

// writeMessage writes a message as JSON in a form that does not change from
// build to build, which protojson's own spacing does on purpose.
func writeMessage(w io.Writer, m proto.Message) error {
	b, err := protojson.Marshal(m)
	if err != nil {
		return err
	}
	var plain any
	if err := json.Unmarshal(b, &plain); err != nil {
		return err
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(plain)
}
