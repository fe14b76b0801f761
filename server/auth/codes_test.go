package auth

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stele/notary"
)

func TestWrongCodes(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	c := NewCodes(func() time.Time { return now })
	r := notary.Record{Number: "420100-2026-00000017-0", Code: "ABCD1234"}
	check := func(code, addr string) notary.Code {
		if err := c.Check(r, code, addr); err != nil {
			return notary.CodeOf(err)
		}
		return ""
	}
	if got := check("abcd-i234", "192.0.2.1:1"); got != "" {
		t.Fatalf("the right code as a person types it: %s", got)
	}
	for i := range wrongPerClient {
		if got := check("00000000", fmt.Sprintf("192.0.2.1:%d", i)); got != notary.CodeInvalid {
			t.Fatalf("wrong code %d: %s", i, got)
		}
	}
	if got := check("ABCD1234", "192.0.2.1:9"); got != notary.CodeRateLimited {
		t.Errorf("a client that guesses goes on: %s", got)
	}
	if got := check("ABCD1234", "192.0.2.2:9"); got != "" {
		t.Errorf("the holder is locked out by a stranger: %s", got)
	}
	for i := range wrongPerNumber {
		check("00000000", fmt.Sprintf("[2001:db8:%x::1]:1", i))
	}
	if got := check("ABCD1234", "[2001:db8:ffff::2]:1"); got != notary.CodeRateLimited {
		t.Errorf("many clients guess on: %s", got)
	}
	now = now.Add(wrongPeriod + time.Second)
	if got := check("ABCD1234", "192.0.2.1:9"); got != "" {
		t.Errorf("after an hour: %s", got)
	}
}

// A thousand guesses at once are compared no more often than ten in a row: the right code among
// those that come later is not found.
func TestWrongCodesAtOnce(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	c := NewCodes(func() time.Time { return now })
	r := notary.Record{Number: "420100-2026-00000017-0", Code: "ABCD1234"}
	var compared atomic.Int64
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range 1000 {
		wg.Go(func() {
			<-start
			if notary.CodeOf(c.Check(r, "00000000", "192.0.2.1:1")) != notary.CodeRateLimited {
				compared.Add(1)
			}
		})
	}
	close(start)
	wg.Wait()
	if n := compared.Load(); n != wrongPerClient {
		t.Errorf("%d guesses at once were compared", n)
	}
}

// When there is no room for more counts, the oldest go, not those of who is guessing now.
func TestWrongCodesOfMany(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	c := NewCodes(func() time.Time { return now })
	r := notary.Record{Number: "420100-2026-00000017-0", Code: "ABCD1234"}
	for range wrongPerClient {
		_ = c.Check(r, "00000000", "192.0.2.1:1") // wrong, as it should be
	}
	for i := range maxCounted {
		_ = c.Check(notary.Record{Number: fmt.Sprint(i), Code: "ABCD1234"}, "00000000", "192.0.2.2:1")
		if i%1000 == 0 && notary.CodeOf(c.Check(r, "ABCD1234", "192.0.2.1:1")) != notary.CodeRateLimited {
			t.Fatalf("forgotten after %d others", i)
		}
	}
	if n := c.wrong.Len(); n > maxCounted {
		t.Errorf("%d are counted", n)
	}
}

func TestClientNetwork(t *testing.T) {
	for in, want := range map[string]string{"192.0.2.1:80": "192.0.2.1", "[2001:db8::1:2:3:4]:80": "2001:db8::",
		"odd": "odd"} {
		t.Run(in, func(t *testing.T) {
			if got := clientNetwork(in); got != want {
				t.Errorf("%s: %s", in, got)
			}
		})
	}
}
