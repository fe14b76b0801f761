package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/proof"
)

// What is here serves those that watch the log from outside, see docs/monitor.md.

// LogStatus is the newest anchored status statement; its members are those of a bundle's status.
type LogStatus struct {
	Statement []byte     `json:"statement" doc:"The status statement's exact bytes"`
	Signature []byte     `json:"signature" doc:"SM2 by the log's key, DER"`
	Key       string     `json:"key" doc:"Text of the log's key that signed"`
	Log       LogPlace   `json:"log" doc:"The statement's entry, which is the last one under the checkpoint"`
	Anchors   []Evidence `json:"anchors" doc:"Evidence for the checkpoint, as it stands in bundles"`
}

// Evidence is an anchor in its one spelling, which no encoder may change.
type Evidence json.RawMessage

// MarshalJSON implements json.Marshaler.
func (e Evidence) MarshalJSON() ([]byte, error) { return e, nil }

// Schema implements huma.SchemaProvider.
func (Evidence) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true,
		Examples: []any{map[string]any{"kind": proof.KindEgov}}}
}

func evidenceOf(anchors []json.RawMessage) []Evidence {
	out := make([]Evidence, len(anchors))
	for i, a := range anchors {
		out[i] = Evidence(a)
	}
	return out
}

// LogPlace is the place of an entry in the log.
type LogPlace struct {
	Index      uint64   `json:"index"`
	Path       [][]byte `json:"path" doc:"Inclusion path, hashes of 32 bytes"`
	Checkpoint string   `json:"checkpoint" doc:"A signed note"`
}

// AgencyStatus is the same with the tally of the caller's agency.
type AgencyStatus struct {
	LogStatus
	Tally TallyProof `json:"tally" doc:"What the map of the statement has under the key of the agency"`
}

// TallyProof shows an agency's tally in the map of a status statement.
type TallyProof struct {
	Proof []byte `json:"proof" doc:"A proof of the map, see docs/formats.md section 18"`
	Value string `json:"value,omitempty" doc:"The map's value, hex: the SM3 of the tally; absent where no entry is the agency's"`
}

// AgencyEntries are entries in the name of the caller's agency.
type AgencyEntries struct {
	Entries []LogEntry `json:"entries" doc:"In the order of the log, revocations among them"`
	Covered uint64     `json:"covered" doc:"From from to before this index, every entry of the agency is in the answer; go on here"`
	Size    uint64     `json:"size" doc:"Entries of the log; where covered is the same, there are no more"`
}

// LogEntry is an entry with its place.
type LogEntry struct {
	Index uint64 `json:"index"`
	Entry []byte `json:"entry" doc:"The leaf's data, see docs/formats.md section 4"`
}

// AnchoredCheckpoints are checkpoints with their evidence.
type AnchoredCheckpoints struct {
	Checkpoints []AnchoredCheckpoint `json:"checkpoints" doc:"The smallest first"`
}

// AnchoredCheckpoint is a checkpoint that a chain vouches for.
type AnchoredCheckpoint struct {
	Checkpoint string     `json:"checkpoint" doc:"A signed note"`
	Size       uint64     `json:"size"`
	Anchors    []Evidence `json:"anchors" doc:"Evidence for it, as it stands in bundles"`
}

const (
	maxOwnEntries = 1000 // of one answer
	maxAnchored   = 500
	cacheStatus   = "public, max-age=5"
)

type (
	statusOutput struct {
		Cache string `header:"Cache-Control"`
		Body  LogStatus
	}
	agencyStatusOutput struct {
		Cache string `header:"Cache-Control"`
		Body  AgencyStatus
	}
	entriesInput struct {
		From  uint64 `query:"from" maximum:"9007199254740991" doc:"Index of the first entry"`
		Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"1000"`
	}
	entriesOutput struct {
		Cache string `header:"Cache-Control"`
		Body  AgencyEntries
	}
	anchoredInput struct {
		After uint64 `query:"after" maximum:"9007199254740991" doc:"Only checkpoints of more entries; those of 0 and more if absent"`
	}
	anchoredOutput struct {
		Cache string `header:"Cache-Control"`
		Body  AnchoredCheckpoints
	}
	chainInput struct {
		SM3 string `path:"sm3" maxLength:"64" doc:"SM3 of the signer's certificate, hex, as entries have it"`
	}
	chainedOutput struct {
		Cache string `header:"Cache-Control"`
		Body  struct {
			Certificates [][]byte `json:"certificates" doc:"DER, the signer's first, each followed by its issuer, the root last"`
		}
	}
)

// registerStatus is part of the public side, behind its limit.
func (a *API) registerStatus(public huma.API) {
	huma.Register(public, huma.Operation{OperationID: "get-log-status", Method: http.MethodGet,
		Path: "/api/v1/log/status", Tags: []string{"log"},
		Summary: "The log's newest anchored status statement, with the evidence for its checkpoint",
		Errors:  []int{409, 429, 503}},
		func(ctx context.Context, _ *struct{}) (*statusOutput, error) {
			s, err := a.Archive.LogStatus(ctx)
			if err != nil {
				return nil, a.fail(ctx, err)
			}
			return &statusOutput{Cache: cacheStatus, Body: wireStatus(s)}, nil
		})
	huma.Register(public, huma.Operation{OperationID: "list-anchors", Method: http.MethodGet,
		Path: "/api/v1/log/anchors", Tags: []string{"log"},
		Summary: "The anchored checkpoints with their evidence, the smallest first", Errors: []int{422, 429, 503}},
		a.anchored)
	huma.Register(public, huma.Operation{OperationID: "get-certificates", Method: http.MethodGet,
		Path: "/api/v1/log/certificates/{sm3}", Tags: []string{"log"},
		Summary: "A signer's certificate and those above it", Errors: []int{404, 422, 429, 503}}, a.certificates)
}

// registerEntries has the calls for agencies and auditors that watch the log.
func (a *API) registerEntries(r chi.Router) {
	huma.Register(a.huma, a.private(notary.ScopeRead, huma.Operation{OperationID: "list-entries",
		Method: http.MethodGet, Path: "/api/v1/entries", Tags: []string{"log"},
		Summary: "The entries in the agency's name, in the order of the log", Errors: []int{422}}), a.ownEntries)
	huma.Register(a.huma, a.private(notary.ScopeRead, huma.Operation{OperationID: "get-entries-status",
		Method: http.MethodGet, Path: "/api/v1/entries/status", Tags: []string{"log"},
		Summary: "The log's newest anchored status statement, with the proof of how many entries are the agency's",
		Errors:  []int{409}}), a.ownStatus)
	op := a.private(notary.ScopeAudit, huma.Operation{OperationID: "get-entries-tile", Method: http.MethodGet,
		Path: "/api/v1/log/tile/entries/{tile}", Tags: []string{"log"},
		Summary:    "The entries under a tile of level 0, one after another: <index>[.p/<width>]",
		Parameters: []*huma.Param{{Name: "tile", In: "path", Required: true, Schema: &huma.Schema{Type: "string"}}}})
	op.Responses = a.withProblems(binaryResponse("application/octet-stream", "The entries"), append(op.Errors,
		http.StatusNotFound, http.StatusUnprocessableEntity)...)
	a.huma.OpenAPI().AddOperation(&op)
	r.Get("/api/v1/log/tile/entries/*", a.keyed(notary.ScopeAudit, http.HandlerFunc(a.entriesTile)))
}

func wireStatus(s proof.LogStatus) LogStatus {
	out := LogStatus{Statement: s.Statement, Signature: s.Signature, Key: s.Key,
		Anchors: evidenceOf(s.Anchors),
		Log:     LogPlace{Index: s.Log.Index, Path: [][]byte{}, Checkpoint: string(s.Log.Checkpoint)}}
	for _, h := range s.Log.Path {
		out.Log.Path = append(out.Log.Path, h[:])
	}
	return out
}

func (a *API) ownStatus(ctx context.Context, _ *struct{}) (*agencyStatusOutput, error) {
	agency, err := a.agencies.ref(ctx, caller(ctx).AgencyID)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	s, m, value, err := a.Archive.AgencyStatus(ctx, agency.Code)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	out := &agencyStatusOutput{Cache: "private, no-store"}
	out.Body.LogStatus, out.Body.Tally.Proof = wireStatus(s), m.Proof.Encode()
	if m.Proof.Present() {
		out.Body.Tally.Value = value.String()
	}
	return out, nil
}

func (a *API) ownEntries(ctx context.Context, in *entriesInput) (*entriesOutput, error) {
	list, covered, size, err := a.Archive.OwnEntries(ctx, caller(ctx).AgencyID, in.From, min(in.Limit, maxOwnEntries))
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	out := &entriesOutput{Cache: "private, no-store"}
	out.Body = AgencyEntries{Entries: []LogEntry{}, Covered: covered, Size: size}
	for _, e := range list {
		out.Body.Entries = append(out.Body.Entries, LogEntry{e.Index, e.Entry.Encode()})
	}
	return out, nil
}

func (a *API) anchored(ctx context.Context, in *anchoredInput) (*anchoredOutput, error) {
	list, err := a.Archive.Anchored(ctx, int64(in.After), maxAnchored)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	out := &anchoredOutput{Cache: "no-store"}
	out.Body.Checkpoints = []AnchoredCheckpoint{}
	for _, c := range list {
		out.Body.Checkpoints = append(out.Body.Checkpoints, AnchoredCheckpoint{Checkpoint: string(c.Note),
			Size: c.Size, Anchors: evidenceOf(c.Anchors)})
	}
	return out, nil
}

func (a *API) certificates(ctx context.Context, in *chainInput) (*chainedOutput, error) {
	d, err := sm.ParseDigest(in.SM3)
	if err != nil {
		return nil, a.fail(ctx, notary.InvalidField("sm3", "%s", sentence(err)))
	}
	chain, err := a.Archive.Chain(ctx, d)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	out := &chainedOutput{Cache: "public, max-age=86400"}
	out.Body.Certificates = chain
	return out, nil
}

func (a *API) entriesTile(w http.ResponseWriter, r *http.Request) {
	t, err := merkle.ParseEntriesPath("tile/entries/" + chi.URLParam(r, "*"))
	if err != nil {
		WriteProblem(w, notary.InvalidField("tile", "%s", sentence(err)))
		return
	}
	data, err := a.Archive.EntryBundle(r.Context(), t)
	if err != nil {
		a.refuse(r.Context(), w, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
	_, _ = w.Write(data)
}
