package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

// ChainEpochs are the hand-overs of the service's chain. Nothing of it is verified yet: each has
// to follow from the epoch that trust roots pin.
type ChainEpochs struct {
	Chain  string
	Newest uint64       // its number
	Epochs []ChainEpoch // ascending, without gaps
	Next   *uint64      // where one answer of the service goes on
}

// ChainEpoch is one hand-over.
type ChainEpoch struct {
	Number uint64
	Signed string       // canonical JSON, as it stands in evidence
	First  *ChainHeader // that it certified; nil where there is none
}

// ChainHeader is a header of the chain with its certificate.
type ChainHeader struct {
	Header       string // its text
	Cosignatures []ChainCosignature
}

// ChainCosignature is a member's signature over a header's text.
type ChainCosignature struct {
	Validator int // from 0
	Signature []byte
}

// maxEpochs bounds what a service can make this program hold: more than trust roots can pin.
const maxEpochs = 4200

// Epochs asks for all hand-overs since epoch 0. No key is needed.
func (c *Client) Epochs(ctx context.Context) (*ChainEpochs, error) {
	all := &ChainEpochs{}
	for from := uint64(1); ; {
		var page ChainEpochs
		q := call{method: http.MethodGet, path: "/chain/epochs", query: url.Values{"from": {fmt.Sprint(from)}},
			public: true}
		if _, err := c.json(ctx, q, &page); err != nil {
			return nil, err
		}
		all.Chain, all.Newest, all.Epochs = page.Chain, page.Newest, append(all.Epochs, page.Epochs...)
		if page.Next == nil {
			return all, nil
		}
		if *page.Next <= from || len(all.Epochs) > maxEpochs {
			return nil, fmt.Errorf("the service's list of hand-overs does not end")
		}
		from = *page.Next
	}
}
