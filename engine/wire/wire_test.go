package wire_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/wire"
	"github.com/homeostat/homeostat/models"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// sameFloats compares by bits, so that NaN equals itself and -0 is not 0.
var sameFloats = cmp.Options{
	cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }),
	cmp.Comparer(labels.Equal),
}

// fill draws every field of v, so that a field added to the engine and not to
// the contract fails the round trip.
func fill(t *rapid.T, name string, v reflect.Value, utf8 bool) {
	draw := func(g *rapid.Generator[int64]) { v.SetInt(g.Draw(t, name)) }
	switch v.Interface().(type) {
	case *engine.Series:
		if s := drawSeries(t, utf8); s != nil {
			v.Set(reflect.ValueOf(s))
		}
		return
	case engine.Counterfactual: // without a name there is no value
		c := engine.Counterfactual{Text: drawText(t, name, utf8), Named: rapid.Bool().Draw(t, name)}
		if c.Named {
			c.Value = drawFloat(t, name)
		}
		v.Set(reflect.ValueOf(c))
		return
	case models.Score:
		draw(rapid.Int64Range(math.MinInt16, math.MaxInt16))
		return
	case engine.Kind:
		v.SetUint(uint64(rapid.IntRange(0, int(engine.KindVarianceChange)).Draw(t, name)))
		return
	case engine.Revision:
		v.SetUint(uint64(rapid.IntRange(0, int(engine.Closed)).Draw(t, name)))
		return
	case engine.IncidentState:
		v.SetUint(uint64(rapid.IntRange(0, int(engine.IncidentClosed)).Draw(t, name)))
		return
	case engine.ActionKind:
		v.SetUint(uint64(rapid.IntRange(0, int(engine.ActNotify)).Draw(t, name)))
		return
	case engine.Verb:
		v.SetUint(uint64(rapid.IntRange(0, int(engine.Act)).Draw(t, name)))
		return
	case engine.Result:
		v.SetUint(uint64(rapid.IntRange(0, int(engine.ResultUnknown)).Draw(t, name)))
		return
	case engine.Verdict:
		v.SetUint(uint64(rapid.IntRange(0, int(engine.VerdictError)).Draw(t, name)))
		return
	case engine.Channel:
		v.SetUint(uint64(rapid.SampledFrom([]engine.Channel{engine.ChannelMain, engine.ChannelSlow, engine.ChannelDeep}).Draw(t, name)))
		return
	case engine.Judgement:
		v.SetUint(uint64(rapid.IntRange(0, int(engine.JudgedTrue)).Draw(t, name)))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, name, v.Elem(), utf8)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Type().Field(i).Name, v.Field(i), utf8)
		}
	case reflect.Slice:
		if n := rapid.IntRange(0, 3).Draw(t, name); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				fill(t, name, v.Index(i), utf8)
			}
		}
	case reflect.String:
		v.SetString(drawText(t, name, utf8))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, name))
	case reflect.Int8: // Direction
		draw(rapid.Int64Range(-1, 1))
	case reflect.Int: // Dropped, Steps
		draw(rapid.Int64Range(0, math.MaxInt32))
	case reflect.Int64:
		if strings.HasPrefix(name, "Delay") { // a duration and no time
			draw(rapid.Int64Range(-1<<45, 1<<45))
			return
		}
		draw(rapid.OneOf(rapid.Int64(), rapid.Int64Range(1_700_000_000_000, 1_800_000_000_000),
			rapid.SampledFrom([]int64{0, 1, -1, 999, -999, 1000, -1000, math.MaxInt64, math.MinInt64})))
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		bits := v.Type().Bits()
		v.SetUint(rapid.Uint64().Draw(t, name) >> (64 - bits))
	case reflect.Float64:
		v.SetFloat(drawFloat(t, name))
	default:
		t.Fatalf("no generator for %s", v.Type())
	}
}

func drawFloat(t *rapid.T, name string) float64 {
	return rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{
		math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), math.Float64frombits(value.StaleNaN), math.SmallestNonzeroFloat64,
	})).Draw(t, name)
}

func drawText(t *rapid.T, name string, utf8 bool) string {
	hostile := rapid.SampledFrom([]string{"", "<script>alert(1)</script>", "\x1b[31m\r\n", "\x00", "\u202e", strings.Repeat("x", 300)})
	if utf8 {
		return rapid.OneOf(rapid.String(), hostile).Draw(t, name)
	}
	return string(rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, name))
}

func drawSeries(t *rapid.T, utf8 bool) *engine.Series {
	if utf8 && rapid.IntRange(0, 9).Draw(t, "none") == 0 {
		return nil
	}
	set := map[string]string{}
	for range rapid.IntRange(0, 4).Draw(t, "labels") {
		set[drawText(t, "label", utf8)] = drawText(t, "value", utf8)
	}
	return &engine.Series{
		ID:        engine.SeriesID(rapid.Uint64().Draw(t, "id")),
		Labels:    labels.FromMap(set),
		Workload:  engine.Workload(drawText(t, "workload", utf8)),
		Partition: rapid.Uint8().Draw(t, "partition"),
		Type:      engine.Type(rapid.IntRange(0, int(engine.TypeSummary)).Draw(t, "type")),
	}
}

// records has one value of every kind of record.
var records = []engine.Record{
	&engine.Anomaly{}, &engine.Incident{},
	engine.Decision{},
	engine.Outcome{},
	engine.ThresholdMove{},
	engine.Label{},
	engine.Undo{},
	engine.Performed{},
	engine.Tick{},
}

func drawRecord(t *rapid.T) engine.Record {
	kind := reflect.TypeOf(records[rapid.IntRange(0, len(records)-1).Draw(t, "kind")])
	v := reflect.New(kind).Elem()
	fill(t, kind.String(), v, true)
	return v.Interface().(engine.Record)
}

func TestRecordsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRecord(t)
		b, err := wire.MarshalRecord([]byte("before"), r)
		if err != nil {
			t.Fatalf("MarshalRecord(%+v): %v", r, err)
		}
		again, err := wire.MarshalRecord([]byte("before"), r)
		if err != nil || !bytes.Equal(b, again) {
			t.Fatalf("the second time the bytes are others: %x, %x, %v", b, again, err)
		}
		rest, ok := bytes.CutPrefix(b, []byte("before"))
		if !ok {
			t.Fatalf("it does not append: %x", b)
		}
		back, err := wire.UnmarshalRecord(rest)
		if err != nil {
			t.Fatalf("UnmarshalRecord: %v", err)
		}
		if d := cmp.Diff(r, back, sameFloats); d != "" {
			t.Fatalf("the record came back as another (-want +got):\n%s", d)
		}
	})
}

// TestRecordBytes holds the format: what is written today is read for ever.
func TestRecordBytes(t *testing.T) {
	a := &engine.Anomaly{
		ID: 0x0123456789abcdef, Revision: engine.Opened, Kind: engine.KindLatencyRise,
		Series: &engine.Series{
			ID: 0xfedcba9876543210, Labels: labels.FromStrings("__name__", "http_seconds:p99", "job", "api"),
			Workload: `job="api"`, Partition: 7, Type: engine.TypeGauge,
		},
		Epoch: 1_700_000_000_000, At: 1_700_000_000_250, OpenedAt: 1_700_000_000_250,
		Value: .64, Expected: .2, Lower: .1, Upper: .412, Direction: 1, Score: 400, Peak: 400,
		Threshold: engine.Threshold{Open: 320, Close: 192, Version: 2, Cause: "r1"}, Tier: "lean",
		Factors: []engine.Factor{{Name: "step", Score: 384, Text: "rose"}},
	}
	b, err := wire.MarshalRecord(nil, a)
	if err != nil {
		t.Fatal(err)
	}
	const want = "249 1066778ddb073d31cfe322919d553e1310098e5dbaa1f2589a28ab43b10b4dca"
	if got := fmt.Sprintf("%d %x", len(b), sha256.Sum256(b)); got != want {
		t.Errorf("the anomaly's length and hash are %s, want %s; its bytes are\n%x", got, want, b)
	}
	b, err = wire.MarshalRecord(nil, engine.Tick{Now: 1_700_000_000_250})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hex.EncodeToString(b), "4a0d0a0b0880e2cfaa061080e59a77"; got != want {
		t.Errorf("a tick is %s, want %s", got, want)
	}
}

func TestInputsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pool := make([]*engine.Series, rapid.IntRange(1, 4).Draw(t, "series"))
		for i := range pool {
			for pool[i] == nil {
				pool[i] = drawSeries(t, false)
			}
			if i > 0 && rapid.Bool().Draw(t, "collide") {
				pool[i].ID = pool[0].ID
			}
		}
		var enc wire.InputEncoder
		enc.SetBound(rapid.IntRange(1, 12).Draw(t, "bound"))
		var dec wire.InputDecoder
		for range rapid.IntRange(1, 10).Draw(t, "inputs") {
			ev := drawEvent(t, pool)
			b, err := enc.Append(nil, ev)
			if err != nil {
				t.Fatalf("Append(%+v): %v", ev, err)
			}
			back, err := dec.Input(b)
			if err != nil {
				t.Fatalf("Input: %v", err)
			}
			if d := cmp.Diff(ev, back, sameFloats); d != "" {
				t.Fatalf("the input came back as another (-want +got):\n%s", d)
			}
		}
	})
}

func drawEvent(t *rapid.T, pool []*engine.Series) engine.Event {
	events := []engine.Event{engine.Tick{}, engine.Label{}, engine.Undo{}, engine.Performed{}}
	if n := rapid.IntRange(0, 2*len(events)).Draw(t, "event"); n < len(events) {
		v := reflect.New(reflect.TypeOf(events[n])).Elem()
		fill(t, "event", v, true)
		return v.Interface().(engine.Event)
	}
	b := &engine.Batch{Sender: drawText(t, "sender", false), Quiet: rapid.Bool().Draw(t, "quiet")}
	any := rapid.SampledFrom(pool)
	for range rapid.IntRange(0, 6).Draw(t, "samples") {
		s := any.Draw(t, "of")
		b.Samples = append(b.Samples, engine.Sample{
			Series: s, At: rapid.Int64().Draw(t, "at"), Value: drawFloat(t, "value"), Partition: s.Partition,
		})
	}
	for range rapid.IntRange(0, 2).Draw(t, "histograms") {
		h := engine.HistogramSample{
			Series: any.Draw(t, "of"), At: rapid.Int64().Draw(t, "at"),
			Count: drawFloat(t, "count"), Sum: drawFloat(t, "sum"), Gauge: rapid.Bool().Draw(t, "gauge"),
		}
		for range rapid.IntRange(0, 3).Draw(t, "buckets") {
			h.Buckets = append(h.Buckets, engine.Bucket{Lower: drawFloat(t, "l"), Upper: drawFloat(t, "u"), Count: drawFloat(t, "n")})
		}
		b.Histograms = append(b.Histograms, h)
	}
	return b
}

// TestNumbersAreOfOneName sees that a number of the engine means in the contract
// what it means there.
func TestNumbersAreOfOneName(t *testing.T) {
	for _, c := range []struct {
		prefix string
		names  map[int32]string
		name   func(int) string
	}{
		{"KIND_", homeostatv1.Kind_name, func(i int) string { return engine.Kind(i).String() }},
		{"REVISION_", homeostatv1.Revision_name, func(i int) string { return engine.Revision(i).String() }},
		{"INCIDENT_STATE_", homeostatv1.IncidentState_name, func(i int) string { return engine.IncidentState(i).String() }},
		{"ACTION_KIND_", homeostatv1.ActionKind_name, func(i int) string { return engine.ActionKind(i).String() }},
		{"VERB_", homeostatv1.Verb_name, func(i int) string { return engine.Verb(i).String() }},
		{"RESULT_", homeostatv1.Result_name, func(i int) string { return engine.Result(i).String() }},
		{"VERDICT_", homeostatv1.Verdict_name, func(i int) string { return engine.Verdict(i).String() }},
		{"JUDGEMENT_", homeostatv1.Judgement_name, func(i int) string { return engine.Judgement(i).String() }},
	} {
		for i := 1; i < len(c.names); i++ {
			want := strings.TrimPrefix(c.names[int32(i)], c.prefix)
			if got := strings.ReplaceAll(strings.ToUpper(c.name(i)), "-", "_"); got != want {
				t.Errorf("%s%d is %q in the engine and %q in the contract", c.prefix, i, got, want)
			}
		}
		if past := nameOrNothing(c.name, len(c.names)); past != "" {
			t.Errorf("%s%d is %q in the engine and not in the contract", c.prefix, len(c.names), past)
		}
	}
}

// nameOrNothing is the name of a number, or nothing when it has none.
func nameOrNothing(name func(int) string, i int) (s string) {
	defer func() {
		if recover() != nil || strings.HasSuffix(s, "("+strconv.Itoa(i)+")") {
			s = ""
		}
	}()
	return name(i)
}

func TestHostileTextIsWritten(t *testing.T) {
	b, err := wire.MarshalRecord(nil, engine.Performed{Action: 1, Result: engine.ResultFailed, Detail: "bad \xff\xfe end"})
	if err != nil {
		t.Fatalf("a journal must not fail for what a stranger typed: %v", err)
	}
	r, err := wire.UnmarshalRecord(b)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.(engine.Performed).Detail; got != "bad \uFFFD end" {
		t.Errorf("the detail is %q", got)
	}
}

func TestWhatIsUnknownIsNamed(t *testing.T) {
	tick, err := wire.MarshalRecord(nil, engine.Tick{Now: 5})
	if err != nil {
		t.Fatal(err)
	}
	field := func(b []byte, n protowire.Number) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), 1)
	}
	message := func(m proto.Message) []byte {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	anomaly := func(a *homeostatv1.Anomaly) []byte {
		return message(&homeostatv1.Record{Kind: &homeostatv1.Record_Anomaly{Anomaly: a}})
	}
	inner := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), field(nil, 27))
	for _, c := range []struct {
		name    string
		b       []byte
		unknown bool
		want    string
	}{
		{"a kind of record", field(nil, 31), true, "field 31 of homeostat.v1.Record"},
		{"a field beside the kind", field(bytes.Clone(tick), 100), true, "field 100 of homeostat.v1.Record"},
		{"a field inside", inner, true, "field 27 of homeostat.v1.Anomaly"},
		{"a number of a kind", anomaly(&homeostatv1.Anomaly{Kind: 99}), true, "anomaly.kind: the number 99"},
		{"a number in a member", message(&homeostatv1.Record{Kind: &homeostatv1.Record_Incident{Incident: &homeostatv1.Incident{
			Members: []*homeostatv1.Member{{Kind: 77}},
		}}}), true, "member.kind: the number 77"},
		{"nothing", nil, false, "of no kind"},
		{"a score between steps", anomaly(&homeostatv1.Anomaly{Score: 1.001}), false, "anomaly.score: 1.001"},
		{"a score that is no number", anomaly(&homeostatv1.Anomaly{Score: math.NaN()}), false, "anomaly.score: NaN"},
		{"an id", anomaly(&homeostatv1.Anomaly{Id: "12"}), false, `anomaly.id: "12"`},
		{"an id of zeros", anomaly(&homeostatv1.Anomaly{Id: "0000000000000000"}), false, "anomaly.id"},
		{"a direction", anomaly(&homeostatv1.Anomaly{Direction: 2}), false, "anomaly.direction: 2"},
		{"a partition", anomaly(&homeostatv1.Anomaly{Series: &homeostatv1.Series{Partition: 256}}), false, "series.partition: 256"},
		{"labels out of order", anomaly(&homeostatv1.Anomaly{Series: &homeostatv1.Series{
			Labels: []*homeostatv1.LabelPair{{Name: "b"}, {Name: "a"}},
		}}), false, "series.labels"},
		{"a label twice", anomaly(&homeostatv1.Anomaly{Series: &homeostatv1.Series{
			Labels: []*homeostatv1.LabelPair{{Name: "a"}, {Name: "a"}},
		}}), false, "series.labels"},
		{"cut bytes", tick[:len(tick)-1], false, "decoding a record"},
	} {
		r, err := wire.UnmarshalRecord(c.b)
		if err == nil {
			t.Errorf("%s: no error, got %+v", c.name, r)
			continue
		}
		if errors.Is(err, wire.ErrUnknown) != c.unknown || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want it to name %q, unknown %v", c.name, err, c.want, c.unknown)
		}
	}
}

func TestTimesBeyondMillisecondsAreRefused(t *testing.T) {
	for _, c := range []struct {
		sec   int64
		nanos int32
		ok    bool
	}{
		{math.MaxInt64 / 1000, 807e6, true},
		{math.MaxInt64 / 1000, 808e6, false},
		{math.MaxInt64/1000 + 1, 0, false},
		{math.MinInt64/1000 - 1, 192e6, true},
		{math.MinInt64/1000 - 1, 191e6, false},
		{math.MinInt64/1000 - 2, 999e6, false},
		{0, 1, false},
		{0, -1e6, false},
		{0, 1e9, false},
		{math.MaxInt64, 999e6, false},
		{math.MinInt64, 0, false},
	} {
		m := wire.TickToProto(engine.Tick{Now: 1})
		m.NowTime.Seconds, m.NowTime.Nanos = c.sec, c.nanos
		r, err := wire.RecordFromProto(&homeostatv1.Record{Kind: &homeostatv1.Record_Tick{Tick: m}})
		if (err == nil) != c.ok {
			t.Errorf("%d s %d ns: %+v, %v; want ok %v", c.sec, c.nanos, r, err, c.ok)
			continue
		}
		if err == nil {
			back := wire.TickToProto(r.(engine.Tick))
			if !proto.Equal(back, m) {
				t.Errorf("%d s %d ns came back as %v", c.sec, c.nanos, back)
			}
		}
	}
}

func TestNilsAreErrors(t *testing.T) {
	for _, r := range []engine.Record{nil, (*engine.Anomaly)(nil), (*engine.Incident)(nil)} {
		if b, err := wire.MarshalRecord(nil, r); err == nil {
			t.Errorf("%T became %x", r, b)
		}
	}
	var enc wire.InputEncoder
	s := &engine.Series{ID: 1, Partition: 3}
	for _, ev := range []engine.Event{
		nil, (*engine.Batch)(nil),
		&engine.Batch{Samples: []engine.Sample{{}}},
		&engine.Batch{Samples: []engine.Sample{{Series: s, Partition: 4}}},
		&engine.Batch{Histograms: []engine.HistogramSample{{}}},
	} {
		if b, err := enc.Append(nil, ev); err == nil {
			t.Errorf("%+v became %x", ev, b)
		}
	}
}

func TestAnInputOutOfOrderIsNamed(t *testing.T) {
	s := &engine.Series{ID: 1, Labels: labels.FromStrings("a", "b")}
	batch := &engine.Batch{Samples: []engine.Sample{{Series: s}}}
	var enc wire.InputEncoder
	if _, err := enc.Append(nil, batch); err != nil {
		t.Fatal(err)
	}
	second, err := enc.Append(nil, batch)
	if err != nil {
		t.Fatal(err)
	}
	var dec wire.InputDecoder
	if ev, err := dec.Input(second); err == nil || !strings.Contains(err.Error(), "series 0 is not defined") {
		t.Errorf("got %+v, %v", ev, err)
	}
	if ev, err := dec.Input(nil); err == nil || !strings.Contains(err.Error(), "series 0 is not defined") {
		t.Errorf("after an error it reads on: %+v, %v", ev, err)
	}
}

func TestASeriesIsWrittenOnce(t *testing.T) {
	s := &engine.Series{ID: 1, Labels: labels.FromStrings("__name__", strings.Repeat("n", 500))}
	again := &engine.Series{ID: 1, Labels: s.Labels}
	var enc wire.InputEncoder
	first, err := enc.Append(nil, &engine.Batch{Samples: []engine.Sample{{Series: s, At: 1e12, Value: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	second, err := enc.Append(nil, &engine.Batch{Samples: []engine.Sample{{Series: again, At: 1e12, Value: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	if len(first) < 500 || len(second) > 40 {
		t.Errorf("%d bytes, then %d: want more than 500, then at most 40", len(first), len(second))
	}
}
