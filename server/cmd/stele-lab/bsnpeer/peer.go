package bsnpeer

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"stele/notary/proof/bsnproof/gateway"
)

// App is an application that a peer serves.
type App struct {
	Name      string
	UserCode  string
	AppCode   string
	ChainCode string             // deployment name; name of the contract
	Contract  string             // address of the contract, which makes it an application of FISCO BCOS
	Key       *gateway.PublicKey // that signs its requests
}

// Config is how a peer is made.
type Config struct {
	Dir       string              // where blocks are kept; "" keeps nothing
	Key       *gateway.PrivateKey // signs answers
	Apps      []App
	BlockTime time.Duration // from the first transaction of a block to its end
	Latency   time.Duration // of [Slow]
	Queue     int           // transactions that wait for a block at most; 0 for no limit
	Now       func() time.Time
}

// maxRequest is the longest request in bytes.
const maxRequest = 1 << 20

// Peer answers as a gateway. It is an http.Handler, safe for concurrent use.
type Peer struct {
	conf  Config
	other *gateway.PrivateKey // what a wrong mac is made with

	mu     sync.Mutex
	apps   map[string]*app   // guarded by mu, by user code and app code
	last   map[string][]byte // guarded by mu: the newest right answer by path, for Replayed
	oldest map[string][]byte // guarded by mu: the first right answer by path and question, for Stale
	fault  Fault             // guarded by mu
	every  int               // guarded by mu: each nth request meets the fault
	count  int               // guarded by mu: requests since Inject
	calls  map[string]int    // guarded by mu: by path
}

type app struct {
	App
	ledger *ledger
	users  map[string]bool // FISCO BCOS: that are registered
}

// New opens the ledgers and returns a peer.
func New(c Config) (*Peer, error) {
	other, err := gateway.GenerateKey(c.Key.Public().Algorithm())
	if err != nil {
		return nil, err
	}
	p := &Peer{conf: c, other: other, apps: map[string]*app{}, last: map[string][]byte{}, oldest: map[string][]byte{},
		calls: map[string]int{}}
	for _, a := range c.Apps {
		path := ""
		if c.Dir != "" {
			path = filepath.Join(c.Dir, a.AppCode+".blocks")
		}
		l, err := openLedger(path, c.BlockTime)
		if err != nil {
			return nil, err
		}
		p.apps[a.UserCode+" "+a.AppCode] = &app{a, l, map[string]bool{}}
	}
	return p, nil
}

// Entries returns how many valid writes of keys there are in blocks, by key: what a test
// looks at for double entries.
func (p *Peer) Entries(appCode string) map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]int{}
	for _, a := range p.apps {
		if a.AppCode != appCode {
			continue
		}
		for _, b := range a.ledger.blocks {
			for _, t := range b.Transactions {
				if t.Status == gateway.StatusValid {
					out[t.Data]++
				}
			}
		}
	}
	return out
}

// Calls returns how often a path was called.
func (p *Peer) Calls(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[path]
}

// ServeHTTP implements http.Handler.
func (p *Peer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.Error(w, "only POST", http.StatusMethodNotAllowed)
		return
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		http.Error(w, "the request is too long", http.StatusRequestEntityTooLarge)
		return
	}
	p.mu.Lock()
	p.calls[r.URL.Path]++
	fault := p.next()
	p.mu.Unlock()
	if fault == Broken {
		http.Error(w, "bad gateway", http.StatusBadGateway)
		return
	}
	if fault == Slow && !sleep(r, p.conf.Latency) {
		return
	}
	answer, err := p.answer(r.URL.Path, raw, fault)
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	switch fault {
	case Lost:
		http.Error(w, "bad gateway", http.StatusBadGateway)
		return
	case Hang:
		<-r.Context().Done()
		return
	case Oversized:
		answer = append(answer[:len(answer)-1:len(answer)-1], append(bytes.Repeat([]byte(" "), 8<<20), '}')...)
	}
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(answer))) // a published SDK cannot read chunks
	if fault == Truncated {
		answer = answer[:len(answer)/2]
	}
	_, _ = w.Write(answer)
}

// sleep waits unless the client leaves.
func sleep(r *http.Request, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-r.Context().Done():
		return false
	}
}

// answer carries a request out and writes the answer's JSON.
func (p *Peer) answer(path string, raw []byte, fault Fault) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var req gateway.Request
	if err := json.Unmarshal(raw, &req); err != nil {
		return p.sign(gateway.AnswerHeader{Code: gateway.CodeFailed, Msg: "the request is not JSON"}, nil, fault)
	}
	a, ok := p.apps[req.Header.UserCode+" "+req.Header.AppCode]
	if !ok { // which key would be that of an application that is not known?
		return json.Marshal(gateway.Answer{Header: gateway.AnswerHeader{Code: gateway.CodeFailed,
			Msg: "the application does not exist"}, Mac: []byte{}})
	}
	if err := a.ledger.cut(p.conf.Now()); err != nil {
		return nil, err
	}
	if fault == QueueFull {
		return p.refuse(errQueue)
	}
	question := path + " " + a.AppCode + " " + string(withoutNonce(req.Body))
	switch old, last := p.oldest[question], p.last[path]; {
	case fault == Replayed && last != nil:
		return last, nil
	case fault == Stale && old != nil:
		return old, nil
	}
	body, err := a.call(p, path, req, fault)
	if err != nil {
		return p.refuse(err)
	}
	out, err := p.sign(gateway.AnswerHeader{Code: gateway.CodeOK, Msg: "success"}, body, fault)
	if err == nil && fault == "" {
		p.last[path] = out
		if p.oldest[question] == nil {
			p.oldest[question] = out
		}
	}
	return out, err
}

// withoutNonce is a question as it is every time that it is asked.
func withoutNonce(body json.RawMessage) []byte {
	var m map[string]json.RawMessage
	if json.Unmarshal(body, &m) != nil {
		return body
	}
	delete(m, "nonce")
	out, err := json.Marshal(m)
	if err != nil {
		return body
	}
	return out
}

func (p *Peer) refuse(err error) ([]byte, error) {
	return p.sign(gateway.AnswerHeader{Code: gateway.CodeFailed, Msg: err.Error()}, nil, "")
}

// sign writes an answer with its mac; errors bear one too.
func (p *Peer) sign(h gateway.AnswerHeader, body any, fault Fault) ([]byte, error) {
	key := p.conf.Key
	if fault == WrongMac {
		key = p.other
	}
	mac, err := key.Sign(gateway.AnswerText(h, body))
	if err != nil {
		return nil, err
	}
	if fault == EmptyMac {
		mac = []byte{}
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return json.Marshal(gateway.Answer{Header: h, Mac: mac, Body: raw})
}

// refusal is what a gateway says when it does not do what was asked: the msg of its answer.
type refusal string

// Error implements error.
func (r refusal) Error() string { return string(r) }

const (
	errQueue     refusal = "the request queue is full, try again later"
	errBadMac    refusal = gateway.MsgBadMac
	errNoSuchTx  refusal = "the transaction does not exist"
	errNoBlock   refusal = "the block does not exist"
	errNoPath    refusal = "the interface does not exist"
	errBadBody   refusal = "the request body is malformed"
	errNonce     refusal = "the nonce must be 24 bytes in base64"
	errDuplicate refusal = "the transaction exists already: the nonce was used before"
	errChainCode refusal = "the chaincode is not deployed"
	errUser      refusal = "user is already registered"
	errNoUser    refusal = "the user is not registered"
	errTimeout   refusal = "the transaction is not in a block yet"
	errFunction  refusal = "the contract has no such function with such arguments"
)
