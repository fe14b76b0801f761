package instance

import (
	"context"
	"time"

	"stele/crypto/keystore"
	"stele/notary/log/batchlog"
)

// openLog opens the log, which holds the lease while it signs, and looks whether its parts agree.
func (in *Instance) openLog(ctx context.Context, pass keystore.Secret) error {
	var err error
	if in.signer, in.pastKeys, err = in.logKeys(pass); err != nil {
		return err
	}
	if err := in.fence(ctx, &in.signer.Verifier); err != nil {
		return err
	}
	in.openFollower()
	in.batch = batchlog.New(in.DB.Log, in.Objects, in.Tiles, batchlog.Options{Signer: in.signer, Keys: in.pastKeys,
		Holder: in.holder, Now: time.Now,
		Clock: in.clock.Check, Log: in.log, Outages: in.outages, Keep: in.keep, Follow: in.follower.Logged,
		OnAdvance: func() {
			in.Progress.Notify()
			in.wakeLoops()
		}})
	in.jobs.addCloser(stageLog, "sequencer", in.batch.Run, in.releaseLease)
	in.watchDatabase(ctx)
	return in.batch.Check(ctx)
}

// releaseLease lets another server go on at once.
func (in *Instance) releaseLease() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = in.DB.ReleaseLease(ctx, batchlog.LeaseName, in.holder) // best effort: it runs out by itself
	return nil
}
