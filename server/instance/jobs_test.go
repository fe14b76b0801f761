package instance

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"
)

// Jobs end by stage, whatever the order in which capabilities were opened, each before the next; what
// a job holds is freed after it, and also where it never ran.
func TestJobsEndByStage(t *testing.T) {
	var mu sync.Mutex
	var events []string
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, what)
	}
	running := func(name string) func(context.Context) error {
		return func(ctx context.Context) error {
			<-ctx.Done()
			note(name + " ended")
			return nil
		}
	}
	free := func(name string) func() error {
		return func() error { note(name + " freed"); return nil }
	}
	var j jobs
	j.addCloser(stageWebhooks, "webhooks", running("webhooks"), free("webhooks"))
	j.addCloser(stageChain, "chain", running("chain"), free("chain"))
	j.addCloser(stageIntake, "intake", nil, free("intake"))
	j.add(stageLog, "sequencer", running("sequencer"))
	j.add(stageLog, "anchoring", running("anchoring"))
	j.add(stageWatch, "dependencies", running("dependencies"))
	j.start(t.Context(), func(err error) { t.Error(err) })
	if err := j.stop(); err != nil {
		t.Fatal(err)
	}
	want := []string{"dependencies ended", "intake freed", "sequencer ended", "anchoring ended", "chain ended",
		"chain freed", "webhooks ended", "webhooks freed"}
	if !slices.Equal(events, want) {
		t.Errorf("jobs ended in this order: %q, want %q", events, want)
	}
}

func TestJobsOfAFailedStart(t *testing.T) {
	broken := errors.New("broken")
	var j jobs
	freed := 0
	j.addCloser(stageChain, "chain", func(context.Context) error { t.Error("was run"); return nil },
		func() error { freed++; return broken })
	if err := j.stop(); !errors.Is(err, broken) || freed != 1 {
		t.Errorf("stop of what never ran: %v, freed %d times", err, freed)
	}
}

func TestJobThatFails(t *testing.T) {
	broken := errors.New("broken")
	failed := make(chan error, 1)
	var j jobs
	j.add(stageLog, "sequencer", func(context.Context) error { return broken })
	j.start(t.Context(), func(err error) { failed <- err })
	select {
	case err := <-failed:
		if !errors.Is(err, broken) || err.Error() != "sequencer: broken" {
			t.Errorf("reported: %v", err)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("nothing was reported")
	}
	if err := j.stop(); err != nil {
		t.Fatal(err)
	}
}
