package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"stele/notary"
	"stele/notary/proof/chainview"
)

// Chain is the state of the chain. Anchors and who cosigned them are verified against the
// first epoch that the trust roots pin; heights and reachability are what nodes say.
type Chain struct {
	Chain      string           `json:"chain" doc:"The chain's id"`
	At         time.Time        `json:"at" doc:"When this was taken; it may be some seconds old"`
	Height     uint64           `json:"height" doc:"Blocks"`
	Anchors    uint64           `json:"anchors" doc:"Anchor headers since the beginning"`
	Pending    uint64           `json:"pending" doc:"Of them without a quorum of cosignatures"`
	Epoch      uint64           `json:"epoch" doc:"Number of the list of members in force"`
	TotalPower uint64           `json:"totalPower" doc:"Evidence needs cosignatures of more than two thirds of it"`
	Validators []ChainValidator `json:"validators"`
	Logs       []ChainLog       `json:"logs"`
	Newest     []ChainAnchor    `json:"newest" doc:"The newest anchors, newest first"`
	Nodes      []ChainNode      `json:"nodes" doc:"Nodes that this service anchors through"`
}

// ChainValidator is a member of the chain.
type ChainValidator struct {
	Name         string     `json:"name"`
	Power        uint64     `json:"power"`
	Cosigned     int        `json:"cosigned" doc:"Of the newest anchors that have their quorum, how many it cosigned"`
	Of           int        `json:"of" doc:"How many those are"`
	LastCosigned *time.Time `json:"lastCosigned,omitempty" doc:"Time of the newest of them"`
}

// ChainLog is a log that the chain admits.
type ChainLog struct {
	Origin string `json:"origin"`
	Size   uint64 `json:"size" doc:"As of the newest anchors; 0 when it is not among them"`
	Root   string `json:"root,omitempty" doc:"Hex"`
}

// ChainAnchor is one anchor header.
type ChainAnchor struct {
	Index    uint64     `json:"index"`
	Height   uint64     `json:"height"`
	Time     time.Time  `json:"time" doc:"Median of the members' clocks"`
	Epoch    uint64     `json:"epoch"`
	Logs     []ChainLog `json:"logs" doc:"The checkpoints that it anchors"`
	Cosigned []string   `json:"cosigned" doc:"Members in its certificate; none while it waits for a quorum"`
	Silent   []string   `json:"silent" doc:"Members of its epoch that are not in it"`
}

// ChainNode is a node as this service sees it.
type ChainNode struct {
	Name      string `json:"name" doc:"As the node says; empty when it has not answered yet"`
	Reachable bool   `json:"reachable"`
	Height    uint64 `json:"height"`
	Behind    uint64 `json:"behind" doc:"Blocks that other nodes have and it lacks"`
}

type chainOutput struct {
	Cache string `header:"Cache-Control"`
	Body  Chain
}

// registerChain is part of the public side, behind its limit.
func (a *API) registerChain(public huma.API) {
	huma.Register(public, huma.Operation{OperationID: "get-chain", Method: http.MethodGet, Path: "/api/v1/chain",
		Tags:    []string{"public"},
		Summary: "The chain: members, who cosigned what, the newest anchors", Errors: []int{429, 503}}, a.chain)
	a.registerHistory(public)
}

func (a *API) chain(ctx context.Context, _ *struct{}) (*chainOutput, error) {
	if a.Explore == nil {
		return nil, problemOf(notary.Errorf(notary.CodeUnavailable,
			"This server does not talk with the chain; another server of the service does."))
	}
	v, err := a.Explore(ctx)
	if err != nil {
		a.log.WarnContext(ctx, "the chain cannot be shown", "error", err)
		return nil, problemOf(notary.Errorf(notary.CodeUnavailable,
			"The chain cannot be asked at the moment. Records are received and logged all the same."))
	}
	return &chainOutput{Cache: "public, max-age=2", Body: chainOf(v)}, nil
}

func chainOf(v chainview.View) Chain {
	out := Chain{Chain: v.Chain, At: v.At, Height: v.Height, Anchors: v.Headers, Pending: v.Pending, Epoch: v.Epoch,
		TotalPower: v.Total,
		Validators: []ChainValidator{}, Logs: []ChainLog{}, Newest: []ChainAnchor{}, Nodes: []ChainNode{}}
	for _, m := range v.Validators {
		w := ChainValidator{Name: m.Name, Power: m.Power, Cosigned: m.Cosigned, Of: m.Of}
		if !m.Last.IsZero() {
			w.LastCosigned = &m.Last
		}
		out.Validators = append(out.Validators, w)
	}
	for _, l := range v.Logs {
		w := ChainLog{Origin: l.Origin, Size: l.Size}
		if l.Size > 0 {
			w.Root = l.Root.String()
		}
		out.Logs = append(out.Logs, w)
	}
	for _, n := range v.Anchors {
		w := ChainAnchor{Index: n.Header.Index, Height: n.Header.Height, Time: n.Header.Time(), Epoch: n.Header.Epoch,
			Logs:     []ChainLog{},
			Cosigned: append([]string{}, n.Cosigned...), Silent: append([]string{}, n.Silent...)}
		for _, c := range n.Checkpoints {
			w.Logs = append(w.Logs, ChainLog{Origin: c.Origin, Size: c.Size, Root: c.Root.String()})
		}
		out.Newest = append(out.Newest, w)
	}
	for _, n := range v.Nodes {
		out.Nodes = append(out.Nodes, ChainNode{Name: n.Name, Reachable: n.Reachable, Height: n.Height,
			Behind: n.Behind})
	}
	return out
}
