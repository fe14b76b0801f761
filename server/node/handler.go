package node

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"stele/crypto/sm"
	"stele/notary/chain"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/chainview"
	"stele/notary/proof/checkpoint"
	"stele/server/remote/chainnet"
)

// maxListBytes is how long an answer with entries or epochs grows before the rest is left to
// the next call.
const maxListBytes = 1 << 20

// handler is the interface of the node; an empty token is for its own socket, which only the
// operator's user can open.
func (n *Node) handler(token string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/checkpoints", n.submit)
	mux.HandleFunc("GET /v1/head", n.head)
	mux.HandleFunc("GET /v1/evidence", n.evidence)
	mux.HandleFunc("GET /v1/status", n.statusPage)
	mux.HandleFunc("GET /v1/entries", n.entries)
	mux.HandleFunc("GET /v1/epochs", n.epochs)
	mux.HandleFunc("GET /v1/history", n.history)
	mux.HandleFunc("POST /v1/epochs", n.submitEpoch)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fail(w, http.StatusNotFound, chainnet.CodeNotFound, "there is nothing at this address")
	})
	if token == "" {
		return mux
	}
	return authorized(token, mux)
}

// authorized compares digests, so that the time it takes says nothing about the token.
func authorized(token string, next http.Handler) http.Handler {
	want := sm.Sum([]byte(token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		got := sm.Sum([]byte(given))
		if !ok || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			fail(w, http.StatusUnauthorized, chainnet.CodeUnauthorized, "the token is missing or wrong")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // who does not read has left
}

func fail(w http.ResponseWriter, status int, code, detail string) {
	answer(w, status, &chainnet.Failure{Code: code, Detail: detail})
}

// refuse answers with what the chain said.
func (n *Node) refuse(w http.ResponseWriter, err error) {
	for _, m := range []struct {
		is     error
		status int
		code   string
	}{
		{chain.ErrFork, http.StatusConflict, chainnet.CodeFork},
		{chain.ErrStale, http.StatusConflict, chainnet.CodeStale},
		{chain.ErrUnknownLog, http.StatusForbidden, chainnet.CodeRefused},
		{chain.ErrMalformed, http.StatusUnprocessableEntity, chainnet.CodeRefused},
		{chain.ErrEpoch, http.StatusUnprocessableEntity, chainnet.CodeEpoch},
		{chain.ErrBusy, http.StatusServiceUnavailable, chainnet.CodeBusy},
		{chain.ErrStopped, http.StatusServiceUnavailable, chainnet.CodeBusy},
		{chain.ErrPending, http.StatusNotFound, chainnet.CodePending},
	} {
		if errors.Is(err, m.is) {
			fail(w, m.status, m.code, err.Error())
			return
		}
	}
	n.log.Error("a call failed", "error", err)
	fail(w, http.StatusInternalServerError, chainnet.CodeBusy, "the node cannot answer; its log says why")
}

// decodeSubmission reads a checkpoint from a body.
func decodeSubmission(body []byte) (chain.Submission, error) {
	var c chainnet.Checkpoint
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return chain.Submission{}, fmt.Errorf("not a checkpoint: %w", err)
	}
	if d.More() {
		return chain.Submission{}, errors.New("not a checkpoint: more than one JSON value")
	}
	s, err := c.Submission()
	return chain.Submission(s), err
}

// read reads a body; ok is false when it was answered already.
func read(w http.ResponseWriter, r *http.Request) (body []byte, ok bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, chainnet.MaxRequest))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		fail(w, http.StatusRequestEntityTooLarge, chainnet.CodeRefused, fmt.Sprintf("at most %d bytes are taken",
			large.Limit))
	case err != nil:
		fail(w, http.StatusBadRequest, chainnet.CodeRefused, "the body broke off")
	}
	return body, err == nil
}

func (n *Node) submit(w http.ResponseWriter, r *http.Request) {
	body, ok := read(w, r)
	if !ok {
		return
	}
	s, err := decodeSubmission(body)
	if err != nil {
		fail(w, http.StatusUnprocessableEntity, chainnet.CodeRefused, err.Error())
		return
	}
	if err := n.chain.Submit(r.Context(), s); err != nil && !errors.Is(err, chain.ErrKnown) {
		n.refuse(w, err)
		return
	}
	answer(w, http.StatusAccepted, struct{}{})
}

func (n *Node) submitEpoch(w http.ResponseWriter, r *http.Request) {
	body, ok := read(w, r)
	if !ok {
		return
	}
	e, err := anchorproof.ParseSignedEpoch(body)
	if err != nil {
		fail(w, http.StatusUnprocessableEntity, chainnet.CodeEpoch, err.Error())
		return
	}
	if err := n.chain.SubmitEpoch(r.Context(), e); err != nil {
		n.refuse(w, err)
		return
	}
	answer(w, http.StatusAccepted, struct{}{})
}

func (n *Node) head(w http.ResponseWriter, r *http.Request) {
	c, err := n.chain.Head(r.FormValue("origin"))
	if err != nil {
		n.refuse(w, err)
		return
	}
	n.anchored(w, c.Origin, c.Size)
}

func (n *Node) evidence(w http.ResponseWriter, r *http.Request) {
	size, err := strconv.ParseUint(r.FormValue("size"), 10, 64)
	if err != nil {
		fail(w, http.StatusUnprocessableEntity, chainnet.CodeRefused, "size must be a number")
		return
	}
	n.anchored(w, r.FormValue("origin"), size)
}

// anchored answers with the checkpoint of a log at a size and its evidence, as far as they
// are there.
func (n *Node) anchored(w http.ResponseWriter, origin string, size uint64) {
	raw, c, err := n.chain.Evidence(origin, size)
	if err != nil && !errors.Is(err, chain.ErrPending) {
		n.refuse(w, err)
		return
	}
	out := chainnet.Anchored{Evidence: raw}
	if c != (checkpoint.Checkpoint{}) {
		out.Checkpoint = c.Text()
	}
	answer(w, http.StatusOK, out)
}

// statusPage answers at once, or when the height exceeds what the caller knows.
func (n *Node) statusPage(w http.ResponseWriter, r *http.Request) {
	if after := r.FormValue("after"); after != "" {
		height, err := strconv.ParseUint(after, 10, 64)
		if err != nil {
			fail(w, http.StatusUnprocessableEntity, chainnet.CodeRefused, "after must be a height")
			return
		}
		n.wait(r.Context(), height)
	}
	s, err := n.Status()
	if err != nil {
		n.refuse(w, err)
		return
	}
	answer(w, http.StatusOK, s)
}

// wait returns when the height exceeds after, the node stops, or the time is over.
func (n *Node) wait(ctx context.Context, after uint64) {
	t := time.NewTimer(chainnet.MaxWait)
	defer t.Stop()
	for {
		changed := n.chain.Changed()
		s, err := n.chain.Status()
		if err != nil || s.Height > after || s.Failed {
			return
		}
		select {
		case <-changed:
		case <-t.C:
			return
		case <-n.stopping:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (n *Node) entries(w http.ResponseWriter, r *http.Request) {
	out := chainnet.Entries{Entries: []chainnet.Entry{}}
	err := list(r, func(i uint64) (size int, err error) {
		e, err := n.chain.Entry(i)
		if err != nil {
			return 0, err
		}
		out.Entries = append(out.Entries, chainnet.NewEntry(chainview.Entry(e)))
		return anchorproof.MaxHeaderSize + 300*len(e.Checkpoints) + 100*len(e.Cosignatures), nil
	})
	if err != nil {
		n.refuse(w, err)
		return
	}
	answer(w, http.StatusOK, out)
}

func (n *Node) epochs(w http.ResponseWriter, r *http.Request) {
	out := chainnet.Epochs{Epochs: []json.RawMessage{}}
	err := list(r, func(i uint64) (size int, err error) {
		e, err := n.chain.Epoch(i)
		if err != nil {
			return 0, err
		}
		raw, err := e.Marshal()
		if err != nil {
			return 0, err
		}
		first, err := n.first(i)
		out.Epochs, out.First = append(out.Epochs, raw), append(out.First, first)
		return len(raw) + anchorproof.MaxHeaderSize + 100*len(e.Validators), err
	})
	if err != nil {
		n.refuse(w, err)
		return
	}
	answer(w, http.StatusOK, out)
}

// first is the first header that an epoch certified, nil when there is none.
func (n *Node) first(epoch uint64) (*chainnet.Entry, error) {
	h, sigs, err := n.chain.First(epoch)
	if errors.Is(err, chain.ErrPending) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	e := chainnet.NewEntry(chainview.Entry{Header: h, Cosignatures: sigs})
	return &e, nil
}

func (n *Node) history(w http.ResponseWriter, r *http.Request) {
	from, err1 := strconv.ParseUint(r.FormValue("from"), 10, 64)
	to, err2 := strconv.ParseUint(r.FormValue("to"), 10, 64)
	if err1 != nil || err2 != nil {
		fail(w, http.StatusUnprocessableEntity, chainnet.CodeRefused, "from and to must be numbers")
		return
	}
	h, err := n.chain.History(from, to)
	if err != nil {
		n.refuse(w, err)
		return
	}
	answer(w, http.StatusOK, chainnet.NewHistory(chainview.History(h)))
}

// list calls add for indexes from the one that is asked for, until there are no more or the
// answer is long enough.
func list(r *http.Request, add func(i uint64) (size int, err error)) error {
	from, err := strconv.ParseUint(r.FormValue("from"), 10, 64)
	if err != nil {
		return fmt.Errorf("%w: from must be a number", chain.ErrMalformed)
	}
	bytes := 0
	for i := from; i < from+chainnet.MaxEntries && bytes < maxListBytes; i++ {
		size, err := add(i)
		if errors.Is(err, chain.ErrPending) {
			return nil
		}
		if err != nil {
			return err
		}
		bytes += size
	}
	return nil
}

// Status is the node's state.
func (n *Node) Status() (chainnet.Status, error) {
	s, err := n.chain.Status()
	if err != nil {
		return chainnet.Status{}, err
	}
	out := chainnet.Status{Name: n.member.Name, Chain: s.Chain, Genesis: n.chain.Genesis().Hash().String(),
		Version: n.version, Now: n.now().UTC(), Height: s.Height, Base: s.Base, Behind: s.Behind(),
		CatchingUp: s.CatchingUp, Validating: s.Validating,
		Failed: s.Failed, Headers: s.Headers, Pending: s.Pending, Epoch: s.Epoch, EpochAt: s.EpochAt,
		Refused: s.Refused, DiskBytes: n.disk()}
	for _, v := range s.Validators {
		out.Members = append(out.Members, chainnet.Member{Name: v.Name, Power: v.Power})
	}
	out.Peers = n.peersOf(s.Peers)
	heads, err := n.chain.Heads()
	if err != nil {
		return out, err
	}
	for _, c := range heads {
		out.Heads = append(out.Heads, chainnet.Head{Origin: c.Origin, Size: c.Size, Root: c.Root.String()})
	}
	out.Last, err = n.lastCertified(s)
	return out, err
}

// peersOf names the peers: those of the list, connected or not, then others that came by.
func (n *Node) peersOf(connected []chain.Peer) (out []chainnet.Peer) {
	for _, p := range n.peers.List {
		if p.ID == n.member.Peer().ID {
			continue
		}
		q := chainnet.Peer{Name: p.Name}
		if i := slices.IndexFunc(connected, func(c chain.Peer) bool { return c.ID == p.ID }); i >= 0 {
			q.Connected, q.Height = true, connected[i].Height
			connected = slices.Delete(slices.Clone(connected), i, i+1)
		}
		out = append(out, q)
	}
	for _, c := range connected {
		out = append(out, chainnet.Peer{Name: c.ID, Connected: true, Height: c.Height})
	}
	return out
}

// lastCertified looks for the newest header with a quorum among the newest few.
func (n *Node) lastCertified(s chain.Status) (*chainnet.Certified, error) {
	for i := s.Headers; i > 0 && i+chainview.MaxAnchors > s.Headers; i-- {
		e, err := n.chain.Entry(i - 1)
		if err != nil {
			return nil, err
		}
		if len(e.Cosignatures) == 0 {
			continue
		}
		epoch, err := n.chain.Epoch(e.Header.Epoch)
		if err != nil {
			return nil, err
		}
		c := &chainnet.Certified{Index: e.Header.Index, Height: e.Header.Height, Time: e.Header.Time(),
			Cosigned: []string{}, Silent: []string{}}
		for j, v := range epoch.Validators {
			if slices.ContainsFunc(e.Cosignatures, func(s anchorproof.Cosignature) bool { return s.Validator == j }) {
				c.Cosigned = append(c.Cosigned, v.Name)
			} else {
				c.Silent = append(c.Silent, v.Name)
			}
		}
		return c, nil
	}
	return nil, nil
}
