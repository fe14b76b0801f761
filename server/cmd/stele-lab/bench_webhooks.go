package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// webhookRecords are notarized in one batch; each is told to the receiver once.
const webhookRecords = 5000

// webhooks returns how many deliveries a second reach a receiver on this machine, from the
// first to the last: signing, sending and writing down what became of each, with the client's
// half of the work on the same processors.
func (s *benchServer) webhooks(ctx context.Context) (float64, error) {
	var got atomic.Int64
	var first atomic.Int64
	all := make(chan time.Time, 1)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	receiver := &http.Server{ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			switch got.Add(1) {
			case 1:
				first.Store(time.Now().UnixNano())
			case webhookRecords:
				all <- time.Now()
			}
		})}
	defer receiver.Close()
	go func() { _ = receiver.Serve(ln) }() // it ends when it is closed
	out, err := s.post(ctx, "/api/v1/webhooks", "application/json",
		strings.NewReader(fmt.Sprintf(`{"url":"http://%s/","events":["record.logged"]}`, ln.Addr())))
	if err != nil {
		return 0, err
	}
	var hook struct{ ID string }
	if err := json.Unmarshal(out, &hook); err != nil {
		return 0, err
	}
	defer s.forget(ctx, hook.ID)
	if _, err := s.post(ctx, "/api/v1/records/batch", "application/json",
		bytes.NewReader(batchBody(webhookRecords))); err != nil {
		return 0, err
	}
	select {
	case end := <-all:
		return webhookRecords / end.Sub(time.Unix(0, first.Load())).Seconds(), nil
	case <-time.After(2 * time.Minute):
		return 0, fmt.Errorf("%d of %d deliveries arrived within two minutes", got.Load(), webhookRecords)
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// forget deletes the endpoint, so that the measurements after it are not told.
func (s *benchServer) forget(ctx context.Context, id string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, s.url+"/api/v1/webhooks/"+id, nil)
	if err == nil {
		req.Header.Set("Authorization", "Bearer "+s.key)
		_, err = s.do(req)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(s.cmd.Stderr, "the benchmark's webhook was not deleted:", err)
	}
}
