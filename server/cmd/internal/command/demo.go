package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"stele/crypto/keystore"
	"stele/server/instance"
)

// DemoCities run the validators of demos: made up, and called so. The first one runs the chain
// inside a server.
var DemoCities = []instance.Member{
	{Name: "jiangcheng", Organization: "江城市数据局（演示）", Code: "11420100MB0B00001Q"},
	{Name: "linhai", Organization: "临海市数据局（演示）", Code: "11420200MB0B000021"},
	{Name: "yunshan", Organization: "云山市公证处（演示）", Code: "11420300MB0B000039"},
	{Name: "pinghu", Organization: "平湖市档案馆（演示）", Code: "11420500MB0B00004N"},
}

// InitDemo makes the instance of a demo if there is none, and a passphrase for it. The chain is
// inside the server unless the request is changed.
func InitDemo(ctx context.Context, cfg instance.Config, says io.Writer,
	change func(*instance.InitRequest) error) error {
	if instance.Exists(cfg) {
		return nil
	}
	fmt.Fprintf(says, "Making a demo instance in %s …\n", cfg.Data)
	if _, err := os.Stat(cfg.PassphraseFile); errors.Is(err, fs.ErrNotExist) && cfg.PassphraseFile != "" {
		if err := NewPassphrase(cfg); err != nil {
			return err
		}
	}
	req := instance.InitRequest{
		Origin: "demo.stele.local/" + Unique(), ChainID: "stele-demo-" + Unique(), Organization: "Stele Demo",
		Validator: DemoCities[0].Name, Members: DemoCities[:1],
	}
	if change != nil {
		if err := change(&req); err != nil {
			return err
		}
	}
	return instance.Init(ctx, cfg, req, time.Now())
}

// NewPassphrase makes the passphrase file that the settings name; it must not exist.
func NewPassphrase(cfg instance.Config) error {
	if cfg.PassphraseFile == "" {
		return fmt.Errorf("%s is set, so no passphrase file is made: unset it or leave out --new-passphrase",
			instance.PassphraseEnv)
	}
	if err := os.MkdirAll(filepath.Dir(cfg.PassphraseFile), 0o700); err != nil {
		return err
	}
	_, err := keystore.CreatePassphrase(cfg.PassphraseFile)
	return err
}
