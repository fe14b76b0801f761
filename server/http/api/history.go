package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"stele/notary"
	"stele/notary/proof/chainview"
)

// ChainReader reads what the chain proves about itself. Terms are all epochs after the pinned one;
// they follow from it. History is the path from one header to a later one, verified with the newer
// one's certificate; [chainview.ErrPending] means that one of them is not there or has none. Both
// give [chainview.ErrUnavailable] where the chain cannot be asked. It is safe for concurrent use.
type ChainReader interface {
	Terms(ctx context.Context) ([]chainview.Term, error)
	History(ctx context.Context, from, to uint64) (chainview.History, error)
}

// ChainEpochs is a stretch of the hand-overs from the first epoch of the chain to the present one.
type ChainEpochs struct {
	Chain  string       `json:"chain" doc:"The chain's id"`
	Newest uint64       `json:"newest" doc:"Number of the newest epoch; 0 is the one that trust roots pin"`
	Epochs []ChainEpoch `json:"epochs" doc:"Ascending, without gaps"`
	Next   *uint64      `json:"next,omitempty" doc:"Where to go on; absent when there are no more"`
}

// ChainEpoch is one hand-over.
type ChainEpoch struct {
	Number uint64     `json:"number"`
	Hash   string     `json:"hash" doc:"SM3 of the epoch's text, hex: what the next epoch names"`
	Signed string     `json:"signed" doc:"The signed epoch's exact canonical JSON, as it stands in evidence"`
	Since  *time.Time `json:"since,omitempty" doc:"Time of the first header that it certified, if any"`
	// First proves Since: a quorum of the epoch cosigned that time.
	First *ChainHeader `json:"first,omitempty" doc:"That header, with the certificate that proves it"`
}

// ChainHeader is a header with its certificate.
type ChainHeader struct {
	Header       string             `json:"header" doc:"Its text, which the members cosigned"`
	Cosignatures []ChainCosignature `json:"cosignatures" doc:"Of more than two thirds of the power, ascending"`
}

// ChainCosignature is one member's signature over a header's text.
type ChainCosignature struct {
	Validator int    `json:"validator" doc:"Its place in the epoch, from 0"`
	Signature []byte `json:"signature" doc:"SM2, DER"`
}

func certified(c *chainview.Certified) *ChainHeader {
	h := &ChainHeader{Header: c.Header.Text(), Cosignatures: []ChainCosignature{}}
	for _, s := range c.Cosignatures {
		h.Cosignatures = append(h.Cosignatures, ChainCosignature{s.Validator, s.Signature})
	}
	return h
}

// Bounds of one answer: a signed epoch has at most 128 KiB, some kilobytes as a rule.
const (
	maxEpochs     = 64
	maxEpochBytes = 1 << 20
)

type epochsInput struct {
	From uint64 `query:"from" default:"1" minimum:"1" maximum:"9007199254740991" doc:"Number of the first epoch"`
}

type epochsOutput struct {
	Cache string `header:"Cache-Control"`
	Body  ChainEpochs
}

// ChainHistory proves that one header of the chain is in the history of a later one.
type ChainHistory struct {
	Chain string   `json:"chain"`
	Older string   `json:"older" doc:"Text of the header with index from; of epoch 0 while it waits"`
	Newer string   `json:"newer" doc:"Text of the header with index to, as a quorum cosigned it"`
	Path  [][]byte `json:"path" doc:"Inclusion path (RFC 6962, SM3) of the older under the newer"`
}

type historyInput struct {
	Chain string `query:"chain" required:"true" maxLength:"50" doc:"The chain's id"`
	From  uint64 `query:"from" required:"true" maximum:"9007199254740991" doc:"Index of the older header"`
	To    uint64 `query:"to" required:"true" maximum:"9007199254740991" doc:"Index of the newer header"`
}

type historyOutput struct {
	Cache string `header:"Cache-Control"`
	Body  ChainHistory
}

func (a *API) registerHistory(public huma.API) {
	huma.Register(public, huma.Operation{OperationID: "get-chain-epochs", Method: http.MethodGet,
		Path: "/api/v1/chain/epochs", Tags: []string{"public"},
		Summary: "The chain's hand-overs: every signed epoch after the one that trust roots pin",
		Description: "Each is signed by more than two thirds of the epoch before it, so that whoever holds an " +
			"earlier " +
			"epoch can follow to the newest without trusting this service.",
		Errors: []int{422, 429, 503}}, a.epochs)
	huma.Register(public, huma.Operation{OperationID: "get-chain-history", Method: http.MethodGet,
		Path: "/api/v1/chain/history", Tags: []string{"public"},
		Summary: "Proof that two headers of the chain are of one history",
		Description: "Takes the indexes of the headers in two pieces of evidence. The path leads from the older " +
			"header " +
			"to the history root of the newer one, which a quorum cosigned.",
		Errors: []int{404, 422, 429, 503}}, a.history)
}

var errNoChain = notary.Errorf(notary.CodeUnavailable,
	"This server does not talk with the chain; another server of the service does.")

// chainFault is the answer to an error of a [ChainReader].
func (a *API) chainFault(ctx context.Context, err error) error {
	if errors.Is(err, chainview.ErrPending) {
		return problemOf(notary.Errorf(notary.CodeNotFound,
			"The chain has no header with this index, or none with a quorum yet."))
	}
	a.log.WarnContext(ctx, "the chain cannot be asked", "error", err)
	return problemOf(notary.Errorf(notary.CodeUnavailable, "The chain cannot be asked at the moment. Try again."))
}

func (a *API) epochs(ctx context.Context, in *epochsInput) (*epochsOutput, error) {
	if a.Chain == nil {
		return nil, problemOf(errNoChain)
	}
	terms, err := a.Chain.Terms(ctx)
	if err != nil {
		return nil, a.chainFault(ctx, err)
	}
	newest := uint64(len(terms))
	out := &epochsOutput{Cache: "public, max-age=10"}
	out.Body = ChainEpochs{Chain: a.ChainID, Newest: newest, Epochs: []ChainEpoch{}}
	size := 0
	for number := in.From; number <= newest; number++ {
		if len(out.Body.Epochs) == maxEpochs || size > maxEpochBytes {
			out.Body.Next = &number
			break
		}
		t := terms[number-1]
		raw, err := t.Signed.Marshal()
		if err != nil {
			return nil, a.fail(ctx, err)
		}
		e := ChainEpoch{Number: t.Signed.Number, Hash: t.Signed.Hash().String(), Signed: string(raw)}
		if since := t.Since(); !since.IsZero() {
			e.Since, e.First = &since, certified(t.First)
		}
		out.Body.Epochs = append(out.Body.Epochs, e)
		size += len(raw) // what proves its time is smaller: at most 64 signatures
	}
	return out, nil
}

func (a *API) history(ctx context.Context, in *historyInput) (*historyOutput, error) {
	switch {
	case a.Chain == nil:
		return nil, problemOf(errNoChain)
	case in.Chain != a.ChainID:
		return nil, problemOf(notary.Errorf(notary.CodeNotFound,
			"This service does not anchor on the chain %q.", in.Chain))
	case in.From > in.To:
		return nil, problemOf(notary.InvalidField("from", "The older header comes first: from is at most to."))
	}
	h, err := a.Chain.History(ctx, in.From, in.To)
	if err != nil {
		return nil, a.chainFault(ctx, err)
	}
	body := ChainHistory{Chain: a.ChainID, Older: h.Older.Text(), Newer: h.Newer.Text()}
	body.Path = make([][]byte, len(h.Path)) // never null
	for i := range h.Path {
		body.Path[i] = h.Path[i][:]
	}
	// It stays true, but a header that waits for its quorum will have another epoch line.
	return &historyOutput{Cache: "public, max-age=3600", Body: body}, nil
}
