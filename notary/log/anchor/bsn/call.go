package bsn

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"stele/notary/log/anchor"
	"stele/notary/proof/bsnproof"
	"stele/notary/proof/bsnproof/gateway"
)

var (
	// errSaidNo: the gateway answered, with its mac, that it could not do it.
	errSaidNo = errors.New("the gateway refuses")
	// errAnswer: what came is no answer of the gateway whose key is pinned.
	errAnswer = errors.New("no answer that counts")
)

// call asks the gateways, beginning with the one that worked last, until one gives an answer
// that counts. A call that is not to be repeated is made once, and the next one begins
// elsewhere.
func call[T any](ctx context.Context, t *Target, path string, body any, repeat bool) (bsnproof.Signed[T], error) {
	var none bsnproof.Signed[T]
	request, err := t.request(body)
	if err != nil {
		return none, err
	}
	t.mu.Lock()
	first := t.current
	t.mu.Unlock()
	var failed []error
	for i := range t.conf.Gateways {
		at := (first + i) % len(t.conf.Gateways)
		answer, err := post[T](ctx, t, t.conf.Gateways[at]+path, request)
		if err == nil || errors.Is(err, errSaidNo) {
			return answer, err
		}
		failed = append(failed, err)
		t.mu.Lock()
		if t.current == at {
			t.current = (at + 1) % len(t.conf.Gateways)
		}
		t.mu.Unlock()
		if !repeat || ctx.Err() != nil {
			break
		}
	}
	return none, fmt.Errorf("%w: %w", anchor.ErrUnavailable, errors.Join(failed...))
}

func (t *Target) request(body any) ([]byte, error) {
	h := gateway.RequestHeader{UserCode: t.conf.UserCode, AppCode: t.conf.App}
	mac, err := t.conf.Key.Sign(gateway.RequestText(h, body))
	if err != nil {
		return nil, err
	}
	if body == nil {
		return json.Marshal(gateway.Request{Header: h, Mac: mac, Body: json.RawMessage("{}")})
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return json.Marshal(gateway.Request{Header: h, Mac: mac, Body: raw})
}

// post makes one call. The mac is checked before code and body are looked at.
func post[T any](ctx context.Context, t *Target, url string, request []byte) (out bsnproof.Signed[T], err error) {
	ctx, cancel := context.WithTimeout(ctx, t.conf.Timeout)
	defer cancel()
	raw, err := t.conf.Post.Post(ctx, url, request, maxAnswer)
	if err != nil {
		return out, err
	}
	header, out, err := readAnswer[T](t.conf.GatewayKey, raw)
	switch {
	case err != nil:
		return out, fmt.Errorf("%s: %w", url, err)
	case header.Code == gateway.CodeOK:
		return out, nil
	case strings.Contains(header.Msg, gateway.MsgBadMac):
		return out, fmt.Errorf("%w: %w: %s: %s", anchor.ErrRefused, errSaidNo, url, header.Msg)
	}
	return out, fmt.Errorf("%w: %w: %s: %d %s", anchor.ErrUnavailable, errSaidNo, url, header.Code, header.Msg)
}

// readAnswer reads an answer and checks its mac.
func readAnswer[T any](key *gateway.PublicKey, raw []byte) (gateway.AnswerHeader, bsnproof.Signed[T], error) {
	var a gateway.Answer
	var out bsnproof.Signed[T]
	if err := json.Unmarshal(raw, &a); err != nil {
		return a.Header, out, fmt.Errorf("%w: %v", errAnswer, err)
	}
	out.Msg, out.Mac = a.Header.Msg, bsnproof.Mac(a.Mac)
	var body any
	if len(a.Body) > 0 && !bytes.Equal(a.Body, []byte("null")) {
		if err := json.Unmarshal(a.Body, &out.Body); err != nil {
			return a.Header, out, fmt.Errorf("%w: %v", errAnswer, err)
		}
		body = out.Body
	}
	if !key.Verify(gateway.AnswerText(a.Header, body), a.Mac) && !zeros(key, a, &out) {
		return a.Header, out, fmt.Errorf("%w: the mac is none of the pinned gateway key", errAnswer)
	}
	if a.Header.Code == gateway.CodeOK && body == nil {
		return a.Header, out, fmt.Errorf("%w: there is no body", errAnswer)
	}
	return a.Header, out, nil
}

// zeros tries the mac over zeros in place of numbers that are absent, and puts them there.
func zeros[T any](key *gateway.PublicKey, a gateway.Answer, out *bsnproof.Signed[T]) bool {
	body, ok := any(out.Body).(interface{ Zeros() T })
	if !ok || a.Header.Code != gateway.CodeOK || !key.Verify(gateway.AnswerText(a.Header, body.Zeros()), a.Mac) {
		return false
	}
	out.Body = body.Zeros()
	return true
}
