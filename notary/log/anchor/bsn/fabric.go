package bsn

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"stele/notary/log/anchor"
	"stele/notary/proof/bsnproof"
	"stele/notary/proof/bsnproof/gateway"
)

// fabric is the base chaincode of a Fabric application.
type fabric struct{ *Target }

func (fabric) kind() string { return bsnproof.KindFabric }

func (t fabric) entry(ctx context.Context, origin string, n uint64) (entry, error) {
	_, written, err := t.history(ctx, origin, n)
	if err != nil {
		return entry{}, err
	}
	data, err := bsnproof.Stored(written.DataInfo)
	if err != nil || data.BaseKey != bsnproof.Key(origin, n) {
		return entry{}, fmt.Errorf("%w: the gateway answered about the key %q when asked for entry %d",
			anchor.ErrUnavailable, data.BaseKey, n)
	}
	return stored(origin, n, data.BaseInfo)
}

// history asks for everything that was ever written under an entry's key.
func (t fabric) history(ctx context.Context, origin string, n uint64) (bsnproof.Signed[gateway.ChainCodeAnswer],
	gateway.HistoryEntry, error) {
	answer, err := t.run(ctx, gateway.FuncHistory, bsnproof.Key(origin, n))
	if err != nil {
		return answer, gateway.HistoryEntry{}, err
	}
	res := answer.Body.CCRes
	if res.CCCode != gateway.CCOK {
		return answer, gateway.HistoryEntry{}, fmt.Errorf("%w: getHistory: %d %s", anchor.ErrUnavailable, res.CCCode,
			res.CCData)
	}
	list, err := bsnproof.History(res.CCData)
	if err != nil {
		return answer, gateway.HistoryEntry{}, fmt.Errorf("%w: %w", anchor.ErrUnavailable, err)
	}
	switch {
	case len(list) == 0:
		return answer, gateway.HistoryEntry{}, errNoEntry
	case len(list) > 1 || list[0].IsDelete:
		return answer, gateway.HistoryEntry{}, fmt.Errorf("%w: entry %d was changed after it was written",
			anchor.ErrFork, n)
	}
	return answer, list[0], nil
}

func (t fabric) write(ctx context.Context, origin string, n uint64, value string) error {
	data, err := json.Marshal(gateway.BaseData{BaseKey: bsnproof.Key(origin, n), BaseValue: value})
	if err != nil {
		return err
	}
	answer, err := t.run(ctx, gateway.FuncSet, string(data))
	if err != nil {
		return err
	}
	info, res := answer.Body.BlockInfo, answer.Body.CCRes
	switch {
	case res.CCCode != gateway.CCOK && strings.Contains(res.CCData, gateway.CCKeyExists):
		return anchor.ErrStale // another server was faster, or an answer was lost: the next look shows it
	case res.CCCode != gateway.CCOK:
		return fmt.Errorf("%w: set: %d %s", anchor.ErrUnavailable, res.CCCode, res.CCData)
	case info.Status > gateway.StatusValid:
		return fmt.Errorf("%w: set: the transaction has the status %d", anchor.ErrUnavailable, info.Status)
	}
	t.started(flight{n: n, txID: info.TxID, at: t.conf.Now()})
	return nil
}

// flying asks for the block. What the gateway cannot tell yet is not submitted again until
// patience ends.
func (t fabric) flying(ctx context.Context, _ string, n uint64) (bool, error) {
	f, early := t.inFlight(n)
	if !early {
		return false, nil
	}
	block, err := call[gateway.BlockAnswer](ctx, t.Target, gateway.PathBlockInfo, gateway.BlockRequest{TxID: f.txID},
		true)
	if errors.Is(err, errSaidNo) {
		return true, nil // not in a block yet
	}
	if err != nil {
		return false, err
	}
	for _, tx := range block.Body.Transactions {
		if tx.TxID == f.txID && tx.Status > gateway.StatusValid { // it is in a block, without effect
			t.started(flight{})
			return false, nil
		}
	}
	return true, nil
}

func (t fabric) evidence(ctx context.Context, origin string, n uint64) (bsnproof.Evidence, error) {
	e := bsnproof.Fabric{Head: bsnproof.Head{App: t.conf.App}}
	var written gateway.HistoryEntry
	var err error
	if e.History, written, err = t.history(ctx, origin, n); err != nil {
		return nil, err
	}
	if e.Block, err = call[gateway.BlockAnswer](ctx, t.Target, gateway.PathBlockInfo,
		gateway.BlockRequest{TxID: written.TxID}, true); err != nil {
		return nil, err
	}
	if e.Ledger, err = call[gateway.LedgerAnswer](ctx, t.Target, gateway.PathLedgerInfo, nil, true); err != nil {
		return nil, err
	}
	return e, nil
}

// run runs a function of the base chaincode. Only reading is tried at the other gateways
// too: after a lost answer, whoever submits looks first.
func (t fabric) run(ctx context.Context, function, arg string) (bsnproof.Signed[gateway.ChainCodeAnswer], error) {
	nonce := make([]byte, gateway.NonceSize)
	if _, err := rand.Read(nonce); err != nil {
		return bsnproof.Signed[gateway.ChainCodeAnswer]{}, err
	}
	return call[gateway.ChainCodeAnswer](ctx, t.Target, gateway.PathChainCode,
		gateway.ChainCodeRequest{UserName: t.conf.UserName, Nonce: base64.StdEncoding.EncodeToString(nonce),
			ChainCode: t.conf.ChainCode, FuncName: function, Args: []string{arg}, TransientData: map[string]string{}},
		function != gateway.FuncSet)
}
