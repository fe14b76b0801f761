package chain

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/libs/protoio"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/p2p/conn"
	tmp2p "github.com/cometbft/cometbft/proto/tendermint/p2p"

	"stele/storage/storagetest/freeport"
)

// greet makes the engine's handshake with a node (a connection under keys of both ends, and then who
// one is), as whoever has no key of a member can, and returns the connection.
func greet(t testing.TB, c net.Conn, network string) io.ReadWriter {
	t.Helper()
	key := cmted25519.GenPrivKey()
	secret, err := conn.MakeSecretConnection(c, key)
	fatalIfErr(t, err)
	var theirs tmp2p.DefaultNodeInfo
	_, err = protoio.NewDelimitedReader(secret, p2p.MaxNodeInfoSize()).ReadMsg(&theirs)
	fatalIfErr(t, err)
	theirs.DefaultNodeID = string(p2p.PubKeyToID(key.PubKey()))
	if network != "" {
		theirs.Network = network
	}
	_, err = protoio.NewDelimitedWriter(secret).WriteMsg(&theirs)
	fatalIfErr(t, err)
	return secret
}

// gone waits until the other end has closed a connection.
func gone(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("the connection is still held")
	}
	return nil // closed or reset
}

// A stranger at the port for peers is sent away, by whatever it does there, and however many come:
// the chain goes on.
func TestStrangersAmongPeers(t *testing.T) {
	ctx := testContext(t)
	l := newTestLog(t, "log.example/a")
	at := freeport.Address(t)
	n, _ := solo(t, func(c *Config) { c.ListenAddress = at }, l)
	dial := func() net.Conn {
		c, err := net.Dial("tcp", at)
		fatalIfErr(t, err)
		t.Cleanup(func() { c.Close() })
		fatalIfErr(t, c.SetDeadline(time.Now().Add(30*time.Second)))
		return c
	}
	for name, do := range map[string]func(net.Conn) io.Reader{
		"silence": func(c net.Conn) io.Reader { return c },
		"garbage": func(c net.Conn) io.Reader {
			_, _ = c.Write(bytes.Repeat([]byte{0xff}, 4096))
			return c
		},
		"HTTP": func(c net.Conn) io.Reader {
			_, _ = c.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
			return c
		},
		"a chain of another name": func(c net.Conn) io.Reader { return greet(t, c, "another-chain") },
		"garbage after the handshake": func(c net.Conn) io.Reader {
			s := greet(t, c, "")
			_, _ = s.Write(bytes.Repeat([]byte{0xff}, 4096))
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := gone(do(dial())); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	for range 300 { // more than the places that there are for strangers
		dial()
	}
	anchor(ctx, t, n, l.next(t, 2))
}
