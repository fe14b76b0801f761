package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"time"

	"stele/notary/cmd/verifier"
	"stele/notary/monitor"
)

// Ways by which a finding is said; they stand in its file.
const (
	toldPrinted = "printed"
	toldCommand = "command"
	toldWebhook = "webhook"
)

// alertTime is how long one alert may take.
const alertTime = time.Minute

// watchman says what was found.
type watchman struct {
	*monitorRunCmd
	*streams
	folder *monitor.Folder
}

// tell says each finding by each way by which it was not said yet, and returns how many findings the folder has. What
// fails is tried again in the next round. The finding is in the folder before, and that it was said is written
// afterwards: a crash in between has it said twice.
func (w *watchman) tell(ctx context.Context) (findings int, failed error) {
	list, err := w.folder.Findings()
	if err != nil {
		return 1, err // a file that cannot be read is no sign that all is well
	}
	ways := []struct {
		name string
		on   bool
		say  func(context.Context, monitor.Finding, []byte) error
	}{{toldPrinted, true, w.print}, {toldCommand, w.Command != "", w.command},
		{toldWebhook, w.Webhook != "", w.send}}
	for _, f := range list {
		told := f.Told
		f.Told = nil // whoever hears of it need not know who else has
		text, err := json.Marshal(f)
		if err != nil {
			return len(list), err
		}
		f.Told = told
		for _, way := range ways {
			if !way.on || slices.Contains(f.Told, way.name) {
				continue
			}
			if err := way.say(ctx, f, text); err != nil {
				fmt.Fprintf(w.err, "stele: the finding %s could not be said by %s: %s; it is tried again\n", f.Name,
					way.name, verifier.Printable(err.Error()))
				failed = errors.Join(failed, err)
				continue
			}
			if err := w.folder.Told(f, way.name); err != nil {
				return len(list), err
			}
			f.Told = append(f.Told, way.name)
		}
	}
	return len(list), failed
}

func (w *watchman) print(_ context.Context, f monitor.Finding, text []byte) error {
	if w.JSON {
		_, err := fmt.Fprintf(w.out, "%s\n", text)
		return err
	}
	_, err := fmt.Fprintf(w.out, "%s: %s (%s)\n", f.Code, verifier.Printable(f.Detail),
		w.folder.Path("findings", f.Name+".json"))
	return err
}

// command runs the alert's command. What it prints goes to the error stream.
func (w *watchman) command(ctx context.Context, _ monitor.Finding, text []byte) error {
	ctx, cancel := context.WithTimeout(ctx, alertTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", w.Command)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(append(text, '\n')), w.err, w.err
	cmd.WaitDelay = time.Second
	return cmd.Run()
}

func (w *watchman) send(ctx context.Context, _ monitor.Finding, text []byte) error {
	ctx, cancel := context.WithTimeout(ctx, alertTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.Webhook, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("the webhook answers %s", res.Status)
	}
	return nil
}
