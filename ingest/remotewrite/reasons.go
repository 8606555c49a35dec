package remotewrite

import (
	"net/http"
	"strconv"
)

// Protocol is a version of remote write.
type Protocol uint8

// The protocols.
const (
	V1 Protocol = iota
	V2
	NumProtocols
)

// String is the protocol as metrics name it.
func (p Protocol) String() string {
	return [NumProtocols]string{"remote_write_v1", "remote_write_v2"}[p]
}

// Reject says why the handler refused a series, and its samples with it. What
// the engine refuses carries an engine.Reason.
type Reject uint8

// The rejects.
const (
	RejectNone       Reject = iota
	RejectReference         // 2.0: a reference is beyond the symbols, or they are not in pairs
	RejectNoName            // no metric name
	RejectLabelName         // a label without a name
	RejectUTF8              // a name or value is not UTF-8
	RejectDuplicate         // one label name twice
	RejectLabels            // more labels than Limits.Labels
	RejectNameBytes         // a name longer than Limits.NameBytes
	RejectValueBytes        // a value longer than Limits.ValueBytes
	RejectEmpty             // 2.0: a series with no sample, histogram, exemplar or metadata
	NumRejects
)

var rejectNames = [NumRejects]string{
	"none", "bad_reference", "no_name", "empty_label_name", "bad_utf8", "duplicate_label",
	"label_limit", "name_limit", "value_limit", "empty_series",
}

// String is the reject as metrics and error bodies name it.
func (r Reject) String() string { return rejectNames[r] }

// Refusal says why a request was refused whole: nothing of it was taken.
type Refusal uint8

// The refusals.
const (
	RefusedNone            Refusal = iota
	RefusedMethod                  // not POST
	RefusedContentType             // not a protobuf message of remote write
	RefusedContentEncoding         // not Snappy
	RefusedCompressedSize          // more than Limits.CompressedBytes
	RefusedDecodedSize             // more than Limits.DecodedBytes
	RefusedSlow                    // the body took longer than Config.ReadTimeout
	RefusedBody                    // the body could not be read
	RefusedSnappy                  // not a Snappy block
	RefusedMalformed               // not a protobuf message
	RefusedSymbols                 // 2.0: the first symbol is not ""
	RefusedSeriesLimit             // more than Limits.Series
	RefusedSampleLimit             // more than Limits.Samples
	RefusedSymbolLimit             // more than Limits.Symbols
	RefusedBucketLimit             // more than Limits.Buckets
	RefusedMemory                  // Config.InFlightBytes are in use
	RefusedBusy                    // Config.Busy: the queue is full, or the disk
	RefusedStopped                 // the loop has ended
	NumRefusals
)

var refusals = [NumRefusals]struct {
	name   string
	status int
	text   string
}{
	RefusedNone:            {"none", http.StatusNoContent, ""},
	RefusedMethod:          {"method", http.StatusMethodNotAllowed, "send POST"},
	RefusedContentType:     {"content_type", http.StatusUnsupportedMediaType, "Content-Type is not supported: want application/x-protobuf, for 2.0 with ;proto=io.prometheus.write.v2.Request"},
	RefusedContentEncoding: {"content_encoding", http.StatusUnsupportedMediaType, "Content-Encoding is not supported: want snappy"},
	RefusedCompressedSize:  {"compressed_size", http.StatusRequestEntityTooLarge, "the body is larger than the limit"},
	RefusedDecodedSize:     {"decoded_size", http.StatusRequestEntityTooLarge, "the decompressed body would be larger than the limit"},
	RefusedSlow:            {"slow_body", http.StatusRequestTimeout, "the body did not arrive in time"},
	RefusedBody:            {"body", http.StatusBadRequest, "the body could not be read"},
	RefusedSnappy:          {"snappy", http.StatusBadRequest, "the body is not a Snappy block"},
	RefusedMalformed:       {"malformed", http.StatusBadRequest, "the body is not the protobuf message that Content-Type says"},
	RefusedSymbols:         {"symbols", http.StatusBadRequest, `the symbols do not begin with ""`},
	RefusedSeriesLimit:     {"series_per_request_limit", http.StatusBadRequest, "more series or metadata entries than the limit for one request"},
	RefusedSampleLimit:     {"sample_limit", http.StatusRequestEntityTooLarge, "more samples than the limit for one request"},
	RefusedSymbolLimit:     {"symbol_limit", http.StatusRequestEntityTooLarge, "more symbols than the limit for one request"},
	RefusedBucketLimit:     {"bucket_limit", http.StatusRequestEntityTooLarge, "more histogram buckets than the limit for one request"},
	RefusedMemory:          {"memory", http.StatusServiceUnavailable, "too much is being received, send again later"},
	RefusedBusy:            {"busy", http.StatusServiceUnavailable, "busy, send again later"},
	RefusedStopped:         {"stopped", http.StatusServiceUnavailable, "stopping, send again later"},
}

// String is the refusal as metrics name it.
func (r Refusal) String() string { return refusals[r].name }

// Status is the HTTP status that the refusal is answered with.
func (r Refusal) Status() int { return refusals[r].status }

// refused is a Refusal with its details, as an error.
type refused struct {
	why    Refusal
	detail string
}

func (e *refused) Error() string {
	if e.detail == "" {
		return refusals[e.why].text
	}
	return refusals[e.why].text + ": " + e.detail
}

func refuse(why Refusal, detail string) *refused { return &refused{why, detail} }

func overLimit(why Refusal, limit int) *refused {
	return refuse(why, "the limit is "+strconv.Itoa(limit))
}

func malformed(next int) *refused { return refuse(RefusedMalformed, fault(next).Error()) }
