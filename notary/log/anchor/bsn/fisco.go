package bsn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"stele/notary/log/anchor"
	"stele/notary/proof/bsnproof"
	"stele/notary/proof/bsnproof/gateway"
)

// defaultUser is who transactions are made as when the configuration names nobody.
const defaultUser = "stele"

// maxScan is how many blocks are looked through at a time for an entry's transaction. It is in
// the next block or two unless the chain is busy or was away.
const maxScan = 64

// fisco is the base contract of a FISCO BCOS application. It answers when the block is cut, so
// as a rule a submission ends at once. It has no history and gives no transaction for a row:
// each row bears the height that was seen before it was written, and its transaction is
// looked for in the blocks above when it is not known.
type fisco struct {
	*Target
	mu         sync.Mutex
	registered bool // guarded by mu: the gateway has an account for the user
	trail      trail
}

// trail is how far the transaction of a row was looked for, and where it was found.
type trail struct {
	row  gateway.Row
	next int64 // block to look through next
	txID string
}

func (*fisco) kind() string { return bsnproof.KindFISCO }

func (t *fisco) entry(ctx context.Context, origin string, n uint64) (entry, error) {
	_, row, err := t.row(ctx, origin, n)
	if err != nil {
		return entry{}, err
	}
	return stored(origin, n, row.Value)
}

// row asks for an entry's row. Of several the oldest counts: the contract lets anybody in the
// application add more.
func (t *fisco) row(ctx context.Context, origin string, n uint64) (bsnproof.Signed[gateway.ContractAnswer], gateway.Row,
	error) {
	id := bsnproof.Key(origin, n)
	answer, err := t.run(ctx, gateway.FuncSelect, id)
	if err != nil {
		return answer, gateway.Row{}, err
	}
	rows, err := bsnproof.Rows(answer.Body.QueryInfo)
	if err != nil || !answer.Body.Constant {
		return answer, gateway.Row{}, fmt.Errorf("%w: the gateway's answer is none to select: %v",
			anchor.ErrUnavailable, err)
	}
	if len(rows) == 0 {
		return answer, gateway.Row{}, errNoEntry
	}
	if rows[0].ID != id {
		return answer, gateway.Row{}, fmt.Errorf("%w: the gateway answered about the id %q when asked for entry %d",
			anchor.ErrUnavailable, rows[0].ID, n)
	}
	return answer, rows[0], nil
}

// write inserts the row. Whatever goes wrong after the request was sent, the row may come to
// be: only an answer about this very row ends the submission.
func (t *fisco) write(ctx context.Context, origin string, n uint64, value string) error {
	height, err := t.height(ctx)
	if err != nil {
		return err
	}
	row := gateway.Row{ID: bsnproof.Key(origin, n), Key: height, Value: value}
	t.started(flight{n: n, row: row, at: t.conf.Now()})
	answer, err := t.run(ctx, gateway.FuncInsert, row.ID, row.Key, row.Value)
	if err != nil {
		return err
	}
	body := answer.Body
	switch {
	case body.Constant || !strings.HasSuffix(body.Input, row.InsertInput()):
		return fmt.Errorf("%w: the gateway's answer is about another call", anchor.ErrUnavailable)
	case body.Status != gateway.ReceiptOK:
		t.started(flight{})
		return fmt.Errorf("%w: insert: the transaction has the status %q", anchor.ErrUnavailable, body.Status)
	case body.To != t.conf.Contract:
		return fmt.Errorf("%w: the contract %s has the address %s, not %s", anchor.ErrRefused, t.conf.ChainCode,
			body.To, t.conf.Contract)
	}
	t.follow(trail{row: row, txID: body.TxID})
	return nil
}

// flying waits until patience ends, and then looks into the blocks before it lets another
// submission be made: that no row is shown may be an old answer.
func (t *fisco) flying(ctx context.Context, _ string, n uint64) (bool, error) {
	f, early := t.inFlight(n)
	if f.n == 0 || early {
		return early, nil
	}
	_, err := t.search(ctx, f.row)
	switch {
	case err == nil:
		return false, fmt.Errorf("%w: entry %d is in a block and is not shown", anchor.ErrUnavailable, n)
	case errors.Is(err, errNoEntry):
		t.started(flight{})
		return false, nil
	}
	return false, err
}

func (t *fisco) evidence(ctx context.Context, origin string, n uint64) (bsnproof.Evidence, error) {
	e := bsnproof.FISCO{Head: bsnproof.Head{App: t.conf.Contract}}
	var row gateway.Row
	var err error
	if e.Row, row, err = t.row(ctx, origin, n); err != nil {
		return nil, err
	}
	t.Target.mu.Lock()
	known := t.known[origin]
	t.Target.mu.Unlock()
	if now, err := stored(origin, n, row.Value); err != nil || now != known && known.n == n {
		return nil, fmt.Errorf("%w: entry %d was changed after it was written: %v", anchor.ErrFork, n, err)
	}
	txID, err := t.search(ctx, row)
	if err != nil {
		return nil, fmt.Errorf("%w: the transaction of entry %d: %w", anchor.ErrPending, n, err)
	}
	if e.Receipt, err = t.receipt(ctx, txID); err != nil {
		return nil, err
	}
	e.Block, err = t.block(ctx, e.Receipt.Body.BlockNumber)
	return e, err
}

// search finds the transaction that inserted a row. errNoEntry: it is in no block.
func (t *fisco) search(ctx context.Context, row gateway.Row) (string, error) {
	t.mu.Lock()
	at := t.trail
	t.mu.Unlock()
	if at.row != row {
		at = trail{row: row, next: row.Key + 1}
	}
	if at.txID != "" {
		return at.txID, nil
	}
	height, err := t.height(ctx)
	if err != nil {
		return "", err
	}
	defer func() { t.follow(at) }()
	for end := min(height, at.next+maxScan-1); at.next <= end; at.next++ {
		if at.txID, err = t.inBlock(ctx, at.next, row); at.txID != "" || err != nil {
			return at.txID, err
		}
	}
	if at.next <= height {
		return "", fmt.Errorf("%w: it is not below block %d", anchor.ErrPending, at.next)
	}
	return "", errNoEntry
}

// inBlock finds the transaction that inserted a row in a block, or returns "".
func (t *fisco) inBlock(ctx context.Context, number int64, row gateway.Row) (string, error) {
	block, err := t.block(ctx, number)
	if err != nil {
		return "", err
	}
	for _, tx := range block.Body.Transactions {
		if tx.To != t.conf.Contract || !strings.HasSuffix(tx.Input, row.InsertInput()) {
			continue
		}
		receipt, err := t.receipt(ctx, tx.TxID)
		if err != nil {
			return "", err
		}
		if bsnproof.Inserted(t.conf.Contract, receipt.Body.Logs, row) {
			return tx.TxID, nil
		}
	}
	return "", nil
}

func (t *fisco) follow(to trail) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trail = to
}

func (t *fisco) receipt(ctx context.Context, txID string) (bsnproof.Signed[gateway.ReceiptAnswer], error) {
	answer, err := call[gateway.ReceiptAnswer](ctx, t.Target, gateway.PathFISCOReceipt,
		gateway.TxHashRequest{TxHash: txID}, true)
	if err == nil && answer.Body.TxID != txID {
		err = fmt.Errorf("%w: the gateway answered about the transaction %q when asked for %q", anchor.ErrUnavailable,
			answer.Body.TxID, txID)
	}
	return answer, err
}

func (t *fisco) block(ctx context.Context, number int64) (bsnproof.Signed[gateway.ContractBlockAnswer], error) {
	answer, err := call[gateway.ContractBlockAnswer](ctx, t.Target, gateway.PathFISCOBlockInfo,
		gateway.ContractBlockRequest{BlockNumber: strconv.FormatInt(number, 10)}, true)
	if err == nil && answer.Body.BlockNumber != number {
		err = fmt.Errorf("%w: the gateway answered about block %d when asked for %d", anchor.ErrUnavailable,
			answer.Body.BlockNumber, number)
	}
	return answer, err
}

// height is the number of the newest block.
func (t *fisco) height(ctx context.Context) (int64, error) {
	answer, err := call[gateway.DataAnswer](ctx, t.Target, gateway.PathFISCOHeight, nil, true)
	if err != nil {
		return 0, err
	}
	height, err := strconv.ParseInt(answer.Body.Data, 10, 64)
	if err != nil || height < 0 || height > bsnproof.MaxEntries {
		return 0, fmt.Errorf("%w: %q is no height", anchor.ErrUnavailable, answer.Body.Data)
	}
	return height, nil
}

// run runs a function of the base contract, as a user that the gateway has an account for.
func (t *fisco) run(ctx context.Context, function string, args ...any) (none bsnproof.Signed[gateway.ContractAnswer],
	err error) {
	user := t.conf.UserName
	if user == "" {
		user = defaultUser
	}
	t.mu.Lock()
	registered := t.registered
	t.mu.Unlock()
	if !registered {
		// That the user is registered already is an answer like any other refusal: the call tells.
		if _, err := call[gateway.UserAnswer](ctx, t.Target, gateway.PathFISCORegister,
			gateway.UserRequest{UserID: user}, true); err != nil && !errors.Is(err, errSaidNo) {
			return none, err
		}
	}
	param, err := json.Marshal(args)
	if err != nil {
		return none, err
	}
	answer, err := call[gateway.ContractAnswer](ctx, t.Target, gateway.PathFISCOContract,
		gateway.ContractRequest{UserID: user, ContractName: t.conf.ChainCode, FuncName: function,
			FuncParam: string(param)}, function != gateway.FuncInsert)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.registered = err == nil || !errors.Is(err, errSaidNo) && registered
	return answer, err
}
