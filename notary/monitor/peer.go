package monitor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"stele/crypto/keystore"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/proof/checkpoint"
)

// Cosigner signs what a monitor has verified.
type Cosigner struct {
	name string
	key  *sm.PrivateKey
}

// LoadCosigner reads the key in a file, which is made where it is not there; its passphrase lies beside it, in a file
// for its owner alone. The name of the key is made of its digest.
func LoadCosigner(path string) (*Cosigner, error) {
	pass, err := passphrase(path + ".passphrase")
	if err != nil {
		return nil, err
	}
	key, err := keystore.Load(path, pass)
	if errors.Is(err, os.ErrNotExist) {
		if key, err = sm.GenerateKey(); err == nil {
			err = keystore.Create(path, key, pass)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the cosigner's key: %w", err)
	}
	digest := sm.Sum(key.Public().Bytes())
	return &Cosigner{"monitor-" + digest.String()[:16], key}, nil
}

func passphrase(path string) (keystore.Secret, error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return keystore.CreatePassphrase(path)
	}
	return keystore.Passphrase(path, "")
}

// Key is the text of the public key, see [signednote.FormatCosignKey].
func (c *Cosigner) Key() string { return signednote.FormatCosignKey(c.name, c.key.Public()) }

// CosignedName is the file of the newest cosigned checkpoint, for others.
const CosignedName = "cosigned"

// cosign signs what was verified. A crash before leaves the one before, and the next round makes it.
func (m *Monitor) cosign(note []byte) error {
	if m.Key == nil {
		return nil
	}
	both, err := signednote.Cosign(note, m.Key.name, m.Key.key, m.Now())
	if err != nil {
		return err
	}
	return m.Folder.replace(CosignedName, both)
}

// recosign signs the last checkpoint where a crash came between its verification and the signature.
func (m *Monitor) recosign() error {
	have, err := os.ReadFile(m.Folder.Path(CosignedName))
	if err == nil && bytes.HasPrefix(have, []byte(m.state.Note)) {
		return nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return m.cosign([]byte(m.state.Note))
}

// peers compares what others have seen.
func (m *Monitor) peers(ctx context.Context) error {
	if m.state.Note == "" {
		return nil
	}
	if err := m.recosign(); err != nil {
		return err
	}
	var failed []error
	for _, p := range m.Peers {
		if err := m.peer(ctx, p); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// peer compares the checkpoint of another monitor. It is the log's signature that counts: whoever hands in a note
// that it has signed shows what it has said. A checkpoint ahead of this log is looked at when the log is there: it
// may have grown since, and a log that stays behind is stale.
func (m *Monitor) peer(ctx context.Context, p Peer) error {
	both, err := p.Checkpoint(ctx)
	if err != nil {
		return unreachable("the monitor "+p.Name, err)
	}
	note, _, err := signednote.SplitCosigned(both)
	if err != nil {
		return unreachable("the monitor "+p.Name, err)
	}
	c, _, err := checkpoint.Open(note, m.Trust.LogKeys(m.state.Origin)...)
	if err != nil {
		return unreachable("the monitor "+p.Name, err)
	}
	if err := m.Folder.seen(note); err != nil {
		return err
	}
	if c.Size > m.last().Size {
		if err := m.checkpoints(ctx); err != nil {
			return err
		}
	}
	if c.Size > m.last().Size {
		return unreachable("the monitor "+p.Name, fmt.Errorf("it has seen %d entries, and the service shows %d here",
			c.Size, m.last().Size))
	}
	_, err = m.related(ctx, c, note, m.last(), []byte(m.state.Note), SplitView, ", as the monitor "+p.Name+" has it")
	return err
}
