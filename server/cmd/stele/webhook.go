package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/emmansun/gmsm/smx509"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"stele/crypto/sm"
	"stele/notary/office/webhook"
)

type webhookCmd struct {
	Listen webhookListenCmd `cmd:"" help:"Receive webhooks, check their signatures and print them: for development. The secret comes from a file or from STELE_WEBHOOK_SECRET."`
}

type webhookListenCmd struct {
	Listen     string `default:"127.0.0.1:9000" help:"Address to listen on."`
	SecretFile string `name:"secret-file" env:"STELE_WEBHOOK_SECRET_FILE" help:"File with the webhook's secret, whsec_…" placeholder:"FILE"`
	SM2KeyFile string `name:"sm2-key-file" help:"PEM file with the instance's webhook key, see /api/v1/webhooks/sample: the SM2 signature is demanded too." placeholder:"FILE"`
	Answer     int    `default:"204" help:"Status to answer verified webhooks with, to see what then happens."`
}

// webhookSecretEnv may hold the secret itself; flags may not, as every user of a machine can
// read those.
const webhookSecretEnv = "STELE_WEBHOOK_SECRET"

// maxWebhook is the longest body that is read: attributes are limited to 64 KiB, and JSON may
// write a byte as six.
const maxWebhook = 1 << 20

// Run receives until the process is told to stop.
func (c *webhookListenCmd) Run(ctx context.Context, s *streams) error {
	r, err := c.receiver(s.out)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		IdleTimeout: 60 * time.Second}
	go func() {
		<-ctx.Done()
		_ = srv.Close() // Serve then returns, which is what is waited for
	}()
	fmt.Fprintf(s.err, "Listening on http://%s\n", ln.Addr())
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (c *webhookListenCmd) receiver(out io.Writer) (*receiver, error) {
	text, err := secretText("the webhook's secret", "--secret-file", c.SecretFile, webhookSecretEnv)
	if err != nil {
		return nil, err
	}
	if _, err := webhook.ParseSecret(text); err != nil {
		return nil, err
	}
	r := &receiver{out: out, status: c.Answer, seen: map[string]int{}}
	if c.Answer < 200 || c.Answer > 599 {
		return nil, errors.New("the answer must be a status from 200 to 599")
	}
	if r.verify, err = standardwebhooks.NewWebhook(text); err != nil {
		return nil, err
	}
	if c.SM2KeyFile != "" {
		r.key, err = readSM2Key(c.SM2KeyFile)
	}
	return r, err
}

func readSM2Key(path string) (*sm.PublicKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block", path)
	}
	key, err := smx509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return sm.PublicKeyOf(key)
}

// receiver checks webhooks and prints them.
type receiver struct {
	verify *standardwebhooks.Webhook
	key    *sm.PublicKey // nil: the SM2 signature is not looked at
	status int

	mu   sync.Mutex
	out  io.Writer      // guarded by mu
	seen map[string]int // guarded by mu; how often each id came
}

// ServeHTTP takes one webhook.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodPost {
		http.Error(w, "Webhooks are sent with POST.", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxWebhook))
	if err != nil {
		http.Error(w, "The body did not arrive whole, or is too long.", http.StatusBadRequest)
		return
	}
	id := req.Header.Get(webhook.HeaderID)
	err = r.verify.Verify(body, req.Header)
	if err == nil && r.key != nil {
		err = webhook.VerifySM2(r.key, id, req.Header.Get(webhook.HeaderTimestamp),
			req.Header.Get(webhook.HeaderSignature), body)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		fmt.Fprintf(r.out, "refused %q: %v\n\n", id, err)
		http.Error(w, "The signature does not verify.", http.StatusUnauthorized)
		return
	}
	r.seen[id]++
	again := ""
	if n := r.seen[id]; n > 1 {
		again = fmt.Sprintf(" (time %d)", n)
	}
	var shown bytes.Buffer
	if json.Indent(&shown, body, "", "  ") != nil {
		shown.Reset()
		fmt.Fprintf(&shown, "%q", body)
	}
	fmt.Fprintf(r.out, "verified %s%s\n%s\n\n", id, again, &shown)
	w.WriteHeader(r.status)
}
